"""Near its ends a ruler gives bounds, not numbers."""

import numpy as np
import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.curves import FormErrors, MeanCurve, OneStepCurve
from sparsity_lab.fitting.density.densities import Yardstick, densities
from sparsity_lab.fitting.density.inversion import BELOW, BEYOND, CHANCE, EXTRAPOLATED, invert
from sparsity_lab.fitting.density.rulers.one_step import family_ruler
from sparsity_lab.fitting.density.rulers.ruler import RulerRecipe
from sparsity_lab.fitting.density.scores.score_errors import SourceSpread
from sparsity_lab.fitting.density.scores.sizes import SizeConvention
from sparsity_lab.fitting.density.scores.targets import Target, TaskScore, bundled_targets

SIZES = (0.5e9, 100e9)
TASKS = ("MMLU", "BBH", "MATH", "HumanEval", "MBPP")


def curve(draws=400):
    ones = np.ones(draws + 1)
    return OneStepCurve(0.1, 0.7 * ones, 0.7 * ones, np.log(8e9) * ones)


def errors(sd, draws=400):
    return sd * np.random.default_rng(0).standard_normal(draws)


def test_an_exact_ruler_and_score_give_the_size():
    found = invert(curve(), 0.45, errors=errors(1e-9), sizes=SIZES)
    assert found.flag == ""
    assert found.size == pytest.approx(8e9)
    assert found.low == pytest.approx(8e9, rel=1e-6)
    assert found.high == pytest.approx(8e9, rel=1e-6)


def test_the_interval_follows_the_slope():
    found = invert(curve(20000), 0.45, errors=errors(0.005, 20000), sizes=SIZES)
    slope = 0.7 * 0.7 / 4  # dS / d ln N at the middle
    np.testing.assert_allclose(np.log(found.high / found.low), 2 * 1.96 * 0.005 / slope, rtol=0.03)


@pytest.mark.parametrize("score", [0.79, 0.8, 0.95])
def test_beyond_the_ruler_is_a_lower_bound(score):
    found = invert(curve(), score, errors=errors(0.015), sizes=SIZES)
    assert (found.flag, found.size, found.high) == (BEYOND, None, None)
    assert 8e9 < found.low <= 10 * SIZES[1]


@pytest.mark.parametrize("score", [0.11, 0.1, 0.0])
def test_below_chance_is_an_upper_bound(score):
    found = invert(curve(), score, errors=errors(0.015), sizes=SIZES)
    assert (found.flag, found.size, found.low) == (CHANCE, None, None)
    assert SIZES[0] / 10 <= found.high < 8e9


def test_far_from_the_references():
    high = float(curve().score(np.log(500e9))[0])
    low = float(curve().score(np.log(0.01e9))[0])
    assert invert(curve(), high, errors=errors(1e-4), sizes=SIZES).flag == EXTRAPOLATED
    assert invert(curve(), high, errors=errors(1e-4), sizes=SIZES).extrapolation_ratio == pytest.approx(5)
    assert invert(curve(), low, errors=errors(1e-5), sizes=SIZES).flag == BELOW
    too_high = float(curve().score(np.log(1.1e12))[0])
    assert invert(curve(), too_high, errors=errors(1e-6), sizes=SIZES).flag == BEYOND


def score_at(size):
    return float(curve().score(np.log(size))[0])


def size_at(score):
    """The size of a score on `curve`, by hand."""
    share = (score - 0.1) / 0.7
    return 8e9 * (share / (1 - share)) ** (1 / 0.7)


def test_bounds_are_order_statistics_of_the_sizes():
    """402 errors in steps: 95 % leave 10 out at either end, one-sided bounds 20; rounding is outwards."""
    steps = np.linspace(-0.02, 0.02, 402)
    within = invert(curve(402), 0.45, errors=steps, sizes=SIZES)
    np.testing.assert_allclose([within.low, within.high], [size_at(0.45 + steps[i]) for i in (10, 391)])
    assert within.score_error == pytest.approx(0.6827 * 0.02, abs=1e-4)
    assert within.extrapolation_ratio == pytest.approx(8e9 / 100e9)
    narrower = invert(curve(402), 0.45, errors=steps, sizes=SIZES, level=0.5)
    np.testing.assert_allclose([narrower.low, narrower.high], [size_at(0.45 + steps[i]) for i in (100, 301)])
    above = invert(curve(402), 0.79, errors=steps, sizes=SIZES)
    assert above.flag == BEYOND
    assert above.low == pytest.approx(size_at(0.79 + steps[20]))
    below = invert(curve(402), 0.113, errors=steps, sizes=SIZES)
    assert below.flag == CHANCE
    assert below.high == pytest.approx(size_at(0.113 + steps[381]))


