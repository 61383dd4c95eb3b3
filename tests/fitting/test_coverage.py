"""The committed study of the intervals holds its promise, and the simulation behind it is sound."""

import csv
from pathlib import Path

import pytest

from sparsity_lab.bench import coverage
from sparsity_lab.fitting.judge.verdict import IDENTIFIED, NOT

TABLE = Path(__file__).parents[2] / "results" / "coverage" / "coverage.csv"
NOISES = {"independent", "the series' own correlation"}


@pytest.fixture(scope="module")
def rows():
    with TABLE.open(newline="", encoding="utf-8") as stream:
        return [row for row in csv.DictReader(stream) if row["series"] == "all" and row["noise"] in NOISES]


def test_identified_limits_are_held_92_to_98_percent_of_the_time(rows):
    known = [row for row in rows if row["truth"] != "logarithmic"]
    assert {row["law"] for row in known} == {"power", "logspace-power"}
    assert len(known) == 4
    for row in known:
        assert int(row["data_sets"]) >= 300
        assert 0.92 <= int(row["covered"]) / int(row["identified"]) <= 0.98


def test_at_most_five_percent_of_data_without_a_limit_are_called_identified(rows):
    nulls = [row for row in rows if row["truth"] == "logarithmic"]
    assert len(nulls) == 4
    for row in nulls:
        assert int(row["identified"]) <= 0.05 * int(row["data_sets"])


def test_truths_have_the_points_and_noise_of_the_series():
    known = {(t.series, t.truth): t for t in coverage.truths()}
    assert len(known) == 21  # eleven logarithms, ten laws: 0.4B ReLU has no limit in range
    one = known["0.8B-silu", "power"]
    assert len(one.x) == 34
    assert one.limit == pytest.approx(0.3887, abs=1e-4)
    assert one.sd == pytest.approx(7.9e-4, rel=0.01)
    assert all(0 <= t.rho < 0.6 for t in known.values())


def test_a_simulated_data_set_is_the_same_every_time_and_judged():
    (truth,) = (t for t in coverage.truths() if (t.series, t.truth) == ("0.8B-silu", "power"))
    first = [coverage.simulate(truth, rho=None, draw=draw, seed=1) for draw in range(2)]
    assert first == [coverage.simulate(truth, rho=None, draw=draw, seed=1) for draw in range(2)]
    assert all(outcome.verdict == IDENTIFIED for outcome in first)


@pytest.mark.slow
def test_a_logarithm_is_not_given_a_limit():
    (truth,) = (t for t in coverage.truths() if (t.series, t.truth) == ("0.4B-relu", "logarithmic"))
    words = [coverage.simulate(truth, rho=0.0, draw=draw, seed=1).verdict for draw in range(6)]
    assert words.count(NOT) >= 5


def cells():
    with TABLE.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def repeated(series, truth, count):
    """Verdicts and holdings of the first data sets of one cell of the study."""
    (known,) = (t for t in coverage.truths() if (t.series, t.truth) == (series, truth))
    return [coverage.simulate(known, rho=0.0, draw=draw, seed=0) for draw in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize(("series", "truth"), [("0.8B-silu", "power"), ("1.2B-relu", "logspace-power")])
def test_cells_of_the_committed_table_repeat_to_the_last_count(series, truth):
    (row,) = (
        r for r in cells()
        if (r["series"], r["truth"], r["noise"]) == (series, truth, "independent")
    )  # fmt: skip
    found = repeated(series, truth, int(row["data_sets"]))
    sure = [o.held for o in found if o.verdict == IDENTIFIED]
    assert (len(sure), sum(sure)) == (int(row["identified"]), int(row["covered"]))
