"""A law that cannot go the way its points go says so, has no coefficients, and its rivals come first."""

import json
import math

import numpy as np
import pytest

from sparsity_lab.fitting.data.series import Columns, read_series
from sparsity_lab.fitting.fit_table import fit_all, fit_table
from sparsity_lab.fitting.judge import shape
from sparsity_lab.fitting.judge.verdict import NOT
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.locks import check
from sparsity_lab.fitting.report import text
from sparsity_lab.fitting.solve import engine
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.fitting.spec import FitSpec

D = np.geomspace(0.05, 4.0, 12)
NOISE = np.random.default_rng(3).normal(0, 4e-4, 12)
SERIES = {
    "rises": 0.2 - 0.05 * D**-0.3 + NOISE,
    "rises along a line": 0.1 + 0.02 * np.log(D) + NOISE,
    "rises after a high first point": 0.1 + 0.02 * np.log(D) + NOISE + np.where(D[0] == D, 0.12, 0.0),
    "U": 0.15 + 0.01 * np.log(D / 0.45) ** 2 + NOISE,
    "steps up": np.where(D > 0.4, 0.3, 0.2) + NOISE,
    "flat": np.full(12, 0.25),
    "flat but for noise": 0.25 + NOISE,
}
FALLING = 0.1 + np.exp(-2.5 - 0.9 * D**0.6) + NOISE


def table(folder, values, *, activation="relu"):
    rows = [f"run,{activation},{1e9 * d:.0f},{float(v)!r}" for d, v in zip(D, values, strict=True)]
    path = folder / "table.csv"
    path.write_text("series,activation,tokens,activation_ratio\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def fitted(folder, values, *, activation="relu", **settings):
    spec = FitSpec(draws=settings.pop("draws", 20), **settings)
    (result,) = fit_all(read_series(table(folder, values, activation=activation)), spec)
    assert_no_nan(result)
    return result


def assert_no_nan(result):
    """No nan and no inf in anything for readers, and no coefficient without a value in fits.json."""
    page = text.markdown([result])
    assert not {"nan", "inf", "-inf", "none"} & set(page.replace("|", " ").replace(",", " ").split()), page
    entry = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    for one in (entry, *entry["rivals"]["rivals"], *entry["drop_sensitivity"]):
        for value in one["coefficients"].values():
            assert (value["value"] if isinstance(value, dict) else value) is not None


@pytest.mark.thorough
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", SERIES)
@pytest.mark.long
def test_a_law_that_can_only_fall_says_so_of_points_that_do_not(tmp_path, kind):
    result = fitted(tmp_path, SERIES[kind], law="logspace-power")
    assert result.verdict.word == NOT
    if kind == "flat but for noise":
        return  # noise may fall, and then a law that falls has coefficients
    assert not result.describes
    assert result.coefficients == {}
    assert result.verdict.bound is None
    words = "do not change" if kind == "flat" else "logspace-power cannot describe these points"
    assert words in result.verdict.reason
    page = text.markdown([result])
    assert page.index("Rivals: best by AICc") < page.index("- Law: ")


@pytest.mark.thorough
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", SERIES)
@pytest.mark.long
def test_auto_chooses_a_law_that_goes_the_way_of_the_points(tmp_path, kind):
    result = fitted(tmp_path, SERIES[kind], draws=0)
    if kind in ("U", "rises after a high first point"):
        assert result.verdict.word == NOT
    elif kind != "flat but for noise":
        assert result.describes
        assert result.law.name == {"flat": "constant", "steps up": "sigmoid"}.get(kind, "power")
        assert "logspace-power, the paper's law for relu, cannot describe" in result.law_rule
    for rival in result.comparison.rivals:
        assert rival.describes == bool(rival.coefficients)


def test_what_is_not_described_is_not_locked(tmp_path, caplog):
    path, out = table(tmp_path, SERIES["rises"]), tmp_path / "out"
    fit_table(path, output=out, spec=FitSpec(law="logspace-power", draws=0), lock="as measured", plots=False)
    assert "run is not locked: logspace-power cannot describe these points" in caplog.text
    assert not list(out.glob("locks/*"))
    assert "nan" not in (out / "fits.csv").read_text(encoding="utf-8")


@pytest.mark.thorough(1)
@pytest.mark.parametrize("law", ["logspace-power", "power", "sigmoid", "logarithmic"])
def test_no_law_of_one_direction_describes_a_turn(tmp_path, law):
    for sign in (1, -1):
        result = fitted(tmp_path, 0.25 + sign * (SERIES["U"] - 0.15), law=law, draws=0)
        assert not result.describes, (sign, result.verdict)


def test_a_warm_up_is_no_turn_and_a_fall_is_described(tmp_path):
    values = FALLING.copy()
    values[:2] -= 0.003
    result = fitted(tmp_path, values, draws=0)
    assert result.law.name == "logspace-power"
    assert result.describes


@pytest.mark.thorough(1)
@pytest.mark.parametrize("activation", ["silu", "swish", "gelu"])
@pytest.mark.long
def test_a_law_that_goes_both_ways_describes_both(tmp_path, activation):
    for values in (FALLING, SERIES["rises"]):
        result = fitted(tmp_path, values, activation=activation, draws=0)
        assert result.describes
        assert "A0" in result.coefficients


def test_a_formula_that_can_turn_describes_a_turn(tmp_path):
    result = fitted(tmp_path, SERIES["U"], law="a + b*log(x) + c*log(x)^2", draws=0)
    assert result.describes
    assert result.coefficients["c"].value == pytest.approx(0.01, abs=1e-3)


@pytest.mark.thorough(1)
@pytest.mark.parametrize("kind", ["rises", "U", "flat"])
def test_every_panel_of_the_sheet_has_something_to_show(kind, tmp_path, monkeypatch):
    from sparsity_lab.fitting.plots import fits as plots
    from sparsity_lab.fitting.plots.canvas import style

    drawn = []
    monkeypatch.setattr(style, "save", lambda figure, stem: drawn.append((figure, stem)) or [])
    fit_table(
        table(tmp_path, SERIES[kind]), output=tmp_path / "out", spec=FitSpec(law="logspace-power", draws=20)
    )
    assert plots.style is style
    for figure, _ in drawn:
        shown = [axes for axes in figure.axes if axes.axison]
        assert shown
        for axes in shown:
            lines = [line for line in axes.get_lines() if len(line.get_xdata()) > 2]
            assert lines, axes.get_title()
            assert all(np.isfinite(np.asarray(line.get_ydata(), dtype=float)).any() for line in lines), (
                axes.get_title()
            )
            assert "nan" not in axes.get_title()


@pytest.mark.parametrize("value", [0.0, 0.1, 0.25, 0.3, 1.0])
def test_the_best_law_of_points_that_do_not_change_is_a_constant(value, tmp_path):
    result = fitted(tmp_path, np.full(12, value), law="logspace-power", draws=0)
    assert result.comparison.best_by_aicc == "constant"


@pytest.mark.long
def test_no_curve_is_drawn_where_no_ratio_can_be(tmp_path, monkeypatch):
    from sparsity_lab.fitting.plots.canvas import style

    drawn = []
    monkeypatch.setattr(style, "save", lambda figure, stem: drawn.append(figure) or [])
    spec = FitSpec(law="logspace-power", draws=20)
    fit_table(table(tmp_path, 0.9 - 0.05 * D**2), output=tmp_path / "out", spec=spec)
    for axes in (axes for figure in drawn for axes in figure.axes if axes.get_ylabel() == "activation ratio"):
        assert axes.get_ylim()[0] > -0.2


def ladder(folder, loss):
    size, tokens = np.meshgrid([1e7, 3e7, 1e8, 3e8], [1e9, 3e9, 1e10, 3e10])
    points = zip(size.ravel(), tokens.ravel(), loss(size, tokens).ravel(), strict=True)
    rows = [f"{n:.0f},{d:.0f},{float(v)!r}" for n, d, v in points]
    path = folder / "ladder.csv"
    path.write_text("params,tokens,loss\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("huber", [False, True])
@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("D", lambda n, d: 1.7 + 400 * n**-0.34 + 0.1 * np.log10(d / 1e9)),
        ("N", lambda n, d: 1.7 + 900 * d**-0.34 + 0.1 * np.log10(n / 1e7)),
    ],
)
@pytest.mark.long
def test_a_loss_that_rises_with_an_input_is_no_loss_law(tmp_path, name, loss, huber):
    out = tmp_path / "out"
    (result,) = fit_table(
        ladder(tmp_path, loss),
        mapping=Columns(("params", "tokens"), "loss"),
        spec=FitSpec(robust=huber, draws=20),
        output=out,
        lock="so",
        plots=False,
    )
    assert result.verdict.word == NOT
    assert f"can only fall with {name}" in result.verdict.reason
    assert result.coefficients == {}
    (entry,) = json.loads((out / "fits.json").read_text(encoding="utf-8"))
    assert entry["coefficients"] == {}
    assert not list(out.glob("locks/*"))


