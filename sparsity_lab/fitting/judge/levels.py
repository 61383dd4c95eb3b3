"""Profiles of levels that a curve tends to and that are sums of linear coefficients, such as c + d of a sigmoid."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import least_squares

from sparsity_lab.fitting.solve import profile
from sparsity_lab.fitting.solve.engine import Solution
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.fitting.solve.profile import Profile, ProfileWalk
from sparsity_lab.laws._law import Array


def of_level(
    problem: Problem, solution: Solution, label: str, *, box: tuple[float, float], inflation: float
) -> Profile:
    """The profile of the asymptote, or of another of the law's levels.

    At fixed search coordinates a sum of linear coefficients held at v costs (v - sum)^2/V more squares, V its variance
    in units of the noise's: one more residual.

    Args:
        problem: the law and its points. solution: the unconstrained best fit. label: of the level.
        box: the physical range of y. inflation: g, of the rise of the sum of squares.
    """
    if label == problem.law.asymptote:
        return profile.of_asymptote(problem, solution, box=box, inflation=inflation)
    weights = np.asarray(problem.law.other_ends[label])
    reach = float(np.ptp(problem.y)) or 1.0
    best = float(weights @ problem.project(solution.theta).linear)
    low, high = (edge if math.isfinite(edge) else best + math.copysign(1e3 * reach, edge) for edge in box)
    search = problem.law.search_box(problem.span)

    def residuals(theta: Array, value: float) -> Array:
        at = problem.project(theta)
        spread = np.linalg.pinv(at.design.T @ at.design)
        missing = (value - weights @ at.linear) / math.sqrt(max(float(weights @ spread @ weights), 1e-300))
        return np.append(at.residuals, missing)

    def least(value: float, near: Array) -> tuple[float, Array]:
        inside = np.clip(near, search[:, 0] + 1e-9, search[:, 1] - 1e-9)
        found = least_squares(
            residuals, inside, bounds=(search[:, 0], search[:, 1]), args=(value,), xtol=1e-12
        )
        return 2.0 * float(found.cost), found.x

    levels = [profile.level_of(problem, solution, inflation, sides=sides) for sides in (2, 1)]
    walk = ProfileWalk(least, (low, high), profile.FIRST_STEP * reach, (levels[0], levels[1]))
    return walk.profile(label, best, theta=solution.theta)