def test_bounds_where_the_quantile_is_out_of_reach():
    """On the model's side the bound is the end of the reach, on the other side it is open."""
    far = {"errors": np.full(400, 1e-7), "sizes": SIZES}
    below, above = invert(curve(), score_at(0.04e9), **far), invert(curve(), score_at(1.1e12), **far)
    assert (below.flag, below.low, below.high) == (BELOW, None, pytest.approx(SIZES[0] / 10))
    assert (above.flag, above.low, above.high) == (BEYOND, pytest.approx(SIZES[1] * 10), None)
    rarely = np.where(np.arange(400) < 30, 0.9, 0.0)  # 7.5 % of the draws
    above, below = (invert(curve(), s, errors=e, sizes=SIZES) for s, e in ((0.8, -rarely), (0.1, rarely)))
    assert (above.flag, above.low, above.high) == (BEYOND, None, None)
    assert (below.flag, below.low, below.high) == (CHANCE, None, None)
    assert above.extrapolation_ratio is None


@pytest.mark.parametrize(
    ("size", "flag"),
    [(0.049e9, BELOW), (0.051e9, EXTRAPOLATED), (0.49e9, EXTRAPOLATED), (0.51e9, ""),
     (99e9, ""), (101e9, EXTRAPOLATED), (0.99e12, EXTRAPOLATED), (1.01e12, BEYOND)],
)  # fmt: skip
def test_the_reach_is_ten_times_beyond_the_references(size, flag):
    found = invert(curve(), score_at(size), errors=np.full(400, 1e-9), sizes=SIZES)
    assert found.flag == flag
    assert found.measured == (flag not in (BELOW, BEYOND))
    infinite = {BELOW: -np.inf, BEYOND: np.inf}
    np.testing.assert_allclose(found.ln_size_draws, infinite.get(flag, np.log(size)), rtol=1e-6)


@pytest.mark.parametrize(("score", "flag"), [(0.19, CHANCE), (0.21, ""), (0.69, ""), (0.71, BEYOND)])
def test_a_score_within_its_error_of_an_end(score, flag):
    assert invert(curve(), score, errors=np.full(400, 0.1), sizes=(1e6, 1e13)).flag == flag


def test_flags_are_those_of_the_point_estimate():
    middles = np.full(3, np.log(8e9))
    lower_draws = OneStepCurve(0.1, np.array([0.7, 0.4, 0.4]), np.full(3, 0.7), middles)
    higher_draws = OneStepCurve(np.array([0.1, 0.3, 0.3]), np.full(3, 0.7), np.full(3, 0.7), middles)
    for moved, score in ((lower_draws, 0.6), (higher_draws, 0.2)):
        found = invert(moved, score, errors=np.full(2, 1e-9), sizes=SIZES)
        assert (found.flag, found.size) == ("", pytest.approx(size_at(score)))


def test_draws_of_the_ruler_alone_keep_the_score():
    middles = np.log([8e9, 4e9, 16e9])
    moved = OneStepCurve(0.1, np.full(3, 0.7), np.full(3, 0.7), middles)
    found = invert(moved, 0.45, errors=np.array([0.01, -0.01]), sizes=SIZES)
    assert found.size == pytest.approx(8e9)
    np.testing.assert_allclose(found.ln_size_ruler_draws, middles[1:])
    by_error = np.log([size_at(0.46) / 8e9, size_at(0.44) / 8e9])
    np.testing.assert_allclose(found.ln_size_draws, middles[1:] + by_error)


def test_a_mean_of_one_curve_is_that_curve():
    scores = np.linspace(0.12, 0.78, 401)
    np.testing.assert_allclose(MeanCurve([curve()]).ln_size(scores), curve().ln_size(scores), atol=1e-6)


