"""The published coefficients: which rows reproduce, to the tolerance that three printed digits imply."""

import pytest

from sparsity_lab.fitting.data.series import read_series
from sparsity_lab.fitting.fit import fit_series
from sparsity_lab.fitting.judge.verdict import IDENTIFIED, NOT
from sparsity_lab.fitting.reproduce import published
from sparsity_lab.fitting.spec import FitSpec
from sparsity_lab.store import bundled

ROWS = published.published_rows()
SPEC = FitSpec(drop=published.drops(), draws=0)
RESULTS = {}


def result(name):
    if name not in RESULTS:
        (series,) = (s for s in read_series(bundled.path("sparsing-law")) if s.name == name)
        RESULTS[name] = fit_series(series, SPEC)
    return RESULTS[name]


@pytest.mark.thorough(3)
@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.reproduces])
@pytest.mark.long
def test_rows_that_reproduce_do_so_in_every_coefficient(name):
    found = published.compare(result(name), ROWS[name])
    assert {a.coefficient for a in found} == set(result(name).coefficients)
    assert all(a.within for a in found), found


@pytest.mark.thorough
@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if not row.reproduces])
@pytest.mark.long
def test_rows_that_do_not_reproduce_fail_every_coefficient(name):
    assert not any(a.within for a in published.compare(result(name), ROWS[name]))


@pytest.mark.long
def test_the_limit_of_04b_relu_is_not_identified():
    found = result("0.4B-relu")
    assert found.verdict.word == NOT
    assert found.verdict.bound is not None
    name, sign, value = found.verdict.bound.split()
    assert (name, sign) == ("A0", "<=")
    assert 0.056 <= float(value) <= 0.059
    assert found.condition > 1e8


def test_the_published_limit_of_08b_silu_lies_outside_its_interval():
    found = result("0.8B-silu")
    limit = found.coefficients["A0"]
    assert found.verdict.word == IDENTIFIED
    assert 0.383 < limit.low < limit.value < limit.high
    assert (limit.low, limit.high) == pytest.approx((0.387, 0.3905), abs=5e-4)


@pytest.mark.long
def test_the_tolerance_is_not_so_wide_that_another_series_would_pass():
    for name in ("0.2B-relu", "0.8B-relu", "1.2B-relu", "2.4B-relu"):
        others = [r for r in ROWS if r.endswith("relu") and r != name]
        for other in others:
            assert not all(a.within for a in published.compare(result(name), ROWS[other]))


@pytest.mark.parametrize(
    ("text", "half"), [("1.01e-1", 5e-4), ("3.20", 5e-3), ("9.04e-6", 5e-9), ("1.53", 5e-3)]
)
def test_half_a_unit_of_the_last_digit(text, half):
    assert published.half_unit(text) == pytest.approx(half)
