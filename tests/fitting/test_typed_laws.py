"""The same law typed or named: the same optimum, intervals, comparison and verdict."""

import dataclasses
import math

import numpy as np
import pytest

from sparsity_lab.fitting.data.series import Columns, read_series
from sparsity_lab.fitting.fit import fit_series
from sparsity_lab.fitting.judge import rivals
from sparsity_lab.fitting.judge.verdict import NOT
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.reproduce import published
from sparsity_lab.fitting.solve import engine
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.fitting.solved import problem_of, solve_and_judge
from sparsity_lab.fitting.spec import FitSpec
from sparsity_lab.store import bundled
from tests.fitting.points import series_of

SERIES = {one.name: one for one in read_series(bundled.path("sparsing-law"))}
CHINCHILLA = "E + a*N^-alpha + b*D^-beta; inputs N, D; E>=0; a>=0; b>=0"
SIGNIFICANT = (
    1e-5  # optima are exact in the sum of squares; where that is flat, the coefficients are as far apart
)


def said(verdict):
    """What a verdict says, without the numbers of its tests."""
    return verdict.word, verdict.reason, verdict.bound, verdict.describes


def of_chinchilla(law, *, robust):
    columns = Columns(("params", "tokens"), "loss", exclude="epoch_excluded")
    (series,) = read_series(bundled.path("chinchilla"), mapping=columns, law=load_law("loss-power"))
    return solve_and_judge(series, load_law(law), FitSpec(robust=robust), comparison=None)


def points(name):
    return SERIES[name].without_leading(published.drops().get(name, 0))


@pytest.mark.thorough(4)
@pytest.mark.parametrize(
    ("name", "law"),
    [
        *[(f"{size}-silu", "power") for size in ("0.1B", "0.4B", "1.2B")],
        *[(f"{size}-relu", "logspace-power") for size in ("0.2B", "2.4B")],
        ("0.4B-silu", "rising-exponential"),
        ("0.4B-relu", "logarithmic"),
    ],
)
@pytest.mark.long
def test_a_series_has_the_same_fit_and_verdict(name, law):
    series = points(name)
    named, typed = load_law(law), load_law(load_law(law).typed)
    # Neither is compared with the other, which would be as good as itself.
    compared = [
        rivals.compare(
            [
                Problem.of(law, series.x, series.y)
                for law in (one, load_law("logarithmic"), load_law("sigmoid"))
            ],
            extrapolate=False,
        )
        for one in (named, typed)
    ]
    by_name, as_typed = (
        solve_and_judge(series, one, comparison=comparison)
        for one, comparison in zip((named, typed), compared, strict=True)
    )
    assert as_typed.solution.sse == pytest.approx(by_name.solution.sse, rel=1e-10)
    values = [judged.problem.coefficients(judged.solution.theta) for judged in (by_name, as_typed)]
    assert values[1] == pytest.approx(values[0], rel=SIGNIFICANT, abs=SIGNIFICANT)
    assert set(as_typed.profiles) == set(by_name.profiles)
    for coefficient, profile in by_name.profiles.items():
        other = as_typed.profiles[coefficient]
        assert (other.low, other.high) == pytest.approx((profile.low, profile.high), rel=SIGNIFICANT)
        assert (other.open_low, other.open_high) == (profile.open_low, profile.open_high)
        assert other.one_sided == pytest.approx(profile.one_sided, rel=SIGNIFICANT, nan_ok=True)
    assert said(as_typed.verdict) == said(by_name.verdict)
    ranks = [{r.law.partition(";")[0]: r.aicc_gap for r in one.rivals} for one in compared]
    assert ranks[1][typed.text] == pytest.approx(ranks[0][law], abs=1e-8)


def scores(best, *, midpoint=1.1, height=0.7, noise=4e-3):
    """Scores of 25 models whose losses go down to `best`, in order of loss."""
    losses = np.linspace(best, 2.2, 25)
    curve = 0.25 + height / (1 + np.exp(4.0 * (losses - midpoint)))
    law = load_law("loss-to-score")
    return series_of(law, losses, curve + np.random.default_rng(0).normal(0, noise, 25))


