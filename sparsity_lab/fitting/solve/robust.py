"""Robust fits: the sum of Huber losses on the logarithm of y, polished from variable projection's starts.

Objective sum_i huber_delta(ln y_i - ln f(x_i)), huber_delta(r) = r^2/2 for |r| <= delta and delta |r| -
delta^2/2 beyond (Hoffmann et al., arXiv 2203.15556, approach 3, delta = 1e-3). The sum, not the mean: a
mean over 240 points stops optimisers two digits early. Least squares with weights 1/y approximates the
logarithm near the curve, so the projected search supplies the starts; the polish then moves all
coefficients at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares, minimize

from sparsity_lab.fitting.solve import engine
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.laws._law import Array, numbers

DELTA = 1e-3
WILD = 50.0  # no exponent and no weight of a fit is e to this power


@dataclass(frozen=True)
class RobustSolution:
    """The best point of the robust objective.

    Attributes:
        theta: search coordinates. linear: beta. objective: the sum of Huber losses.
        starts, starts_at_best: as of the least-squares engine, within 1 % of the best objective.
    """

    theta: Array
    linear: Array
    objective: float
    starts: int
    starts_at_best: int

    def coefficients(self, problem: Problem) -> dict[str, float]:
        """The paper's coefficients."""
        return numbers(problem.law.assemble(self.theta, self.linear, problem.span))


def solve(
    problem: Problem, *, delta: float = DELTA, seed: int = 0, near: Array | None = None
) -> RobustSolution:
    """Minimise the sum of Huber losses on ln y.

    Args:
        problem: the law and its points; y and all linear coefficients are positive.
        delta: where the loss turns from square to absolute, in ln y.
        seed: of the search grid.
        near: packed coordinates (theta, ln beta) to start from alone; for refits of resampled points.
    """
    if near is not None:
        starts = [near]
    else:
        weighted = Problem.of(problem.law, problem.x, problem.y, root_weights=1.0 / problem.y)
        box = weighted.law.search_box(weighted.span)
        grid = engine.seeded_grid(box, np.random.default_rng(seed))
        order = np.argsort([weighted.project(theta).sse for theta in grid], kind="stable")
        polished = [engine.polish(weighted, grid[i])[0] for i in order[: engine.STARTS]]
        starts = [pack(theta, weighted.project(theta).linear) for theta in polished]
    found = [polish(problem, start, delta) for start in starts]
    best, objective = min(found, key=lambda pair: pair[1])
    reached = sum(value <= objective * (1 + engine.AT_BEST) for _, value in found)
    theta, linear = unpack(problem, best)
    return RobustSolution(theta, linear, objective, len(found), reached)


def objective(problem: Problem, theta: Array, linear: Array, *, delta: float = DELTA) -> float:
    """The sum of Huber losses on ln y."""
    return _value_and_gradient(pack(theta, linear), problem, delta)[0]


def pack(theta: Array, linear: Array) -> Array:
    """Coordinates of the polish: theta and ln beta (a weight of zero becomes a very small one)."""
    return np.concatenate([theta, np.log(np.maximum(linear, 1e-12 * linear.max()))])


def unpack(problem: Problem, packed: Array) -> tuple[Array, Array]:
    """Theta and beta of packed coordinates; a wild step of an optimiser stays short of overflow."""
    count, tame = len(problem.law.search_box(problem.span)), np.clip(packed, -WILD, WILD)
    return tame[:count], np.exp(tame[count:])


def polish(problem: Problem, start: Array, delta: float, *, held: int | None = None) -> tuple[Array, float]:
    """Huber least squares, then a quasi-Newton step on the same sum to its last digits.

    Args:
        problem: the law and its points. start: packed coordinates. delta: as of `solve`.
        held: a packed coordinate that stays at its start, for its profile.
    """
    coordinates = len(problem.law.search_box(problem.span))
    still = {held, *(coordinates + column for column, _ in problem.law.offset_columns)}
    moving = np.array([i for i in range(len(start)) if i not in still], dtype=int)

    def whole(part: Array) -> Array:
        full = np.array(start, dtype=float)
        full[moving] = part
        return full

    def residuals(part: Array) -> Array:
        return log_residuals(whole(part), problem)[0]

    def jacobian(part: Array) -> Array:
        return log_residuals(whole(part), problem)[1][:, moving]

    def scaled(part: Array) -> tuple[float, Array]:
        # The objective is of order 1e-3; BFGS stops on absolute gradients, so it sees it scaled to order one.
        value, gradient = _value_and_gradient(whole(part), problem, delta)
        return value / delta, gradient[moving] / delta

    rough = least_squares(
        residuals, start[moving], jac=jacobian, loss="huber", f_scale=delta, x_scale="jac", max_nfev=300
    )  # fmt: skip
    part = rough.x
    for _ in range(3):
        part = minimize(scaled, part, jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 2000}).x
    return whole(part), _value_and_gradient(whole(part), problem, delta)[0]


def _value_and_gradient(packed: Array, problem: Problem, delta: float) -> tuple[float, Array]:
    residuals, jacobian = log_residuals(packed, problem)
    total = float(huber(residuals, delta).sum())
    return total, np.asarray(np.clip(residuals, -delta, delta) @ jacobian)


def huber(residuals: Array, delta: float = DELTA) -> Array:
    """Half the square up to delta, then linear."""
    size = np.abs(residuals)
    return np.where(size <= delta, 0.5 * residuals**2, delta * (size - 0.5 * delta))


def log_residuals(packed: Array, problem: Problem) -> tuple[Array, Array]:
    """ln f - ln y and its derivatives by the packed coordinates."""
    theta, linear = unpack(problem, packed)
    design = problem.law.design(theta, problem.x, problem.span)
    curve = design @ linear
    by_theta = problem.law.design_gradient(theta, problem.x, problem.span) @ linear
    jacobian = np.concatenate([by_theta.T, design * linear], axis=1) / curve[:, None]
    return np.log(curve) - np.log(problem.y), jacobian
