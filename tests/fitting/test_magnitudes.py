"""Numbers that least squares cannot take: the row is named, or there is a fit without NaN and without a warning."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting import fit_table as batch
from sparsity_lab.fitting.data.columns import Columns
from sparsity_lab.fitting.data.series import read_series
from sparsity_lab.fitting.fit_table import fit_table
from sparsity_lab.fitting.judge import warmup
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.locks import lock_file
from sparsity_lab.fitting.locks.lock import Agreed, lock_of
from sparsity_lab.fitting.solve import engine
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.fitting.spec import FitSpec

MAPPED = Columns(("x",), "y", se="se")


def table(folder, rows):
    path = folder / "t.csv"
    path.write_text("x,y,se\n" + "".join(",".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("size", ["1e300", "1e-300", "5e-324", "-1e300", "1e51", "1e-51"])
@pytest.mark.parametrize("column", ["x", "y", "se"])
def test_sizes_beyond_those_of_a_fit_are_refused_by_row(tmp_path, column, size):
    if column != "y" and size.startswith("-"):
        size = size[1:]
    row = {"x": "3", "y": "2", "se": "0.1"} | {column: size}
    path = table(tmp_path, [(1, 3, 0.1), row.values(), (4, 1, 0.1)])
    with pytest.raises(SparsityLabError, match=f"row 3, column '{column}'") as caught:
        read_series(path, mapping=MAPPED)
    assert "another unit" in caught.value.fix


def test_a_ladder_refuses_them_as_well(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,y\n1,2,3\n1,1e40,3\n", encoding="utf-8")
    with pytest.raises(SparsityLabError, match="row 3, column 'b': '1e40'"):
        read_series(tmp_path / "t.csv", mapping=Columns(("a", "b"), "y"))
    (tmp_path / "t.csv").write_text("a,b,y\n1,1e-20,3\n1,1e20,3\n", encoding="utf-8")
    with pytest.raises(SparsityLabError, match=r"rows 2 and 3, column 'b'.*too far apart"):
        read_series(tmp_path / "t.csv", mapping=Columns(("a", "b"), "y"))


def test_values_of_x_that_are_too_far_apart_are_refused_by_row(tmp_path):
    path = table(tmp_path, [("1e-16", 3, 1), (1, 3, 1), ("1e16", 3, 1)])
    with pytest.raises(SparsityLabError, match="rows 2 and 4, column 'x'"):
        read_series(path, mapping=MAPPED)


XS = st.sampled_from(["0", "1", "2", "3", "4", "7", "1e15", "1e-15", "1e9", "1e30", "1e-30"])
YS = st.sampled_from(["0", "1", "2", "3", "-1", "1e50", "-1e50", "1e-50", "0.5", ""])
ERRORS = st.sampled_from(["0", "1", "0.1", "1e50", "1e-50", ""])
LAWS = st.sampled_from(["auto", "power", "logspace-power", "logarithmic", "sigmoid", "constant", "linear"])
ROWS = st.lists(st.tuples(XS, YS, ERRORS), min_size=5, max_size=9)


def unlike_a_mistake(error):
    """Whether an error is a fault of the fit's own."""
    return isinstance(error.__cause__, Exception)


@settings(max_examples=10, deadline=None, derandomize=True, database=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])  # fmt: skip
@given(rows=ROWS, law=LAWS, weighted=st.booleans())
def test_drawn_tables_are_fitted_without_a_warning_or_refused(tmp_path, capfd, rows, law, weighted):
    spec = FitSpec(law=law, weighted=weighted, draws=0, rivals=("power", "logarithmic"))
    results, faults = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            results = batch.fit_all(read_series(table(tmp_path, rows), mapping=MAPPED), spec)
        except SparsityLabError as error:
            faults = [error] if unlike_a_mistake(error) else []
    assert not faults
    assert "DLASCL" not in capfd.readouterr().err
    for result in results:
        assert all(map(math.isfinite, result.values.values()))
        if result.describes:
            assert "nan" not in lock_file.to_toml(lock_of(result, Agreed("t.csv", "why", False, MAPPED)))


@pytest.mark.long
def test_the_largest_and_smallest_sizes_are_fitted_and_drawn(tmp_path):
    size = 1e49
    rows = [(repr(1e-29 * n), repr(size * (1 + 2 / n)), size / 10) for n in range(1, 8)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (result,) = fit_table(
            table(tmp_path, rows),
            output=tmp_path / "out",
            spec=FitSpec(law="power", rivals=("logarithmic",), draws=0),
            mapping=MAPPED,
        )
    assert result.values["A0"] == pytest.approx(size, rel=0.01)


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_fit_that_crashes_names_its_series(tmp_path, monkeypatch, jobs):
    path = tmp_path / "t.csv"
    rows = [f"{name},{n},{1 / n}" for name in ("good", "broken") for n in range(1, 8)]
    path.write_text("run,x,y\n" + "\n".join(rows) + "\n", encoding="utf-8")
    series = read_series(path, mapping=Columns(("x",), "y", "run"))
    object.__setattr__(series[1], "y", series[1].y.reshape(1, -1))  # as no table gives it
    monkeypatch.setattr(batch, "_too_little", lambda series, spec, needed: None)
    with pytest.raises(SparsityLabError, match=r"The fit of the series 'broken' failed. [A-Z][A-Za-z]*Error"):
        batch.fit_all(series, FitSpec(draws=0), jobs=jobs)


@pytest.mark.long
def test_a_long_series_is_fitted_without_a_few_counts_of_leading_points(tmp_path):
    path = table(tmp_path, [(n, 1 + n**-0.5 + 1e-3 * math.sin(n), 0.1) for n in range(1, 6001)])
    (one,) = read_series(path, mapping=MAPPED)
    problem = Problem.of(load_law("logarithmic"), one.x, one.y)
    counts = [row.dropped for row in warmup.sensitivity(problem)]
    assert counts == list(range(0, 2001, 67))
    assert [row.dropped for row in warmup.sensitivity(problem.subset(slice(0, 30)))] == list(range(11))
    power = Problem.of(load_law("power"), one.x, one.y)
    assert power.coefficients(engine.solve(power).theta)["alpha"] == pytest.approx(0.5, rel=0.02)


def test_a_rule_that_tries_few_counts_says_which():
    """A long series is fitted without 0, 8, 16, ... leading points, and a short one without each number of them."""
    tokens = np.geomspace(1e8, 1e11, 690)
    ratios = 0.1 + 0.4 * (tokens / 1e8) ** -0.5
    law = registry.load("laws", "power").LAW
    for points, told in ((slice(None), "among the multiples of 8"), (slice(0, 60), None)):
        rows = warmup.sensitivity(Problem.of(law, tokens[points], ratios[points]))
        rule = warmup.rule_of(rows)
        assert (told or warmup.AUTO_RULE) in rule
        assert (told is None) == (rule == warmup.AUTO_RULE)
        assert [row.dropped for row in rows][:3] == ([0, 8, 16] if told else [0, 1, 2])
