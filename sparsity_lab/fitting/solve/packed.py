"""Fits to ln y: squares of ln y, or Huber losses, with all coefficients moved at once.

Objective sum_i huber_delta(ln y_i - ln f(x_i)), huber_delta(r) = r^2/2 for |r| <= delta and delta |r| -
delta^2/2 beyond (Hoffmann et al., arXiv 2203.15556, approach 3, delta = 1e-3); or sum_i (ln y_i - ln f(x_i))^2. The
sum, not the mean: a mean over 240 points stops optimisers two digits early. The logarithm of a sum is not linear in its
terms, so variable projection supplies the starts only (weights 1/y), and the polish moves everything: the search
coordinates, and ln of each linear coefficient that cannot be negative.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy.optimize import least_squares, minimize

from sparsity_lab.fitting.solve.batch import Held
from sparsity_lab.fitting.solve.linear import Combination
from sparsity_lab.fitting.solve.problem import Problem, Solution
from sparsity_lab.laws._law import Array

WILD = 50.0  # no exponent and no weight of a fit is e to this power
AT_BEST = 0.01
REPEATS = 3
SAME = 1e-5  # of coordinates: starts that near end in the same place
TINY = 1e-300
WALL = 1e3  # how steeply a held number pushes a coefficient back above its bound, in y's own size


@dataclass(frozen=True)
class Packing:
    """How search coordinates and linear coefficients lie in one vector.

    Attributes:
        problem: whose they are. held: one number that is held, as one lane; its pivot's column is given by the others.
    """

    problem: Problem
    held: Held | None = None

    @cached_property
    def size(self) -> float:
        """A typical y, the unit of coefficients of either sign."""
        return float(np.median(np.abs(self.problem.y)))

    def pack(self, theta: Array, linear: Array) -> Array:
        """The vector; a weight of zero becomes a very small one."""
        least = 1e-12 * float(np.max(np.abs(linear)))
        return np.concatenate([
            theta, np.where(self._in_ln, np.log(np.maximum(linear, least)), linear / self.size)[self._moving]
        ])  # fmt: skip

    def unpack(self, vector: Array) -> tuple[Array, Array]:
        """Search coordinates and linear coefficients; a wild step of an optimiser stays short of overflow."""
        law = self.problem.law
        count = len(vector) - int(self._moving.sum())
        linear = np.zeros(len(law.linear_lower))
        tame = np.clip(vector[count:], -WILD, WILD)
        linear[self._moving] = np.where(self._in_ln[self._moving], np.exp(tame), vector[count:] * self.size)
        for column, value in law.offset_columns:
            linear[column] = value
        return np.clip(vector[:count], -WILD, WILD), linear

    def residuals(self, vector: Array) -> tuple[Array, Array]:
        """ln f - ln y of every point and its derivatives by the vector.

        With a number held, there is a last row by which the pivot's bound pushes back.
        """
        problem = self.problem
        theta, linear = self.unpack(vector)
        design = problem.law.design(theta, problem.x, problem.span)
        by_theta = (problem.law.design_gradient(theta, problem.x, problem.span) @ linear).T
        chain = np.where(self._in_ln, linear, self.size)
        by_linear = design * chain
        wall: tuple[Array, Array] | None = None
        if self.held is not None:
            linear, by_theta, by_linear, wall = self._through(theta, linear, design, chain)
        curve = design @ linear
        safe = np.maximum(curve, TINY)
        jacobian = np.nan_to_num(
            np.concatenate([by_theta, by_linear[:, self._moving]], axis=1) / safe[:, None]
        )
        left = np.log(safe) - np.log(problem.y)
        if problem.root_weights is not None:
            left, jacobian = left * problem.root_weights, jacobian * problem.root_weights[:, None]
        if wall is None:
            return left, jacobian
        return np.append(left, wall[0]), np.vstack([jacobian, wall[1]])

    def _through(
        self, theta: Array, linear: Array, design: Array, chain: Array
    ) -> tuple[Array, Array, Array, tuple[Array, Array]]:
        """The pivot's coefficient from the others, so that the held number holds, and what it does to derivatives."""
        assert self.held is not None
        law, span = self.problem.law, self.problem.span
        combination = self.held.combination(law, span, theta[None])
        weights, turning = combination.weights[0], self.held.gradient(law, span, theta[None])[0]
        pivot = self.pivot
        own = weights[pivot] or TINY
        linear = self._given(combination, linear)
        slope = -(turning @ linear) / own
        gradient = law.design_gradient(theta, self.problem.x, span) @ linear
        by_theta = gradient.T + design[:, pivot, None] * slope
        by_linear = (design - design[:, pivot, None] * weights / own) * chain
        steep = WALL / self.size if linear[pivot] < law.linear_lower[pivot] else 0.0
        row = np.concatenate([slope, (-weights / own * chain)[self._moving]]) * steep
        wall = np.asarray((linear[pivot] - law.linear_lower[pivot]) * steep if steep else 0.0), row
        return linear, by_theta, by_linear, wall

    def given(self, theta: Array, linear: Array) -> Array:
        """The linear coefficients, that of the pivot from the others so that the held number holds."""
        assert self.held is not None
        return self._given(self.held.combination(self.problem.law, self.problem.span, theta[None]), linear)

    def _given(self, combination: Combination, linear: Array) -> Array:
        linear = linear.copy()
        linear[self.pivot] = 0.0
        rest = combination.value[0] - combination.weights[0] @ linear
        linear[self.pivot] = rest / (combination.weights[0, self.pivot] or TINY)
        return linear

    @cached_property
    def pivot(self) -> int:
        """The column that the held number gives: that of the asymptote where it has a weight, else the heaviest."""
        assert self.held is not None
        law, span = self.problem.law, self.problem.span
        middle = law.search_box(span).mean(axis=1)
        weights = np.abs(self.held.weights(law, span, middle[None])[0])
        column = law.asymptote_column
        return column if column is not None and weights[column] > 0 else int(np.argmax(weights))

    @cached_property
    def _in_ln(self) -> np.ndarray:
        return np.asarray(self.problem.law.linear_lower) >= 0

    @cached_property
    def _moving(self) -> np.ndarray:
        moving = np.ones(len(self.problem.law.linear_lower), dtype=bool)
        moving[[column for column, _ in self.problem.law.offset_columns]] = False
        if self.held is not None:
            moving[self.pivot] = False
        return moving