@pytest.mark.long
def test_strong_targets_are_beyond_the_qwen15_ruler():
    targets = bundled_targets()
    ruler = family_ruler("Qwen1.5", targets, tasks=TASKS, recipe=RulerRecipe())
    yardstick = Yardstick(ruler, SizeConvention(), SourceSpread.of(targets))
    for tasks in [TASKS, *((task,) for task in TASKS)]:
        found = densities(targets, yardstick, tasks)
        assert all(d.rho is None or d.rho < 100 for d in found)
        assert all(b is None or 0 < b < 2000 for d in found for b in (d.low, d.high))
    found = densities(targets, yardstick, TASKS)
    flags = {d.target.model: d.inversion.flag for d in found}
    for model in ("Qwen2.5-32B", "Qwen2.5-72B", "Qwen2-72B", "Llama-3.1-405B"):
        assert flags[model] == BEYOND


def test_reference_models_are_themselves():
    """A family against its own ruler has densities scattered around one."""
    targets = bundled_targets()
    ruler = family_ruler("Qwen2.5", targets, tasks=TASKS, recipe=RulerRecipe())
    own = [t for t in targets if t.family == "Qwen2.5"]
    found = densities(own, Yardstick(ruler, SizeConvention()), TASKS)
    assert all(0.7 < d.rho < 1.4 for d in found)


def test_three_sizes_are_no_ruler():
    targets = bundled_targets()
    with pytest.raises(SparsityLabError, match=r"Gemma-2.*3 sizes"):
        family_ruler("Gemma-2", targets, tasks=TASKS, recipe=RulerRecipe())


def test_a_task_the_ruler_does_not_have():
    targets = bundled_targets()
    ruler = family_ruler("Qwen1.5", targets, tasks=TASKS, recipe=RulerRecipe())
    with pytest.raises(SparsityLabError, match="Did you mean 'MMLU'"):
        densities(targets, Yardstick(ruler, SizeConvention()), ("MMLO",))


def test_a_model_does_not_depend_on_its_neighbours():
    targets = bundled_targets()
    ruler = family_ruler("Qwen1.5", targets, tasks=TASKS, recipe=RulerRecipe())
    yardstick = Yardstick(ruler, SizeConvention(), SourceSpread.of(targets), seed=3)
    everyone = {d.target.model: d for d in densities(targets, yardstick, TASKS)}
    (alone,) = densities([t for t in targets if t.model == "Gemma-7B"], yardstick, TASKS)
    assert (alone.rho, alone.low, alone.high) == (
        everyone["Gemma-7B"].rho, everyone["Gemma-7B"].low, everyone["Gemma-7B"].high,
    )  # fmt: skip


def test_sizes_that_no_row_gives():
    target = Target("a-1B", "a", 1e9, {"MMLU": TaskScore(0.4)})
    ruler = family_ruler("Qwen1.5", bundled_targets(), tasks=("MMLU",), recipe=RulerRecipe())
    with pytest.raises(SparsityLabError, match="params_nonembedding_b"):
        densities([target], Yardstick(ruler, SizeConvention(embeddings=False)), ("MMLU",))


def test_the_form_error_bends_draws_beyond_either_end_and_inverts_back():
    draws = np.array([0.0, 0.02, -0.02])
    ones = np.ones(3)
    form = FormErrors((np.log(1e9), np.log(64e9)), draws, draws)
    curve = OneStepCurve(0.1, 0.7 * ones, 0.7 * ones, np.log(8e9) * ones, form=form)
    plain = OneStepCurve(0.1, 0.7 * ones, 0.7 * ones, np.log(8e9) * ones)
    inside = np.array(curve.score(np.log(8e9))[0])
    np.testing.assert_array_equal(curve.ln_size(inside), plain.ln_size(inside))
    for size in (0.5e9, 128e9):
        scores = curve.score(np.log(size))
        assert scores[0] == plain.score(np.log(size))[0]
        assert scores[2] < scores[0] < scores[1]
        np.testing.assert_allclose(curve.ln_size(scores), np.log(size), atol=2e-3)


def test_a_bend_that_never_reaches_a_score_is_infinite():
    ones = np.ones(2)
    form = FormErrors((np.log(1e9), np.log(64e9)), np.array([0.0, 0.1]), np.array([0.0, -0.1]))
    curve = OneStepCurve(0.1, 0.7 * ones, 0.7 * ones, np.log(8e9) * ones, form=form)
    high, low = np.array(curve.score(np.log(100e9))[0]), np.array(curve.score(np.log(0.6e9))[0])
    assert np.isposinf(curve.ln_size(high)[1])
    assert np.isneginf(curve.ln_size(low)[1])
    assert np.isfinite(curve.ln_size(high)[0])