@pytest.mark.parametrize(
    "series",
    [scores(0.3), scores(0.3, height=0.9), scores(1.0, midpoint=0.5), scores(0.3, noise=0.1)],
    ids=["identified", "above one", "not reached", "noise"],
)
@pytest.mark.long
def test_a_score_against_a_loss_has_the_same_fit_and_verdict(series):
    named, typed = load_law("loss-to-score"), load_law(load_law("loss-to-score").typed)
    assert (typed.limits, typed.far_end) == ((("d", (0.0, 1.0)), ("c + d", (1.0, 1.0))), "c + d")
    by_name, as_typed = (solve_and_judge(series, law, comparison=None) for law in (named, typed))
    assert as_typed.solution.sse == pytest.approx(by_name.solution.sse, rel=1e-9)
    assert as_typed.values == pytest.approx(by_name.values, rel=1e-4)
    assert said(as_typed.verdict) == (
        by_name.verdict.word, by_name.verdict.reason.replace("loss-to-score", typed.name),
        by_name.verdict.bound, True,
    )  # fmt: skip
    windows = [[(w.points, w.agrees) for w in one.verdict.checks.windows] for one in (by_name, as_typed)]
    assert windows[0] == windows[1]
    assert typed.limit(as_typed.values) == pytest.approx(named.limit(by_name.values), rel=1e-4)


def test_the_way_of_the_inputs_and_the_range_of_y_make_the_verdict_of_a_score():
    """Without them the far end is chance, and a ceiling above one is none that is impossible."""
    series, text = scores(0.3, height=0.9), "d + c/(1 + exp(-gamma*(x - l)))"
    plain = solve_and_judge(series, load_law(text), comparison=None)
    assert plain.problem.law.far_end == "c + d"
    assert plain.problem.law.limit(plain.values) == pytest.approx(0.25, abs=0.02)
    whole = solve_and_judge(series, load_law(f"{text}; forward falling; output 0:1"), comparison=None)
    assert whole.problem.law.far_end == "d"
    assert whole.problem.law.limit(whole.values) == pytest.approx(1.15, abs=0.02)
    assert (whole.verdict.word, "outside the physical range 0 to 1" in whole.verdict.reason) == (NOT, True)


def test_a_formula_is_compared_with_the_rivals_and_judged():
    series = points("0.1B-silu")
    spec = FitSpec(law="A0 - c*x^-a", rivals=("logarithmic", "constant"), draws=0)
    typed, named = (fit_series(series, dataclasses.replace(spec, law=law)) for law in (spec.law, "power"))
    assert typed.comparison.find(typed.law.name) is not None
    assert typed.law_rule == "asked for; ranges found: a=0.01:10.0"
    assert (typed.verdict.word, typed.verdict.bound) == (named.verdict.word, named.verdict.bound)
    assert typed.verdict.word == NOT
    assert typed.verdict.bound == "A0 >= 0.396"


def test_a_law_by_name_with_a_range_fits_as_that_law():
    series = points("0.8B-silu")
    usual, ranged = (
        fit_series(series, FitSpec(law=law, rivals=("logarithmic",), draws=0))
        for law in ("power", "power; alpha=0.1:2")
    )
    assert ranged.values == pytest.approx(usual.values, rel=1e-5)
    assert (ranged.law.name, said(ranged.verdict)) == ("power; alpha=0.1:2.0", said(usual.verdict))


@pytest.mark.thorough(1)
@pytest.mark.parametrize("huber", [False, True], ids=["squares", "huber"])
@pytest.mark.long
def test_a_table_of_runs_has_the_same_fit_and_verdict(huber):
    named, typed = (of_chinchilla(law, robust=huber) for law in ("loss-power", CHINCHILLA))
    assert typed.solution.objective == pytest.approx(named.solution.objective, rel=1e-10)
    assert typed.values == pytest.approx(named.values, rel=SIGNIFICANT)
    assert said(typed.verdict) == said(named.verdict)
    for coefficient, profile in named.profiles.items():
        other = typed.profiles[coefficient]
        assert (other.low, other.high) == pytest.approx((profile.low, profile.high), rel=1e-4)


