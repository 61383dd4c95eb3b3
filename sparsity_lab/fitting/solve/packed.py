"""Fits to ln y: squares of ln y, or Huber losses, with all coefficients moved at once.

Objective sum_i c_i huber_delta(ln y_i - ln f(x_i)), huber_delta(r) = r^2/2 for |r| <= delta and delta |r| -
delta^2/2 beyond (Hoffmann et al., arXiv 2203.15556, approach 3, delta = 1e-3); or sum_i c_i (ln y_i - ln f(x_i))^2;
c_i is 1, or how often a resample has the point. The sum, not the mean: a mean over 240 points stops optimizers two
digits early. The logarithm of a sum is not linear in its terms, so variable projection supplies the starts only
(weights 1/y), and `newton` moves everything: the search coordinates, and ln of each linear coefficient that cannot be
negative.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sparsity_lab.fitting.solve.batch import Held
from sparsity_lab.fitting.solve.linear import einsum
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.laws._law import Array

WILD = 50.0  # no weight of a fit is e to this power
TINY = 1e-300
WALL = 1e3  # how steeply a held number pushes a coefficient back above its bound, in y's own size


def huber(residuals: Array, delta: float) -> Array:
    """Half the square up to delta, then linear."""
    size = np.abs(residuals)
    with np.errstate(invalid="ignore"):
        return np.where(size <= delta, 0.5 * residuals**2, delta * (size - 0.5 * delta))


@dataclass(frozen=True)
class Packing:
    """How search coordinates and linear coefficients of B lanes lie in vectors, k numbers a lane.

    Attributes:
        problem: whose they are.
        y: values, shape (B, n). counts: how often each point counts, shape (B, n), or None for once.
        held: what each lane holds of numbers that are linear in the linear coefficients; the coefficient of one
            column, the pivot, is given by the others.
        still: the search coordinate that each lane holds, shape (B,), or None.
    """

    problem: Problem
    y: Array
    counts: Array | None = None
    held: Held | None = None
    still: np.ndarray | None = None

    @classmethod
    def of(
        cls, problem: Problem, lanes: int, *, held: Held | None = None, still: np.ndarray | None = None
    ) -> Packing:
        """The problem's own points in every lane."""
        return cls(problem, np.broadcast_to(problem.y, (lanes, len(problem.y))), None, held, still)

    def at(self, rows: np.ndarray) -> Packing:
        """Some of the lanes."""
        return replace(
            self,
            y=self.y[rows],
            counts=None if self.counts is None else self.counts[rows],
            held=None if self.held is None else self.held.at(rows),
            still=None if self.still is None else self.still[rows],
        )

    @cached_property
    def size(self) -> float:
        """A typical y, the unit of coefficients of either sign."""
        return float(np.median(np.abs(self.problem.y)))

    @cached_property
    def box(self) -> Array:
        """Lowest and highest value of each number, shape (k, 2)."""
        free = np.tile([-np.inf, np.inf], (len(self._lower), 1))
        return np.concatenate([self.problem.law.search_box(self.problem.span), free])

    @cached_property
    def moving(self) -> np.ndarray:
        """The numbers that are moved, shape (B, k): not those that are fixed, held or given by the others."""
        lanes, law = np.arange(len(self.y)), self.problem.law
        moving = np.ones((len(lanes), len(self.box)), dtype=bool)
        moving[:, [self._axes + column for column, _ in law.offset_columns]] = False
        if self.held is not None:
            moving[lanes, self._axes + self._pivot] = False
        if self.still is not None:
            moving[lanes, self.still] = False
        return moving

    def pack(self, theta: Array, linear: Array) -> Array:
        """Vectors (B, k); a weight of zero becomes a very small one."""
        least = 1e-12 * np.max(np.abs(linear), axis=-1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            weights = np.where(self._in_ln, np.log(np.maximum(linear, least)), linear / self.size)
        return np.concatenate([theta, weights], axis=-1)

    def unpack(self, vectors: Array) -> tuple[Array, Array]:
        """Search coordinates (B, q) and linear coefficients (B, p)."""
        theta, weights = vectors[:, : self._axes], vectors[:, self._axes :]
        linear = np.where(self._in_ln, np.exp(np.clip(weights, -WILD, WILD)), weights * self.size)
        for column, value in self.problem.law.offset_columns:
            linear[:, column] = value
        if self.held is not None:
            lanes, pivot = np.arange(len(theta)), self._pivot
            combination = self.held.combination(self.problem.law, self.problem.span, theta)
            linear[lanes, pivot] = 0.0
            rest = combination.value - einsum("bp,bp->b", combination.weights, linear)
            linear[lanes, pivot] = rest / _nonzero(combination.weights[lanes, pivot])
        return theta, linear

    def residuals(self, vectors: Array) -> tuple[Array, Array]:
        """ln f - ln y of every point (B, n) and its derivatives (B, n, k); a last row where a bound pushes back."""
        problem, (theta, linear) = self.problem, self.unpack(vectors)
        design = problem.law.design(theta, problem.x, problem.span)
        gradient = problem.law.design_gradient(theta, problem.x, problem.span)
        by_theta, by_linear = einsum("bqnp,bp->bnq", gradient, linear), design
        chain = np.where(self._in_ln, linear, self.size)
        wall: tuple[Array, Array] | None = None
        if self.held is not None:
            by_theta, by_linear, wall = self._through_pivot(self.held, theta, linear, design, by_theta)
        curve = np.maximum(einsum("bnp,bp->bn", design, linear), TINY)
        left = np.log(curve) - np.log(self.y)
        jacobian = np.concatenate([by_theta, by_linear * chain[:, None]], axis=2) / curve[..., None]
        if problem.root_weights is not None:
            left, jacobian = left * problem.root_weights, jacobian * problem.root_weights[:, None]
        if wall is not None:
            gap, slopes = wall
            slopes = np.concatenate([slopes[:, : self._axes], slopes[:, self._axes :] * chain], axis=1)
            left = np.concatenate([left, gap[:, None]], axis=1)
            jacobian = np.concatenate([jacobian, slopes[:, None]], axis=1)
        return left, np.nan_to_num(jacobian) * self.moving[:, None]

    def _through_pivot(
        self, held: Held, theta: Array, linear: Array, design: Array, by_theta: Array
    ) -> tuple[Array, Array, tuple[Array, Array]]:
        """What the pivot's coefficient, given by the others, does to derivatives, and its wall with derivatives."""
        law, span, lanes, pivot = self.problem.law, self.problem.span, np.arange(len(theta)), self._pivot
        combination = held.combination(law, span, theta, slopes=True)
        weights, turning = combination.weights, combination.slopes
        assert turning is not None
        own = _nonzero(weights[lanes, pivot])[:, None]
        slope, share = -einsum("bqp,bp->bq", turning, linear) / own, -weights / own
        column = design[lanes, :, pivot][..., None]
        below = np.minimum(linear[lanes, pivot] - self._lower[pivot], 0.0) * WALL / self.size
        slopes = np.concatenate([slope, share], axis=1) * np.where(below < 0, WALL / self.size, 0.0)[:, None]
        return by_theta + column * slope[:, None], design + column * share[:, None], (below, slopes)

    @cached_property
    def _pivot(self) -> np.ndarray:
        """The column that each held number gives: the asymptote's where it has a weight, else the heaviest; (B,)."""
        assert self.held is not None
        law, span = self.problem.law, self.problem.span
        middle = np.tile(law.search_box(span).mean(axis=1), (len(self.y), 1))
        weights = np.abs(self.held.weights(law, span, middle))
        heaviest, column = np.argmax(weights, axis=1), law.asymptote_column
        return heaviest if column is None else np.where(weights[:, column] > 0, column, heaviest)

    @cached_property
    def _lower(self) -> Array:
        return np.asarray(self.problem.law.linear_lower, dtype=float)

    @cached_property
    def _in_ln(self) -> np.ndarray:
        return self._lower >= 0

    @cached_property
    def _axes(self) -> int:
        return len(self.problem.law.search_box(self.problem.span))


def _nonzero(values: Array) -> Array:
    return np.where(values == 0, TINY, values)
