"""Intervals against searches of another kind: a dense grid, exact theory, a derivative-free minimiser."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import t as student

from sparsity_lab import registry
from sparsity_lab.fitting.data.series import read_series
from sparsity_lab.fitting.reproduce.published import drops
from sparsity_lab.fitting.solve import engine, gradients
from sparsity_lab.fitting.solve.objective import HUBER, SQUARES, Objective
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.fitting.uncertainty import noise
from sparsity_lab.fitting.uncertainty.intervals import Wanted, derived, intervals
from sparsity_lab.fitting.uncertainty.noise import NoiseScale
from sparsity_lab.store import bundled

SERIES = {s.name: s.without_leading(drops()[s.name]) for s in read_series(bundled.path("sparsing-law"))}
LOSS = registry.load("laws", "loss-power").LAW


def solved(name, law):
    series = SERIES[name]
    problem = Problem.of(registry.load("laws", law).LAW, series.x, series.y)
    return problem, engine.solve(problem)


def found(problem, solution, *, inflation=None, **wanted):
    scale = noise.scale_of(problem, solution)
    if inflation is not None:
        scale = NoiseScale(scale.variance, scale.freedom, inflation, scale.covariance)
    return intervals(problem, solution, scale, Wanted(**wanted))


def grid_about(problem, solution, reach=1.5):
    axes = [
        np.linspace(t - reach, t + reach, 4000 if len(solution.theta) == 1 else 260) for t in solution.theta
    ]
    return np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)


def least_on(grid, problem, weights, value):
    """Independent: for every theta the two linear coefficients with w . beta held, by its normal equations."""
    design = problem.law.design(grid, problem.x, problem.span)
    # beta_0 = (v - w_1 beta_1) / w_0
    first, second = weights[:, :1], weights[:, 1:]
    column = design[..., 1] - design[..., 0] * second / first
    gap = problem.y - design[..., 0] * value / first
    weight = (column * gap).sum(axis=1) / (column * column).sum(axis=1)
    return float(np.sum((gap - weight[:, None] * column) ** 2, axis=1).min())


@pytest.mark.thorough(1)
@pytest.mark.parametrize(("name", "law"), [("0.2B-relu", "logspace-power"), ("0.8B-silu", "power")])
@pytest.mark.parametrize("what", ["limit", "prediction"])
def test_the_ends_are_where_a_dense_grid_crosses_the_level(name, law, what):
    problem, solution = solved(name, law)
    at = np.array([3.0 * problem.x.max()])
    grid = grid_about(problem, solution)
    scale = noise.scale_of(problem, solution)
    if what == "limit":
        one = intervals(problem, solution, scale, Wanted(("A0",), (0.0, 1.0))).profiles["A0"]
        low, high, level = one.low, one.high, one.level
        weights = np.tile([1.0, 0.0], (len(grid), 1))
    else:
        one = intervals(problem, solution, scale, Wanted((), x=at)).band[0]
        low, high = one.low, one.high
        level = solution.objective + scale.rise(gradients.of_predictions(problem, solution, at)[1][0])
        weights = problem.law.design(grid, at, problem.span)[:, 0]
    width = high - low
    assert least_on(grid, problem, weights, low + 0.02 * width) < level
    assert level < least_on(grid, problem, weights, low - 0.02 * width)
    assert least_on(grid, problem, weights, high - 0.02 * width) < level
    assert level < least_on(grid, problem, weights, high + 0.02 * width)


@pytest.mark.long
def test_the_rate_of_a_curved_valley_is_followed_to_its_end():
    """A search from the best fit alone stops in another valley, at twice the true lower end of c."""
    problem, solution = solved("2.4B-relu", "logspace-power")
    one = found(problem, solution, names=("c",)).profiles["c"]
    alphas = np.linspace(0.5, 3.0, 6001)

    def least(c):
        theta = problem.law.locate({"alpha": alphas, "c": np.full_like(alphas, c)}, problem.span)
        return min(problem.project(place).sse for place in theta[:: len(theta) // 1500])

    assert least(one.low * 1.05) < one.level < least(one.low * 0.95)
    assert least(one.high * 0.95) < one.level < least(one.high * 1.05)


@pytest.mark.parametrize(
    ("name", "law", "levels"),
    [("2.4B-relu", "logspace-power", (1.958, 2.5, 2.803, 3.0)), ("0.4B-silu", "sigmoid", (6.0, 9.0))],
)
@pytest.mark.long
def test_a_higher_level_gives_a_wider_interval(name, law, levels):
    """A search that misses the least objective at some value ends an interval within a narrower one."""
    problem, solution = solved(name, law)
    inner = {}
    for inflation in levels:
        profiles = found(problem, solution, inflation=inflation, box=(0.0, 1.0)).profiles
        for number, (low, high) in inner.items():
            assert profiles[number].low < low
            assert profiles[number].high > high
        inner = {name: (profile.low, profile.high) for name, profile in profiles.items() if profile.closed}


@pytest.mark.parametrize(
    ("name", "law", "number"), [("0.1B-silu", "power", "c"), ("0.1B-relu", "logspace-power", "c")]
)
@pytest.mark.parametrize("objective", [SQUARES, Objective(log=True)])
@pytest.mark.long
def test_a_rate_is_open_where_its_end_is_that_of_the_search(name, law, number, objective):
    """Where alpha may be zero, c is as large as one likes: the smallest alpha searched does not bound it."""
    problem = replace(solved(name, law)[0], objective=objective)
    solution = engine.solve(problem)
    profiles = found(problem, solution, box=(0.0, 1.0)).profiles
    assert profiles["alpha"].open_low
    assert profiles[number].open_high
    assert not profiles[number].open_low


def test_for_a_linear_law_they_are_students_intervals():
    x = np.linspace(1, 10, 12)
    y = 0.3 + np.random.default_rng(2).normal(0, 0.01, 12)
    problem = Problem.of(registry.load("laws", "constant").LAW, x, y)
    one = found(problem, engine.solve(problem), inflation=1.0, box=(0.0, 1.0)).profiles["A0"]
    half = student.ppf(0.975, 11) * y.std(ddof=1) / math.sqrt(12)
    assert (one.low, one.high) == pytest.approx((y.mean() - half, y.mean() + half), rel=1e-6)
    line = Problem.of(registry.load("laws", "densing").LAW, x - 5.0, y + 0.1 * x)
    solution = engine.solve(line)
    at = np.array([-20.0, 30.0])
    both = found(line, solution, inflation=1.0, x=at)
    error = math.sqrt(solution.sse / 10)
    spread = np.sqrt(1 / 12 + (at - (x - 5.0).mean()) ** 2 / np.sum((x - x.mean()) ** 2))
    quantile = student.ppf(0.975, 10)
    for place, (one, away) in enumerate(zip(both.band, spread, strict=True)):
        expected = line.curve(solution, at)[place] + np.array([-1, 1]) * quantile * error * away
        assert (one.low, one.high) == pytest.approx(tuple(expected), rel=1e-6)
    slope = both.profiles["A"]
    half = quantile * error / math.sqrt(np.sum((x - x.mean()) ** 2))
    assert (slope.low, slope.high) == pytest.approx((slope.value - half, slope.value + half), rel=1e-6)


# ln of the largest density so far, by days since the first model, of eight releases.
RELEASES = np.array([0.0, 60, 130, 220, 300, 420, 500, 590])
LN_DENSITY = np.array([-4.146, -3.659, -3.088, -2.268, -1.542, -0.876, 0.023, 0.292])


def doubling(x, y):
    law = registry.load("laws", "densing").LAW
    problem = Problem.of(law, x, y)
    solution = engine.solve(problem)
    profiles = found(problem, solution).profiles
    return derived(law, profiles)["doubling"], profiles["A"]


def test_the_doubling_time_is_held_as_the_rate_is():
    """At both ends the best line that doubles in that time is as bad as the level, and at ln 2 over the rate's ends."""
    time, rate = doubling(RELEASES, LN_DENSITY)
    ends = np.array([time.value, time.low, time.high])
    assert ends == pytest.approx(math.log(2) / np.array([rate.value, rate.high, rate.low]))
    for end in ends[1:]:
        left = LN_DENSITY - math.log(2) / end * RELEASES
        assert np.sum((left - left.mean()) ** 2) == pytest.approx(rate.level, rel=1e-4)