def solve(problem: Problem, starts: Sequence[tuple[Array, Array]], *, box: Array) -> Solution:
    """Polish each start, coordinates and linear coefficients, and keep the best."""
    packing = Packing(problem)
    vectors, times = _distinct(np.array([packing.pack(theta, linear) for theta, linear in starts]))
    found = [polish(packing, vector) for vector in vectors]
    vector, least = min(found, key=lambda pair: pair[1])
    reached = sum(
        count for count, (_, value) in zip(times, found, strict=True) if value <= least * (1 + AT_BEST)
    )
    theta, linear = packing.unpack(vector)
    slack = 0.005 * (box[:, 1] - box[:, 0])
    at_edge = np.flatnonzero((theta < box[:, 0] + slack) | (theta > box[:, 1] - slack))
    return Solution(theta, linear, least, len(starts), reached, tuple(map(int, at_edge)))


def _distinct(vectors: Array) -> tuple[list[Array], list[int]]:
    """Starts that differ, and how often each is among them: what has met in one place is polished once."""
    kept: list[Array] = []
    times: list[int] = []
    for vector in vectors:
        same = [i for i, other in enumerate(kept) if np.allclose(vector, other, rtol=SAME, atol=SAME)]
        if same:
            times[same[0]] += 1
        else:
            kept.append(vector)
            times.append(1)
    return kept, times


