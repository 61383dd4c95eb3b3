"""The words of a verdict follow from its evidence; warm-up points; rivals."""

from dataclasses import replace

import numpy as np
import pytest

from sparsity_lab import registry
from sparsity_lab.fitting.judge import rivals, warmup
from sparsity_lab.fitting.judge.checks import Checks
from sparsity_lab.fitting.judge.verdict import IDENTIFIED, NOT, WEAK, Evidence, judge
from sparsity_lab.fitting.judge.windows import Drift, Window
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.fitting.uncertainty.intervals import Profile

CLOSED = Profile("A0", 0.3, 0.29, 0.31, False, False, False, 1.1, ())
ALPHA = Profile("alpha", 0.5, 0.4, 0.6, False, False, False, 1.1, ())
SURE = Evidence(CLOSED, (ALPHA,), (0.0, 1.0), 0.05, 30.0, False, None, None)
MOVED = Window(0.7, 14, 0.2, 0.1, 0.25, False)
OPEN = replace(CLOSED, low=0.0, open_low=True, one_sided=0.305)


@pytest.mark.parametrize(
    ("evidence", "word", "told"),
    [
        (SURE, IDENTIFIED, "closed"),
        (replace(SURE, asymptote=OPEN), NOT, "open below"),
        (replace(SURE, asymptote=replace(CLOSED, value=-3.0)), NOT, "outside the physical range"),
        (replace(SURE, asymptote=replace(CLOSED, high=1.0, open_high=True)), NOT, "open above"),
        (replace(SURE, condition=1e12), NOT, "condition number"),
        (replace(SURE, y_range=0.01), WEAK, "wide"),
        (replace(SURE, exponents=(replace(ALPHA, open_low=True),)), WEAK, "alpha is open below"),
        (replace(SURE, at_edge=True), WEAK, "edge"),
        (replace(SURE, limitless_rival="logarithmic"), WEAK, "logarithmic"),
        (replace(SURE, better_rival="sigmoid, AICc lower by 60"), WEAK, "in doubt"),
        (replace(SURE, asymptote=OPEN, better_rival="sigmoid, AICc lower by 60"), NOT, "far better (sigmoid"),
        (replace(SURE, asymptote=None), IDENTIFIED, "the profiles of alpha are closed"),
        (
            replace(SURE, asymptote=None, exponents=(), others=(CLOSED,)),
            IDENTIFIED,
            "the profiles of A0 are closed",
        ),
        (
            replace(SURE, asymptote=None, exponents=(), others=(OPEN,)),
            WEAK,
            "the profile of A0 is open below",
        ),
        (replace(SURE, asymptote=None, exponents=()), WEAK, "no coefficient of the law has a profile"),
        (
            replace(SURE, ends=(replace(CLOSED, name="c + d", value=1.2),)),
            NOT,
            "the best c + d is 1.2, outside",
        ),
        (replace(SURE, ends=(replace(OPEN, name="c + d"),)), NOT, "the profile of c + d is open below"),
        (
            replace(SURE, checks=Checks(windows=(MOVED,))),
            WEAK,
            "by the first 70 % of the points A0 is 0.2 [0.1, 0.25]",
        ),
        (replace(SURE, checks=Checks(drift=Drift(9.0, 0.001))), WEAK, "drift away"),
        (replace(SURE, checks=Checks(drift=Drift(4.0, 0.05))), IDENTIFIED, "closed"),
        (replace(SURE, checks=Checks(correlation="noise too correlated")), WEAK, "noise too correlated"),
    ],
)
def test_words_and_reasons(evidence, word, told):
    verdict = judge(evidence)
    assert verdict.word == word
    assert told in verdict.reason


def test_every_weakness_is_said():
    evidence = replace(SURE, asymptote=replace(CLOSED, low=0.2), at_edge=True, better_rival="sigmoid")
    reason = judge(evidence).reason
    assert [word in reason for word in ("wide", "edge", "sigmoid")] == [True, True, True]


def test_an_open_profile_leaves_a_one_sided_bound():
    assert judge(replace(SURE, asymptote=OPEN)).bound == "A0 <= 0.305"
    assert judge(SURE).bound is None


def with_warmup(count, *, seed=0):
    x = np.arange(1.0, 31.0)
    y = 0.4 - 0.1 * x**-0.7 + np.random.default_rng(seed).normal(0, 3e-4, 30)
    y[:count] -= 0.01
    return Problem.of(registry.load("laws", "power").LAW, x, y)


@pytest.mark.thorough(1)
@pytest.mark.parametrize("count", [0, 2, 5])
def test_warm_up_points_are_found(count):
    found = [warmup.choose(warmup.sensitivity(with_warmup(count, seed=s))) for s in range(8)]
    assert np.median(found) == count


def test_the_drop_table_starts_at_none_and_ends_at_a_third():
    rows = warmup.sensitivity(with_warmup(0))
    assert [row.dropped for row in rows] == list(range(11))
    assert [row.points for row in rows] == list(range(30, 19, -1))


def laws(*names):
    return [registry.load("laws", name).LAW for name in names]


def test_the_law_that_made_the_data_wins_and_a_nested_one_ties():
    problem = with_warmup(0)
    found = rivals.compare(
        [problem.in_law(law) for law in laws("power", "logarithmic", "constant", "sigmoid")]
    )
    assert found.best_by_aicc == "power"
    assert found.find("power").aicc_gap == 0.0
    assert found.find("logarithmic").aicc_gap > 10
    assert found.best_by_extrapolation in {"power", "sigmoid"}
    assert [r.law for r in found.rivals][-1] == "constant"


def test_the_held_out_error_is_that_of_a_fit_to_the_first_seventy_percent():
    problem = with_warmup(0)
    (law,) = laws("logarithmic")
    slope, level = np.polyfit(np.log(problem.x[:21]), problem.y[:21], 1)
    by_hand = np.sqrt(np.mean((level + slope * np.log(problem.x[21:]) - problem.y[21:]) ** 2))
    found = rivals.compare([problem.in_law(law)])
    assert found.find("logarithmic").held_out_rmse == pytest.approx(by_hand, rel=1e-9)
