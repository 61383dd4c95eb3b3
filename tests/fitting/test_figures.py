"""Figures: independent of the user's matplotlib, never a reason to fail, and with any name on them."""

import ast
import hashlib
import itertools
import logging
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from sparsity_lab import labels
from sparsity_lab.fitting.data.series import Series
from sparsity_lab.fitting.figures import attempted
from sparsity_lab.fitting.fit import fit_series
from sparsity_lab.fitting.fit_table import fit_table
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.plots import fits_panels, measured
from sparsity_lab.fitting.plots.canvas import fonts, style
from sparsity_lab.fitting.plots.canvas import panels as canvas_panels
from sparsity_lab.fitting.plots.experts import expert_figures
from sparsity_lab.fitting.spec import FitSpec

ROOT = Path(__file__).parents[2]
DRAW = """
import sys
from pathlib import Path
from sparsity_lab.fitting.plots.canvas import style
with style.styled(["a"]):
    drawn, (axes,) = style.figure()
    axes.plot([1, 2, 3], [0.1, 0.2, 0.4], label=style.label("a"))
    axes.set_xlabel("tokens")
    axes.legend()
    style.save(drawn, Path(sys.argv[1]))
"""
BAD_RC = (
    "text.usetex: True\nfont.family: NoSuchFont\nnonsense\nfigure.dpi: abc\nsavefig.dpi: 30\n"
    "figure.facecolor: red\naxes.formatter.use_locale: True\n"
)
NAMES = {
    "underscore": ("__hidden", "_b"),
    "mathematics": ("cost $5 vs $7", r"$\alpha$", "a$b", r"\$x"),
    "CJK": ("模型小ＲｅＬＵ", "模型"),
    "right to left": ("نموذج صغير", "שלום עולם"),
    "emoji": ("🚀 fast 😀", "👩\u200d🔬"),
    "300 letters": ("x" * 300, "x" * 150 + "y" + "x" * 149),
    "lines": ("a\nb", "c\td", "\x1b[31m", "\u202egnp.exe"),
    "nothing": ("", " ", "\n"),
    "not UTF-8": ("caf\udce9",),
}
every_kind = pytest.mark.parametrize("kind", NAMES)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