def test_a_rate_that_may_be_zero_leaves_the_doubling_time_open():
    noise = np.random.default_rng(3).normal(0, 0.5, 12)
    x = 30.0 * np.arange(12)
    time, rate = doubling(x, 3e-4 * x + noise - noise.mean())
    assert rate.low < 0 < rate.value
    assert math.isnan(time.high)
    assert time.low == pytest.approx(math.log(2) / rate.high)
    falling, rate = doubling(RELEASES, LN_DENSITY[::-1])
    assert rate.high < 0
    assert np.isnan([falling.value, falling.low, falling.high]).all()


def test_intervals_of_the_doubling_time_hold_it_nineteen_times_in_twenty():
    generator, held = np.random.default_rng(0), 0
    for _ in range(200):
        time, _ = doubling(RELEASES, 0.0073 * RELEASES + generator.normal(0, 0.3, 8))
        held += time.low <= math.log(2) / 0.0073 <= time.high
    assert 180 <= held <= 197


def test_where_a_value_is_reached_is_where_the_band_ends_there():
    problem, solution = solved("0.8B-silu", "power")
    target = 0.384
    reach = found(problem, solution, names=(), reach=(target,)).reach[0]
    at = found(problem, solution, names=(), x=np.array([reach.low, reach.high])).band
    assert at[0].high == pytest.approx(
        target, abs=1e-7
    )  # the curve rises: the upper end of the band is first there
    assert at[1].low == pytest.approx(target, abs=1e-7)


