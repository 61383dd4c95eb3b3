"""How coefficients and predictions move with the search coordinates and linear coefficients, to first order."""

from __future__ import annotations

import numpy as np

from sparsity_lab.fitting.solve.problem import Problem, Solution
from sparsity_lab.laws._law import Array

STEP = 1e-6


def of_predictions(problem: Problem, solution: Solution, x: Array) -> tuple[Array, Array]:
    """The curve at x, shape (m,), and its derivatives, shape (m, q + p)."""
    design = problem.law.design(solution.theta, x, problem.span)
    gradient = problem.law.design_gradient(solution.theta, x, problem.span)
    return design @ solution.linear, np.concatenate([(gradient @ solution.linear).T, design], axis=1)


def of_coefficient(problem: Problem, solution: Solution, name: str) -> Array:
    """Derivatives of a coefficient of the paper, or of a level of y, by central differences, shape (q + p,)."""
    count = len(solution.theta)
    if (weights := dict(problem.law.limits).get(name)) is not None:
        return np.concatenate([np.zeros(count), weights])
    point = np.concatenate([solution.theta, solution.linear])
    steps = STEP * np.concatenate([np.ones(count), np.abs(solution.linear) + np.finfo(float).tiny])
    trials = np.concatenate([point + np.diag(steps), point - np.diag(steps)])
    with np.errstate(all="ignore"):
        values = problem.law.assemble(trials[:, :count], trials[:, count:], problem.span)[name]
    ahead, behind = np.split(np.broadcast_to(values, (len(trials),)), 2)
    with np.errstate(all="ignore"):
        return np.nan_to_num((ahead - behind) / (2 * steps), posinf=0.0, neginf=0.0)


def jacobian(problem: Problem, solution: Solution) -> Array:
    """Derivatives of the fitted points, shape (n, q + p): weighted as the residuals, relative where ln y is fitted.

    Zero for a column that is fixed.
    """
    curve, found = of_predictions(problem, solution, problem.x)
    found[:, [len(solution.theta) + column for column, _ in problem.law.offset_columns]] = 0.0
    if problem.objective.log:
        found = found / curve[:, None]
    return found if problem.root_weights is None else found * problem.root_weights[:, None]
