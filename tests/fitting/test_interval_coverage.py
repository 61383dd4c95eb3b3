"""The study of how often intervals hold the truth: its cells, its table, and a sample of what it finds."""

import csv

import numpy as np
import pytest

from sparsity_lab.bench import interval_coverage
from sparsity_lab.bench.interval_coverage import CURVES, SimulatedLadder, ladder_set, series_set
from sparsity_lab.fitting.solve.objective import HUBER, SQUARES

BY_LAW = {curve.law: curve for curve in CURVES}


@pytest.mark.parametrize(
    "law", ["densing", *(pytest.param(law, marks=pytest.mark.slow) for law in ("power", "width-depth"))]
)
def test_intervals_hold_under_correlated_noise(law):
    outcomes = [series_set(BY_LAW[law], 12, 0.6, draw) for draw in range(30)]
    for number in outcomes[0].keys() - {"flagged"}:
        # Of 30 at 86 %, fewer than 20 come once in 300; half of all, as bootstrap bands held, in most runs.
        assert sum(outcome[number] for outcome in outcomes) >= 20, number


@pytest.mark.slow
@pytest.mark.parametrize("objective", [SQUARES, HUBER])
def test_a_ladder_of_few_single_runs_has_intervals(objective):
    """With Huber losses, a bound that began to push in the midst of a walk ended the fit with an IndexError."""
    held = ladder_set(SimulatedLadder(8, checkpoints=1), objective, 0)
    assert held.keys() == {"alpha", "beta", "a", "b", "E", "prediction"}


def test_the_table_is_written_as_cells_end(tmp_path, monkeypatch):
    monkeypatch.setattr(interval_coverage, "CURVES", (BY_LAW["densing"],))
    monkeypatch.setattr(interval_coverage, "LADDERS", ())
    monkeypatch.setattr(interval_coverage, "POINTS", (8,))
    interval_coverage.main([str(tmp_path), "4", "1"])
    (path,) = tmp_path.glob("*.csv")
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    assert {row["number"] for row in rows} == {"A", "B", "prediction", "reach"}
    assert {row["data_sets"] for row in rows} == {"4"}
    assert np.all([0 <= float(row["coverage"]) <= 1 for row in rows])