def drawn_bytes(folder, cwd, **environment):
    """What a new process draws, and what it says."""
    wanted = {key: value for key, value in {**os.environ, **environment}.items() if value is not None}
    done = subprocess.run(
        [sys.executable, "-c", DRAW, str(folder / "figure")], capture_output=True, text=True, check=False, cwd=cwd,
        env={**wanted, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return [hashlib.sha256((folder / f"figure.{kind}").read_bytes()).hexdigest() for kind in ("png", "svg")]


@pytest.mark.long
def test_the_users_matplotlib_has_no_say(tmp_path):
    config = tmp_path / "home" / ".config" / "matplotlib"
    config.mkdir(parents=True)
    (config / "matplotlibrc").write_text(BAD_RC)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "matplotlibrc").write_bytes(b"\xff\xfe no text")
    undisturbed = drawn_bytes(tmp_path, tmp_path)
    disturbed = drawn_bytes(
        tmp_path, tmp_path / "broken", MPLBACKEND="module://matplotlib_inline.backend_inline",
        MATPLOTLIBRC=str(config), HOME=str(tmp_path / "home"), XDG_CONFIG_HOME=None, MPLCONFIGDIR="/proc/nowhere",
    )  # fmt: skip
    assert disturbed == undisturbed
    assert drawn_bytes(tmp_path, tmp_path, HOME=None, MPLCONFIGDIR=str(config)) == undisturbed


def test_the_environment_is_as_it_was(tmp_path):
    script = (
        "import os; os.environ['MPLBACKEND'] = 'none such'; before = dict(os.environ), os.getcwd()\n"
        "import sparsity_lab.fitting.plots\n"
        "assert before == (dict(os.environ), os.getcwd())\n"
    )
    (tmp_path / "matplotlibrc").write_text(BAD_RC)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_settings_of_a_program_around_us_have_no_say_and_come_back(tmp_path):
    def draw(name):
        with style.styled():
            drawn, (axes,) = style.figure()
            axes.plot([1, 2], [3, 4])
            return [path.read_bytes() for path in style.save(drawn, tmp_path / name)]

    with matplotlib.rc_context({"figure.facecolor": "red", "font.family": "serif", "text.usetex": True}):
        assert draw("a") == draw("b")
        assert matplotlib.rcParams["figure.facecolor"] == "red"
        ours = draw("a")
    assert ours == draw("b")


@pytest.mark.long
def test_only_the_rooms_of_figures_import_matplotlib():
    for path in (ROOT / "sparsity_lab").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            if any(str(name).split(".")[0] == "matplotlib" for name in names):
                assert "plots" in path.relative_to(ROOT).parts, path
                assert "pyplot" not in " ".join(names), path


def series(folder, *names):
    """Falling series of these names, as a CSV."""
    x = np.geomspace(0.05, 50, 9)
    rows = [
        {"series": name, "tokens_b": d, "activation_ratio": 0.1 + 0.02 * i + 0.05 * d**-0.5}
        for i, name in enumerate(names) for d in x
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


QUICK = FitSpec(law="power", rivals=("linear",), draws=0)


@pytest.mark.long
def test_a_figure_that_fails_is_named_and_the_numbers_stay(tmp_path, monkeypatch, caplog):
    table = series(tmp_path, "a", "b")
    fit_table(table, output=tmp_path / "bad", spec=QUICK, jobs=1)
    good = (tmp_path / "bad" / "fits.json").read_bytes()
    save = style.save

    def fails(drawn, stem):
        if stem.name == "a":
            raise RuntimeError("libfreetype\nis broken")
        return save(drawn, stem)

    monkeypatch.setattr(style, "save", fails)
    caplog.clear()
    fit_table(table, output=tmp_path / "bad", spec=QUICK, jobs=1)
    (said,) = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert str(tmp_path / "bad" / "plots" / "a.png") in said
    assert "RuntimeError: libfreetype is broken" in said
    assert {path.name for path in (tmp_path / "bad" / "plots").iterdir()} == {
        f"{name}.{kind}" for name in ("b", "all") for kind in ("png", "svg")
    }, "an earlier run's figure would contradict the numbers"
    assert (tmp_path / "bad" / "fits.json").read_bytes() == good
    text = (tmp_path / "bad" / "fits.md").read_text(encoding="utf-8")
    assert "plots/b.png" in text
    assert "plots/a.png" not in text


@pytest.mark.long
def test_a_fit_ends_well_where_matplotlib_is_broken(tmp_path):
    """A module of its name, before the real one on the path, that fails as a damaged installation does."""
    table = series(tmp_path, "a")
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "matplotlib.py").write_text("raise ImportError('ft2font.so: wrong ELF class')\n")
    words = f"fit {table} --law power --rivals linear --bootstrap 0 --jobs 1 --output {tmp_path / 'out'}"
    done = subprocess.run(
        [sys.executable, "-m", "sparsity_lab", "--quiet", *words.split()], capture_output=True, text=True,
        check=False, env={**os.environ, "PYTHONPATH": f"{tmp_path / 'path'}:{ROOT}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("wrong ELF class") == 2, "one line a figure"
    assert {"fits.json", "fits.csv", "fits.md"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_an_interrupt_is_no_failure_of_a_figure(tmp_path):
    with pytest.raises(KeyboardInterrupt), attempted(tmp_path / "a"):
        raise KeyboardInterrupt


@pytest.fixture
def kept(monkeypatch):
    """The figures that would be saved."""
    found = []
    for room in (style, measured):
        monkeypatch.setattr(room, "save", lambda drawn, stem: found.append(drawn) or [])
    return found


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """The fit of one series."""
    folder = tmp_path_factory.mktemp("fitted")
    (result,) = fit_table(series(folder, "a"), output=folder / "out", spec=QUICK, jobs=1)
    return result


def assert_room(drawn, share=0.25):
    """Every panel keeps a share of its column and row, and no text leaves the figure by more than a letter."""
    drawn.draw_without_rendering()
    shown = [axes for axes in drawn.axes if axes.axison]
    across, up = drawn.bbox.width, drawn.bbox.height
    for axes in shown:
        grid = axes.get_subplotspec().get_gridspec()
        box = axes.get_window_extent()
        assert box.width > share * across / grid.ncols
        assert box.height > share * up / grid.nrows
    for legend in [*drawn.legends, *(axes.get_legend() for axes in shown)]:
        if legend is not None:
            box = legend.get_window_extent()
            assert box.x0 > -10
            assert box.x1 < across + 10


@pytest.mark.thorough(1)
@every_kind
@pytest.mark.long
def test_fits_show_any_name(kind, fitted, tmp_path, kept):
    from sparsity_lab.fitting.plots import fits

    named = [replace(fitted, series=replace(fitted.series, name=name)) for name in NAMES[kind]]
    fits.overview(named, tmp_path / "all")
    fits.sheet(named[0], tmp_path / "one")
    legend = [text.get_text() for axes in kept[0].axes for text in axes.get_legend().get_texts()]
    assert len(set(legend)) == len(named)
    assert all(len(text) < 2 * labels.WIDEST for text in legend)
    for drawn in kept:
        assert_room(drawn)


def measured_table(folder, names):
    frame = pd.DataFrame(
        [
            {"series": name, "model": f"m/{name}", "rule": "fixed", "knob": 0.1, "trained_tokens": None,
             "activation_ratio": 0.1 + 0.01 * i, "activation_ratio_se": 0.001}
            for i, name in enumerate(names)
        ]
    )  # fmt: skip
    frame.to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


@pytest.mark.thorough
@every_kind
def test_measured_tables_show_any_name(kind, tmp_path, kept):
    names = [name for name in NAMES[kind] if name.strip() and "\udce9" not in name] or ["a"]
    measured.draw_table(measured_table(tmp_path, names), output=tmp_path)
    (drawn,) = kept
    ticks = [text.get_text() for text in drawn.axes[0].get_yticklabels()]
    assert len(set(ticks)) == len(names)
    assert_room(drawn)


@pytest.mark.thorough
@every_kind
def test_labels_are_in_one_line_distinct_and_drawn(kind, tmp_path):
    names = [*NAMES[kind], "plain"]
    with style.styled(names):
        shown = [style.label(name) for name in names]
        drawn, (axes,) = style.figure()
        for name in names:
            axes.plot([1, 2], [1, 2], label=style.label(name))
        legend = axes.legend()
        axes.set_title(f"{shown[0]} and ${{}}^2$" if style.beside(names[0], "y", "") else shown[0])
        style.save(drawn, tmp_path / "figure")
    assert len(set(shown)) == len(names)
    assert len(legend.get_texts()) == len(names), "none is hidden"
    assert not any(character in text for text in shown for character in "\n\t\r\x1b\u202e\udce9")


def test_names_are_shown_as_they_are_where_that_is_possible():
    with style.styled(["relu-2m", "a_b", "0.1B-relu", "Größe é", "α"]):
        for name in ("relu-2m", "a_b", "0.1B-relu", "Größe é", "α", "EleutherAI/pythia-70m@step143000"):
            assert style.label(name) == name
    assert labels.shown(["模"], is_drawn=str.isascii) == {"模": "\\u6a21"}
    assert labels.shown([""]) == {"": labels.NO_NAME}
    assert labels.shown(["a\nb"]) == {"a\nb": r"a\nb"}


def test_long_names_are_cut_in_the_middle_and_marked_only_where_they_are_alike():
    one, two = "a" * 40 + "1" + "z" * 40, "a" * 40 + "2" + "z" * 40
    alone = labels.shown([one])[one]
    assert alone == "a" * 24 + labels.CUT + "z" * 23
    both = labels.shown([one, two])
    assert both[one] != both[two]
    assert {len(text) for text in both.values()} == {labels.WIDEST}
    assert labels.shown([one, two])[one] == both[one], "the same on every run"
    assert labels.shown([two, one])[one] == both[one], "whatever their order"
    spelled = labels.shown(["模" * 40], is_drawn=str.isascii)["模" * 40]
    assert spelled.replace("\\u6a21", "").strip("\\u6a21") == labels.CUT, "no code point is cut in two"


def test_a_font_of_the_machine_is_taken_for_what_the_usual_one_lacks(monkeypatch):
    """STIXNonUnicode comes with matplotlib and has private characters; none of these is in the usual font."""
    private = "\ue000"
    monkeypatch.setattr(fonts, "_characters", lambda family: frozenset(
        {"DejaVu Sans": {ord("a")}, "Noto Sans CJK JP": {ord("模"), ord("型")}, "Small": {ord("模")}}.get(family, ())
    ))  # fmt: skip
    monkeypatch.setattr(fonts, "_candidates", lambda: ("Noto Sans CJK JP", "Small"))
    assert fonts.families(["aa"]) == ["DejaVu Sans"]
    assert fonts.families(["a模型", private]) == ["DejaVu Sans", "Noto Sans CJK JP"]
    assert fonts.is_drawn("型", ["DejaVu Sans", "Noto Sans CJK JP"])
    assert not fonts.is_drawn("ア", ["DejaVu Sans", "Noto Sans CJK JP"])


@pytest.mark.parametrize(
    ("law", "shown"),
    [
        ("logspace-power", "logspace-power"),
        ("power; alpha=0.1:2.0", "power"),
        ("A0 - c*x^-a; a=0.01:10.0", "A0 - c*x^-a"),
        ("A0 + a1*exp(-b1*x) + a2*exp(-b2*x); b1=0.1:1.0", "A0 + a1*exp(-b1*x) + …"),
    ],
)
def test_a_legend_has_room_for_the_name_of_a_law(law, shown):
    assert fits_panels.short_name(law) == shown


def test_the_panel_of_extrapolation_fits_by_the_objective_of_the_fit():
    """One outlier of fifty: squares of y follow it, Huber losses do not."""
    generator = np.random.default_rng(3)
    x = np.exp(generator.uniform(np.log([1e8, 1e9]), np.log([1e10, 1e11]), size=(50, 2)))
    x = x[np.argsort(x.prod(axis=1))]
    y = 1.8 + 480.0 * x[:, 0] ** -0.35 + 2100.0 * x[:, 1] ** -0.37
    y[5] *= 1.6
    law = load_law("loss-power")
    series = Series("s", x, y, None, None, law.inputs, law.output, (0.0, 9.0), "")
    result = fit_series(series, FitSpec(law="loss-power", robust=True, draws=0))
    (curve,) = fits_panels.extrapolated(result).values()
    others = np.arange(50) != 5
    assert np.abs(curve - y)[others].max() < 1e-3


@pytest.mark.parametrize("spread", [0.0, 0.5, 2.5], ids=["equal", "near", "of many decades"])
@pytest.mark.parametrize(("panels", "layers"), [(1, 1), (2, 4), (4, 30)])
def test_labels_of_experts_lie_within_the_figure_and_apart(panels, layers, spread, monkeypatch):
    drawn = []
    monkeypatch.setattr(canvas_panels, "save", lambda figure, stem: drawn.append(figure) or [])
    generator = np.random.default_rng(0)
    rows = [
        {"name": f"model {panel}", "text": "plays", "layer": layer, "expert": expert, "kind": "routed", "tokens": 9,
         "load": 0.1, "largest_output_over_median": float(np.exp(spread * generator.normal()))}
        for panel in range(panels) for layer in range(layers) for expert in range(32)
    ]  # fmt: skip
    tables = {"experts": pd.DataFrame(rows), "expert_routing": pd.DataFrame({"layer": ["all"]})}
    with style.styled(["model"]):
        expert_figures(tables)["expert_outputs"](Path("nowhere"))
        (figure,) = drawn
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        beyond = [  # ticks past the end of an axis, which are never drawn
            label for axes in figure.axes for label in axes.get_xticklabels()
            if not axes.get_xlim()[0] <= label.get_position()[0] <= axes.get_xlim()[1]
        ]  # fmt: skip
        texts = [
            text for text in figure.findobj(matplotlib.text.Text)
            if text.get_visible() and text.get_text() and text not in beyond
        ]  # fmt: skip
        assert len(texts) > 5 * panels
        places = [text.get_window_extent(canvas.get_renderer()) for text in texts]
        assert all(place.x0 >= 2 and place.x1 <= figure.bbox.x1 - 2 for place in places)
        for axes in figure.axes[panels:]:
            heights = sorted((place.y0, place.y1) for place in (
                label.get_window_extent(canvas.get_renderer()) for label in axes.get_yticklabels()
                if label.get_text() and axes.get_ylim()[0] <= label.get_position()[1] <= axes.get_ylim()[1]
            ))  # fmt: skip
            assert len(heights) > (spread > 0)
            assert all(below[1] <= above[0] + 1 for below, above in itertools.pairwise(heights))
