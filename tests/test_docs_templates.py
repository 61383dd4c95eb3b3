"""The templates of the guides are used as they are, by the real program, through entry points of another package."""

import csv
import importlib
import shutil
import sys

import numpy as np
import pytest

from sparsity_lab import registry
from tests.command import run
from tests.documents import DOCS

pytestmark = pytest.mark.usefixtures("unrendered")

TEMPLATES = DOCS / "extend" / "templates"
PACKAGE = "someones_package"
ENTRIES = {
    "laws": ("hyperbola", "law"),
    "criteria": ("above-mean", "criterion"),
    "architectures": ("someones-llama", "architecture"),
    "kernels": ("count-above", "kernel"),
    "launchers": ("pool", "launcher"),
    "loggers": ("points", "logger"),
}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The templates as a package with entry points, on the path of this process and of those it starts."""
    site = tmp_path / "site"
    shutil.copytree(TEMPLATES, site / PACKAGE)
    (site / PACKAGE / "__init__.py").touch()
    about = site / f"{PACKAGE}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.0\n", encoding="utf-8"
    )
    groups = [f"[sparsity_lab.{room}]\n{name} = {PACKAGE}.{stem}" for room, (name, stem) in ENTRIES.items()]
    (about / "entry_points.txt").write_text("\n".join(groups) + "\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    importlib.invalidate_caches()
    registry._third_party.cache_clear()
    yield site
    registry._third_party.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def test_every_code_template_is_an_entry_of_its_room(installed):
    for room, (name, stem) in ENTRIES.items():
        if room == "kernels":
            pytest.importorskip("torch")
        assert name in registry.names(room)
        assert registry.load(room, name).__name__ == f"{PACKAGE}.{stem}"
    code = {path.stem for path in TEMPLATES.glob("*.py")} - {"kernel_triton"}
    assert code == {stem for _, stem in ENTRIES.values()}


def test_the_law_is_fitted_by_its_name(installed, tmp_path):
    true = {"m": 7.0, "c": 0.2, "A0": 0.4}
    tokens = np.geomspace(0.5, 200, 14)
    noise = np.random.default_rng(0).normal(size=tokens.size) * 2e-4
    ratios = true["A0"] - true["c"] / (1 + tokens / true["m"]) + noise
    rows = "\n".join(f"mine,{x},{y}" for x, y in zip(tokens, ratios, strict=True))
    (tmp_path / "table.csv").write_text(f"model,tokens_b,activation_ratio\n{rows}\n", encoding="utf-8")
    done = run(
        "fit", "table.csv", "--law", "hyperbola", "--bootstrap", "0", "--jobs", "1", "-o", "fit", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "fit" / "fits.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    for name, value in true.items():
        assert float(row[name]) == pytest.approx(value, rel=0.03)


@pytest.mark.parametrize("check", [
    "test_the_formula_is_the_design_times_the_linear_coefficients", "test_locate_is_the_inverse_of_assemble",
    "test_the_design_gradient_is_the_derivative", "test_the_slope_is_the_derivative_by_the_first_input",
    "test_inversion_inverts", "test_the_limit_is_approached",
])  # fmt: skip
def test_the_law_passes_what_every_law_must(installed, check):
    from tests.laws import test_laws

    law = registry.load("laws", "hyperbola").LAW
    getattr(test_laws, check)(law, np.random.default_rng(0))


def measured(folder, model, text, *words):
    """The table of a run of `measure`, without what differs from run to run."""
    done = run(
        "measure",
        model,
        "--text",
        text,
        "--tokens",
        "1024",
        "--window",
        "64",
        *words,
        "-o",
        "out",
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    with (folder / "out" / "table.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_criterion_is_searched_by_its_name(installed, trained, source_text, tmp_path):
    (row,) = measured(tmp_path, trained, source_text, "--criterion", "above-mean")
    assert row["criterion"] == "above-mean"
    assert 0 < float(row["activation_ratio"]) < 1
    assert float(row["ppl_ratio"]) == pytest.approx(1.01, abs=0.003)


def test_the_criterion_counts_what_it_says(installed):
    torch = pytest.importorskip("torch")
    keep = registry.load("criteria", "above-mean").keep_above_mean
    scores = torch.tensor([[0.0, 1.0, 2.0, 5.0], [3.0, 3.0, 3.0, 3.0]])
    assert keep(scores, 1.0).tolist() == [[False, False, True, True], [True] * 4]


def test_the_architecture_file_gives_the_numbers_that_are_found_without_it(trained, source_text, tmp_path):
    file = TEMPLATES / "architecture.py"
    (row,) = measured(tmp_path, trained, source_text, "--knob", "0.1", "--architecture-file", file)
    (tmp_path / "without").mkdir()
    (other,) = measured(tmp_path / "without", trained, source_text, "--knob", "0.1")
    assert row["activation_ratio"] == other["activation_ratio"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("shape", [(1, 1), (7, 65), (33, 128)])
def test_both_kernels_count_alike(installed, monkeypatch, dtype, shape):
    torch = pytest.importorskip("torch")
    pytest.importorskip("triton")
    if not torch.cuda.is_available():
        monkeypatch.setenv("TRITON_INTERPRET", "1")
    module = registry.load("kernels", "count-above")
    a = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(getattr(torch, dtype))
    a[0, 0] = float("nan")
    by_hand = [sum(not abs(float(v)) <= 0.5 for v in column) for column in a.T]
    assert module.count_above(a, 0.5, backend="torch").tolist() == by_hand
    assert module.count_above(a, 0.5, backend="triton").tolist() == by_hand


@pytest.mark.long
def test_the_launcher_measures_what_one_process_does(installed, checkpoints, source_text, tmp_path):
    words = ("--knob", "0.1", "--limit", "2")
    rows = measured(tmp_path, checkpoints, source_text, *words, "--launcher", "pool", "--jobs", "2")
    (tmp_path / "alone").mkdir()
    others = measured(tmp_path / "alone", checkpoints, source_text, *words)
    assert [row["content_key"] for row in rows] == [row["content_key"] for row in others]
    assert [row["activation_ratio"] for row in rows] == [row["activation_ratio"] for row in others]


def test_the_logger_holds_what_the_table_has(installed, trained, source_text, tmp_path):
    (row,) = measured(tmp_path, trained, source_text, "--knob", "0.1", "--log", "points")
    (file,) = (tmp_path / "out" / "points").glob("*.csv")
    with file.open(encoding="utf-8", newline="") as opened:
        points = list(csv.DictReader(opened))
    held = [float(p["value"]) for p in points if p["name"].startswith("activation_ratio")]
    assert float(row["activation_ratio"]) in held


def test_the_table_of_a_ruler_is_one(tmp_path):
    (tmp_path / "models.csv").write_text(
        "model,family,params_b,MMLU,HellaSwag\nm,mine,2,0.5,0.62\n", encoding="utf-8"
    )
    built = run("density", "ruler", TEMPLATES / "ruler.csv", "--name", "mine", "-o", "rulers", cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    done = run("density", "--targets", "models.csv", "--ruler", "rulers/mine.json", "--no-sensitivity", "-o", "out",
               cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    with (tmp_path / "out" / "table.csv").open(encoding="utf-8", newline="") as file:
        (model,) = csv.DictReader(file)
    assert 1 < float(model["rho"]) < 2.5  # between base-1.5B and base-7B on both tasks, nearest to base-3B