@pytest.mark.long
def test_check_of_points_that_turned_round_says_so(tmp_path):
    path = table(tmp_path, FALLING)
    fit_table(path, output=tmp_path / "out", spec=FitSpec(draws=0), lock="as measured", plots=False)
    assert [one.status for one in check.check([tmp_path / "out"])] == [check.PASS]
    table(tmp_path, SERIES["rises"])
    (found,) = check.check([tmp_path / "out"])
    assert found.status == check.STALE
    assert any("can only fall, and they rise" in detail for detail in found.details)


@pytest.mark.parametrize("seed", range(5))
def test_the_reason_is_none_where_the_law_made_the_points(seed):
    generator = np.random.default_rng(seed)
    y = (
        0.1
        + 0.1 * np.exp(-generator.uniform(0.5, 3) * D ** generator.uniform(0.4, 1.2))
        + generator.normal(0, 3e-4, 12)
    )
    problem = Problem.of(load_law("logspace-power"), D, y)
    assert shape.turn(problem, below=math.inf) is None


@pytest.mark.parametrize("law", ["power", "logarithmic", "A0 - c*x^-alpha; alpha=0.01:10"])
@pytest.mark.parametrize(
    ("curve", "words"), [(D**1.5 / 30, "rise ever faster"), (-(D**1.5) / 30, "fall ever faster")]
)
def test_points_that_steepen_are_told_of_a_law_that_levels_off(law, curve, words):
    problem = Problem.of(load_law(law), D, 0.4 + curve + NOISE)
    reason = shape.bend(problem, engine.solve(problem), rejects=10.0)
    assert reason is not None
    assert words in reason


@pytest.mark.parametrize("law", ["power", "sigmoid", "logspace-power"])
def test_points_that_level_off_or_noise_alone_steepen_nowhere(law):
    for y in (0.1 + 0.05 * D**-0.4 + NOISE, 0.3 + NOISE, 0.3 - 0.02 * np.log(D) + NOISE):
        problem = Problem.of(load_law(law), D, y)
        assert shape.bend(problem, engine.solve(problem), rejects=10.0) is None