def test_an_inflated_variance_widens_it():
    problem, solution = solved("0.8B-silu", "power")
    plain, wide = (found(problem, solution, inflation=g, box=(0.0, 1.0)).profiles["A0"] for g in (1.0, 4.0))
    assert wide.high - wide.low == pytest.approx(2 * (plain.high - plain.low), rel=0.1)


def test_an_open_side_has_a_one_sided_bound_inside_the_two_sided_one():
    problem, solution = solved("0.4B-relu", "logspace-power")
    one = found(problem, solution, inflation=1.0, box=(0.0, 1.0)).profiles["A0"]
    assert (one.open_low, one.open_high) == (True, False)
    assert 0.052 < one.one_sided < one.high < 0.0572
    assert one.low == 0.0


def test_a_limit_outside_the_box_is_excluded():
    x = np.linspace(1, 20, 15)
    problem = Problem.of(registry.load("laws", "constant").LAW, x, 3.0 + 0.01 * np.sin(x))
    assert found(problem, engine.solve(problem), box=(0.0, 1.0)).profiles["A0"].excluded


def test_every_coefficient_has_an_interval_that_holds_its_best_value():
    for name, law in (("0.8B-relu", "logspace-power"), ("0.8B-silu", "power"), ("1.2B-silu", "sigmoid")):
        problem, solution = solved(name, law)
        profiles = found(problem, solution, box=(0.0, 1.0)).profiles
        assert list(profiles) == [p.name for p in problem.law.parameters]
        for name_, value in problem.coefficients_of(solution).items():
            assert profiles[name_].low < value < profiles[name_].high
            assert all(objective >= solution.sse * (1 - 1e-9) for _, objective in profiles[name_].curve)


@pytest.mark.thorough(1)
@pytest.mark.parametrize("objective", [HUBER, Objective(log=True)])
@pytest.mark.parametrize("name", ["E", "a", "alpha"])
def test_the_ends_of_fits_to_ln_y_are_on_the_level(objective, name):
    generator = np.random.default_rng(8)
    x = np.exp(generator.uniform(np.log([5e7, 1e9]), np.log([1e10, 3e11]), size=(60, 2)))
    truth = {"alpha": 0.35, "beta": 0.37, "a": 480.0, "b": 2100.0, "E": 1.8}
    y = LOSS.predict(truth, x) * np.exp(generator.normal(0, 4e-3, 60))
    problem = Problem.of(LOSS, x, y, objective=objective)
    solution = engine.solve(problem)
    one = found(problem, solution, names=(name,), box=(0.0, float(y.max()))).profiles[name]
    others = [other for other in truth if other != name]

    def objective_of(vector, value):
        values = {**dict(zip(others, np.exp(vector), strict=True)), name: value}
        with np.errstate(all="ignore"):
            size = np.abs(np.log(y) - np.log(LOSS.predict(values, x)))
        delta = objective.delta
        if math.isinf(delta):
            return float(np.sum(size**2))
        return float(np.where(size <= delta, size**2 / 2, delta * (size - delta / 2)).sum())

    values = problem.coefficients_of(solution)
    for end in (one.low, one.high):
        slow = np.log([values[other] for other in others])
        for _ in range(4):
            slow = minimize(lambda v, e=end: 1e3 * objective_of(v, e), slow, method="Nelder-Mead",
                            options={"maxiter": 4000, "maxfev": 4000, "xatol": 1e-10, "fatol": 1e-12}).x  # fmt: skip
        assert objective_of(slow, end) == pytest.approx(one.level, rel=2e-3)


def test_copies_of_a_run_add_nothing():
    generator = np.random.default_rng(4)
    x = np.exp(generator.uniform(np.log([5e7, 1e9]), np.log([1e10, 3e11]), size=(40, 2)))
    truth = {"alpha": 0.35, "beta": 0.37, "a": 480.0, "b": 2100.0, "E": 1.8}
    y = LOSS.predict(truth, x) * np.exp(generator.normal(0, 4e-3, 40))
    once = Problem.of(LOSS, x, y)
    often = Problem.of(LOSS, np.repeat(x, 4, axis=0), np.repeat(y, 4), runs=np.repeat(np.arange(40), 4))
    few, many = (found(one, engine.solve(one), box=(0.0, 9.0)).profiles for one in (once, often))
    for name in truth:
        # A sandwich over the runs scatters about the model's own error by some tenths with 40 runs.
        assert 0.6 < (many[name].high - many[name].low) / (few[name].high - few[name].low) < 1.7