def polish(
    packing: Packing, start: Array, *, still: int | None = None, repeats: int = REPEATS
) -> tuple[Array, float]:
    """Least squares of the Huber kind, then a quasi-Newton step on the same sum to its last digits.

    Args:
        packing: of the problem. start: the vector to start from.
        still: a place of the vector that stays as it is, for its profile.
        repeats: of the quasi-Newton step.
    """
    delta = packing.problem.objective.delta
    moving = np.array([i for i in range(len(start)) if i != still], dtype=int)
    if len(moving) == 0:
        return start, value_and_gradient(packing, start)[0]

    def whole(part: Array) -> Array:
        full = np.array(start, dtype=float)
        full[moving] = part
        return full

    @lru_cache(maxsize=1)
    def at(place: bytes) -> tuple[Array, Array]:
        return packing.residuals(whole(np.frombuffer(place)))

    def residuals(part: Array) -> Array:
        return at(part.tobytes())[0]

    def jacobian(part: Array) -> Array:
        return at(part.tobytes())[1][:, moving]

    squares = math.isinf(delta)
    rough = least_squares(
        residuals, start[moving], jac=jacobian, x_scale="jac", max_nfev=300,
        loss="linear" if squares else "huber", f_scale=1.0 if squares else delta,
    )  # fmt: skip
    # The sum is small; BFGS stops on absolute gradients, so it sees it in units that make it of order one.
    unit = max(2.0 * float(rough.cost), TINY) if squares else delta

    def scaled(part: Array) -> tuple[float, Array]:
        value, gradient = value_and_gradient(packing, whole(part))
        return value / unit, gradient[moving] / unit

    part = rough.x
    for _ in range(repeats):
        part = minimize(scaled, part, jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 2000}).x
    return whole(part), value_and_gradient(packing, whole(part))[0]


def value_and_gradient(packing: Packing, vector: Array) -> tuple[float, Array]:
    """The objective and its derivatives by the vector."""
    residuals, jacobian = packing.residuals(vector)
    delta = packing.problem.objective.delta
    factor = 1.0 if math.isfinite(delta) else 2.0
    total = factor * float(huber(residuals, delta).sum())
    return total, factor * np.asarray(np.clip(residuals, -delta, delta) @ jacobian)


def huber(residuals: Array, delta: float) -> Array:
    """Half the square up to delta, then linear."""
    size = np.abs(residuals)
    with np.errstate(invalid="ignore"):
        return np.where(size <= delta, 0.5 * residuals**2, delta * (size - 0.5 * delta))


@dataclass(frozen=True)
class PackedLanes:
    """Lanes of a fit to ln y; their coordinates are the search coordinates and then all linear coefficients.

    Attributes:
        held: what lanes hold of numbers that are linear in the linear coefficients: (rows, values) -> `Held`; None
            where each holds a search coordinate.
        which: the search coordinate that each lane holds, shape (K,).
    """

    problem: Problem
    held: Callable[[np.ndarray, Array], Held] | None = None
    which: np.ndarray | None = None

    def least(self, rows: np.ndarray, values: Array, near: Array) -> tuple[Array, Array]:
        """Lane by lane."""
        found = [self._least(row, value, start) for row, value, start in zip(rows, values, near, strict=True)]
        if not found:
            return np.empty(0), np.empty_like(near)
        return np.array([value for value, _ in found]), np.array([there for _, there in found])

    def elsewhere(self, rows: np.ndarray, values: Array) -> Array | None:
        """There is none: a coarse grid of such fits costs more than it finds."""
        return None

    def scanned(self) -> tuple[Array, Array] | None:
        """None: each value is a search of its own."""
        return None

    def _least(self, row: int, value: float, near: Array) -> tuple[float, Array]:
        count = len(self.problem.law.search_box(self.problem.span))
        theta, linear = near[:count].copy(), near[count:]
        if self.held is None:
            assert self.which is not None
            packing, still = Packing(self.problem), int(self.which[row])
            theta[still] = value
        else:
            packing, still = Packing(self.problem, self.held(np.array([row]), np.array([value]))), None
        with np.errstate(all="ignore"):
            vector, objective = polish(packing, packing.pack(theta, linear), still=still, repeats=1)
            theta, linear = packing.unpack(vector)
            if packing.held is not None:
                linear = packing.given(theta, linear)
        return objective, np.concatenate([theta, linear])
