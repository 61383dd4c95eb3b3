"""Profile intervals against a brute-force search, against exact theory, and where they are open."""

import math

import numpy as np
import pytest
from scipy.stats import t as student

from sparsity_lab import registry
from sparsity_lab.fitting.data.series import read_series
from sparsity_lab.fitting.reproduce.published import drops
from sparsity_lab.fitting.solve import engine, profile
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.store import bundled

SERIES = {s.name: s.without_leading(drops()[s.name]) for s in read_series(bundled.path("sparsing-law"))}


def solved(name, law):
    series = SERIES[name]
    problem = Problem.of(registry.load("laws", law).LAW, series.x, series.y)
    return problem, engine.solve(problem)


@pytest.mark.thorough(1)
@pytest.mark.parametrize(
    ("name", "law"),
    [("0.2B-relu", "logspace-power"), ("0.8B-silu", "power"), ("2.4B-relu", "logspace-power")],
)
def test_the_ends_are_where_a_dense_grid_crosses_the_level(name, law):
    problem, solution = solved(name, law)
    found = profile.of_asymptote(problem, solution, box=(0.0, 1.0))
    # A box about the optimum, wide enough that the valley of the level lies inside it.
    box = np.stack([solution.theta - 0.9, solution.theta + 0.9], axis=1)
    per_axis = 4000 if len(box) == 1 else 260
    axes = [np.linspace(low, high, per_axis) for low, high in box]
    grid = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)

    def least(value):
        """Independent: for every theta the other linear coefficient in closed form."""
        best = math.inf
        for theta in grid:
            shape = problem.law.design(theta, problem.x, problem.span)[:, 1]
            gap = problem.y - value
            weight = (shape @ gap) / (shape @ shape)
            if law == "power" or weight >= 0:
                best = min(best, float(np.sum((gap - weight * shape) ** 2)))
        return best

    width = found.high - found.low
    assert least(found.low + 0.02 * width) < found.level < least(found.low - 0.02 * width)
    assert least(found.high - 0.02 * width) < found.level < least(found.high + 0.02 * width)


def test_for_a_linear_law_it_is_students_interval():
    x = np.linspace(1, 10, 12)
    y = 0.3 + np.random.default_rng(2).normal(0, 0.01, 12)
    problem = Problem.of(registry.load("laws", "constant").LAW, x, y)
    found = profile.of_asymptote(problem, engine.solve(problem), box=(0.0, 1.0))
    half = student.ppf(0.975, 11) * y.std(ddof=1) / math.sqrt(12)
    assert (found.low, found.high) == pytest.approx((y.mean() - half, y.mean() + half), abs=1e-5)


def test_an_inflated_variance_widens_it():
    problem, solution = solved("0.8B-silu", "power")
    plain = profile.of_asymptote(problem, solution, box=(0.0, 1.0))
    wide = profile.of_asymptote(problem, solution, box=(0.0, 1.0), inflation=4.0)
    assert wide.high - wide.low == pytest.approx(2 * (plain.high - plain.low), rel=0.1)


def test_an_open_side_has_a_one_sided_bound_inside_the_two_sided_one():
    problem, solution = solved("0.4B-relu", "logspace-power")
    found = profile.of_asymptote(problem, solution, box=(0.0, 1.0))
    assert (found.open_low, found.open_high) == (True, False)
    assert 0.052 < found.one_sided < found.high < 0.0572
    assert found.low == 0.0


def test_a_limit_outside_the_box_is_excluded():
    x = np.linspace(1, 20, 15)
    problem = Problem.of(registry.load("laws", "constant").LAW, x, 3.0 + 0.01 * np.sin(x))
    assert profile.of_asymptote(problem, engine.solve(problem), box=(0.0, 1.0)).excluded


def test_the_profile_of_an_exponent_holds_the_best_value():
    problem, solution = solved("0.8B-relu", "logspace-power")
    found = profile.of_exponent(problem, solution, "alpha")
    assert found.closed
    assert found.low < problem.coefficients(solution.theta)["alpha"] < found.high
    assert all(sse >= solution.sse * (1 - 1e-9) for _, sse in found.curve)