@pytest.mark.long
def test_sums_of_exponentials_of_logarithms_are_powers_with_a_limit():
    """exp(a - al log N) is a N^-al: the same optimum, limit, exponents and verdict."""
    n, d = (grid.ravel() for grid in np.meshgrid([1e7, 3e7, 1e8, 3e8], [1e9, 3e9, 1e10, 3e10]))
    y = (1.7 + 400 * n**-0.34 + 400 * d**-0.28) * np.exp(np.random.default_rng(0).normal(0, 2e-3, 16))
    series = series_of(load_law("loss-power"), np.stack([n, d], axis=1), y)
    texts = (CHINCHILLA, "exp(a - alpha*log(N)) + exp(b - beta*log(D)) + exp(c); inputs N, D")
    powers, sums = (solve_and_judge(series, load_law(text), comparison=None) for text in texts)
    assert sums.solution.objective == pytest.approx(powers.solution.objective, rel=1e-9)
    on_log = [engine.solve(problem_of(load_law(text), series, FitSpec(log=True))) for text in texts]
    assert on_log[1].objective == pytest.approx(on_log[0].objective, rel=1e-9)
    assert np.exp([sums.values[name] for name in "cab"]) == pytest.approx(
        [powers.values[name] for name in "Eab"], rel=1e-4
    )
    law = sums.problem.law
    assert (list(law.exponents), law.far_end) == (["alpha", "beta"], "exp(c)")
    assert law.limit(sums.values) == pytest.approx(powers.values["E"], rel=1e-4)
    for names in (("exp(c)", "E"), ("alpha", "alpha"), ("beta", "beta")):
        ends = [
            (profile.low, profile.high) for profile in (sums.profiles[names[0]], powers.profiles[names[1]])
        ]
        assert ends[0] == pytest.approx(ends[1], rel=1e-3)
    expected = powers.verdict.reason.replace(powers.problem.law.name, law.name)
    assert (sums.verdict.word, sums.verdict.reason.replace("exp(c)", "E")) == (powers.verdict.word, expected)


@pytest.mark.long
def test_a_limit_that_is_given_is_kept_in_a_robust_fit():
    """The optimum with E = 1.69 by an optimiser of its own: 1.1436968e-3."""
    fit = of_chinchilla("E + a*N^-al + b*D^-be; inputs N, D; E=1.69", robust=True)
    assert fit.solution.objective == pytest.approx(1.1436968e-3, rel=1e-6)
    assert fit.values == pytest.approx({"al": 0.290998, "be": 0.330870, "a": 184.336, "b": 1025.59}, rel=1e-4)
    assert math.isfinite(fit.condition)


def test_the_limit_of_a_formula_is_its_value_far_away():
    law = load_law("a + b*(1 - exp(-c*x))")
    assert law.limit({"a": 0.1, "b": 0.2, "c": 0.3}) == pytest.approx(0.3)
    assert math.isnan(load_law("a + b*log(x)").limit({"a": 0.1, "b": 0.2}))
    assert law.invert({"a": 0.1, "b": 0.2, "c": 0.3}, 0.2) == pytest.approx(math.log(2) / 0.3)
    two = load_law("E + a*N^-al + b*D^-be; inputs N, D")
    values = {"E": 1.8, "a": 480.0, "b": 2100.0, "al": 0.35, "be": 0.37}
    size = two.invert(values, 2.0)
    assert two.predict(values, np.array([[size, 1e300]]))[0] == pytest.approx(2.0)


def test_a_limit_that_is_a_sum_is_judged_as_one_that_is_a_coefficient():
    """0.1 + b (1 - exp(-c x)) ends at b + 0.1, as A - b exp(-c x) at A."""
    x = np.geomspace(1, 100, 25)
    y = 0.1 + 0.2 * (1 - np.exp(-0.05 * x)) + 0.002 * np.random.default_rng(0).standard_normal(25)
    series = dataclasses.replace(SERIES["0.1B-silu"], x=x, y=y, se=None)
    summed, alone = (
        solve_and_judge(series, load_law(text), comparison=None)
        for text in ("a + b*(1 - exp(-c*x))", "A - b*exp(-c*x)")
    )
    ends = [(p.low, p.high) for p in (summed.profiles["a + b"], alone.profiles["A"])]
    assert ends[0] == pytest.approx(ends[1], rel=1e-5)
    assert summed.verdict.word == alone.verdict.word
    fixed = solve_and_judge(series, load_law("a + b*(1 - exp(-c*x)); a=0.1"), comparison=None)
    level, height = fixed.profiles["b + 0.1"], fixed.profiles["b"]
    assert (level.low, level.high) == pytest.approx((height.low + 0.1, height.high + 0.1), rel=1e-6)
