"""Both ends of a score against a loss are judged, and the ceiling by the largest models."""

import numpy as np
import pytest

from sparsity_lab.fitting.data.series import Series
from sparsity_lab.fitting.judge.verdict import IDENTIFIED, NOT
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.solve import engine
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.fitting.solved import solve_and_judge
from sparsity_lab.fitting.uncertainty import noise
from sparsity_lab.fitting.uncertainty.intervals import Wanted, intervals
from sparsity_lab.laws._law import ANY

LAW = load_law("loss-to-score")
NOISE = np.random.default_rng(0).normal(0, 4e-3, 25)


def points(best, *, midpoint=1.1, height=0.7):
    """Scores of models whose losses go down to `best`."""
    losses = np.linspace(best, 2.2, 25)
    scores = 0.25 + height / (1 + np.exp(4.0 * (losses - midpoint))) + NOISE
    return Series("task", losses, scores, None, None, LAW.inputs, LAW.output, ANY, "")


@pytest.mark.thorough
def test_a_ceiling_that_is_reached_is_identified_with_its_interval():
    judged = solve_and_judge(points(0.3), LAW, comparison=None)
    assert judged.verdict.word == IDENTIFIED
    ceiling = judged.profiles["c + d"]
    assert ceiling.low < 0.95 < ceiling.high < 1.0
    values = judged.problem.coefficients_of(judged.solution)
    assert ceiling.value == pytest.approx(values["c"] + values["d"])
    assert LAW.limit(values) == pytest.approx(ceiling.value)
    assert [window.points for window in judged.verdict.checks.windows] == [18, 22]


@pytest.mark.thorough
def test_a_ceiling_that_the_points_do_not_reach_is_not_identified_though_chance_is():
    judged = solve_and_judge(points(1.0, midpoint=0.5), LAW, comparison=None)
    assert judged.profiles["d"].closed
    assert judged.verdict.word == NOT
    assert "the profile of c + d is open above" in judged.verdict.reason
    assert judged.verdict.bound.startswith("c + d >= ")


def test_a_ceiling_above_one_is_told():
    judged = solve_and_judge(points(0.3, height=0.9), LAW, comparison=None)
    assert judged.verdict.word == NOT
    assert "the best c + d is 1.1" in judged.verdict.reason
    assert "outside the physical range 0 to 1" in judged.verdict.reason


@pytest.mark.long
def test_the_ends_of_a_ceiling_are_those_of_a_search_over_all_curves():
    series = points(0.6)
    problem = Problem.of(LAW, series.x, series.y)
    solution = engine.solve(problem)
    scale = noise.scale_of(problem, solution)
    found = intervals(problem, solution, scale, Wanted(names=("c + d",), box=(0.0, 1.0))).profiles["c + d"]
    level = found.level
    box = LAW.search_box(problem.span)
    # The best of theta on a fine grid around the optimum, and for each the sums of c and d within the level.
    near = [np.linspace(-0.15, 0.15, 121) + centre for centre in solution.theta]
    lows, highs = [], []
    for theta in np.stack(np.meshgrid(*near), axis=-1).reshape(-1, 2):
        if np.all((theta > box[:, 0]) & (theta < box[:, 1])) and (at := problem.project(theta)).sse < level:
            spread = np.linalg.inv(at.design.T @ at.design).sum()
            half = np.sqrt((level - at.sse) * spread)
            lows.append(at.linear.sum() - half)
            highs.append(at.linear.sum() + half)
    assert found.low == pytest.approx(min(lows), abs=2e-4)
    assert found.high == pytest.approx(max(highs), abs=2e-4)


def test_a_score_is_reached_within_the_losses_there_are_or_not_at_all():
    """Near the ceiling the best curve has the score at a loss below zero; far above it no curve has it at any."""
    series = points(0.6)
    problem = Problem.of(LAW, series.x, series.y)
    solution = engine.solve(problem)
    values = problem.coefficients_of(solution)
    near, far = LAW.limit(values) - 1e-4, LAW.limit(values) + 0.5
    assert LAW.invert(values, near) < 0
    found = intervals(
        problem, solution, noise.scale_of(problem, solution), Wanted((), reach=(near, far))
    ).reach
    assert found[0].low == 0.0
    assert 0.0 < found[0].high < 0.6
    assert np.isnan([found[1].low, found[1].high]).all()
