"""A whole table: files, keys, seeds, workers."""

import json
import os

import numpy as np
import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.fit_table import fit_table
from sparsity_lab.fitting.reproduce import published
from sparsity_lab.fitting.result import FIT_KEYS
from sparsity_lab.fitting.spec import FitSpec

FEW = FitSpec(draws=10)


@pytest.fixture
def table(tmp_path):
    """Two short series that follow the two laws, with noise of a thousandth."""
    generator = np.random.default_rng(0)
    tokens = np.geomspace(5e7, 2e9, 12).round()
    d = tokens / 1e9
    falling = 0.1 + np.exp(-2.5 - 0.9 * d**0.6) + generator.normal(0, 5e-4, 12)
    rising = 0.4 - 0.02 * d**-0.5 + generator.normal(0, 5e-4, 12)
    lines = ["series,activation_function,trained_tokens,activation_ratio"]
    lines += [f"small-relu,relu,{int(t)},{v!r}" for t, v in zip(tokens, map(float, falling), strict=True)]
    lines += [f"small-silu,silu,{int(t)},{v!r}" for t, v in zip(tokens, map(float, rising), strict=True)]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.long
def test_files_and_keys(table, tmp_path):
    out = tmp_path / "out"
    results = fit_table(table, output=out, spec=FEW)
    entries = json.loads((out / "fits.json").read_text(encoding="utf-8"))
    assert [e["series"] for e in entries] == ["small-relu", "small-silu"]
    assert [e["law"] for e in entries] == ["logspace-power", "power"]
    assert all(list(e) == list(FIT_KEYS) for e in entries)
    for entry in entries:
        assert {"value", "low", "high", "method"} == set(entry["coefficients"]["A0"])
        assert entry["points"] + entry["dropped_points"] == 12
        assert [r["dropped"] for r in entry["drop_sensitivity"]] == list(range(5))
        assert {r["law"] for r in entry["rivals"]["rivals"]} >= {"power", "logarithmic", "constant"}
    assert set(entries[0]["coefficients"]) == {"alpha", "b", "c", "A0"}
    names = {"fits.csv", "fits.md", "fits.json", "residuals.csv", "provenance.json", "plots"}
    assert {p.name for p in out.iterdir()} == names
    assert {p.name for p in (out / "plots").glob("*.png")} == {"small-relu.png", "small-silu.png", "all.png"}
    assert (out / "fits.csv").read_text(encoding="utf-8").count("\n") == 1 + len(results)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_on_any_number_of_workers(table, tmp_path):
    fit_table(table, output=tmp_path / "a", spec=FEW, jobs=1)
    fit_table(table, output=tmp_path / "b", spec=FEW, jobs=2)
    for name in ("fits.json", "fits.csv", "fits.md", "plots/all.png", "plots/small-relu.svg"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


@pytest.mark.slow
def test_drops_of_named_series(table, tmp_path):
    spec = FitSpec(draws=0, drop={"small-relu": 2})
    first, second = fit_table(table, output=tmp_path / "out", spec=spec)
    assert (first.series.dropped, second.series.dropped) == (2, 0)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (FitSpec(drop={"small-rely": 1}), "Did you mean 'small-relu'"),
        (FitSpec(drop=-1), "Cannot drop -1"),
        (FitSpec(law="powr"), "Did you mean 'power'"),
        (FitSpec(drop=9), "No series has enough points"),
    ],
)
def test_bad_choices_write_nothing(table, tmp_path, spec, told):
    out = tmp_path / "out"
    with pytest.raises(SparsityLabError, match=told):
        fit_table(table, output=out, spec=spec)
    assert not list(out.glob("*"))


def table_of(tmp_path, values, *, activation="relu"):
    tokens = np.geomspace(1e9, 5e10, len(values)).round()
    rows = [f"s,{activation},{int(t)},{float(v)!r}" for t, v in zip(tokens, values, strict=True)]
    path = tmp_path / "edge.csv"
    header = "series,activation_function,trained_tokens,activation_ratio\n"
    path.write_text(header + "\n".join(rows) + "\n", encoding="utf-8")
    return path


D = np.geomspace(1, 50, 12)


@pytest.mark.thorough(1)
@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.full(12, 0.25), {"not identified"}),
        (np.zeros(12), {"not identified"}),
        (np.where(D > 7, 0.4, 0.2), {"weakly identified"}),
        (0.1 + 0.05 * np.exp(-D / 10), {"identified"}),
        (0.4 - 0.1 * D**-0.5 + 1e-3 * np.sin(7 * D), {"identified"}),
        (
            0.1 + 0.05 * np.exp(-D[:6] / 10) + 1e-4 * np.sin(9 * D[:6]),
            {"not identified", "weakly identified"},
        ),
    ],
    ids=["constant", "zero", "step", "without noise", "the wrong way for relu", "six points"],
)
@pytest.mark.filterwarnings("error")
@pytest.mark.long
def test_odd_series_get_a_verdict_and_files_without_a_warning(tmp_path, values, words):
    (result,) = fit_table(table_of(tmp_path, values), output=tmp_path / "out", spec=FitSpec(draws=25))
    assert result.verdict.word in words
    json.loads((tmp_path / "out" / "fits.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_drop_rule_is_stated_and_used(tmp_path):
    values = 0.4 - 0.1 * np.geomspace(1, 50, 20) ** -0.7
    values = values + np.random.default_rng(0).normal(0, 3e-4, 20)
    values[:2] -= 0.02
    path = table_of(tmp_path, values, activation="silu")
    (result,) = fit_table(path, output=tmp_path / "out", spec=FitSpec(draws=0, drop="auto"))
    assert result.series.dropped == 2
    assert "F-test" in result.drop_rule


@pytest.mark.slow
def test_the_full_report_of_all_eleven_series_takes_less_than_ninety_seconds_of_two_cores(tmp_path):
    start = os.times()
    spec = FitSpec(drop=published.drops())
    assert len(fit_table("sparsing-law", output=tmp_path / "out", spec=spec, jobs=2)) == 11
    assert sum(os.times()[:4]) - sum(start[:4]) < 180, "processor time, of the workers too"
