"""Many small least-squares problems at once, with lower bounds and with one linear combination held.

Each problem has a handful of columns and up to thousands of rows; numpy's loops run over problems and rows, Python's
over columns alone. Bounds are met by trying every set of columns at their bounds, and the best feasible one is exact,
since the problem is convex. A combination w . beta = v is met by solving for the column of most weight.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from sparsity_lab.laws._law import Array

NEGLIGIBLE = 1e-14  # of a column's length: below this, what the others leave of it is rounding
NONE: Mapping[int, float] = MappingProxyType({})
SLACK = 1e-12  # of the largest coefficient: a violation of a bound that is rounding

# Without NumPy's search for other kinds of arrays, which takes longer than the sums of a few lanes.
einsum: Any = getattr(np.einsum, "__wrapped__", np.einsum)


@dataclass(frozen=True)
class Combination:
    """A linear combination of the coefficients that is held, one a problem.

    Attributes:
        weights: w, shape (B, p). value: v, shape (B,).
        slopes: derivatives of w by the search coordinates, shape (B, q, p); None where nobody asks for them.
    """

    weights: Array
    value: Array
    slopes: Array | None = None

    def at(self, rows: np.ndarray) -> Combination:
        """Some of the problems."""
        slopes = None if self.slopes is None else self.slopes[rows]
        return Combination(self.weights[rows], self.value[rows], slopes)


@dataclass(frozen=True)
class LinearFit:
    """Solutions of B problems of n rows and p columns.

    Attributes:
        beta: shape (B, p). residuals: shape (B, n). free: columns that were solved for, shape (B, p).
        pivot: the column that a held combination gives, shape (B,); -1 where none is held.
        held: the combination that is held, or None.
    """

    beta: Array
    residuals: Array
    free: np.ndarray
    pivot: np.ndarray
    held: Combination | None = None

    @property
    def sse(self) -> Array:
        """Sums of squares, shape (B,)."""
        return np.asarray(einsum("bn,bn->b", self.residuals, self.residuals))

    def at(self, rows: np.ndarray) -> LinearFit:
        """Some of the problems."""
        held = None if self.held is None else self.held.at(rows)
        return LinearFit(self.beta[rows], self.residuals[rows], self.free[rows], self.pivot[rows], held)


def orthogonal(columns: Array) -> tuple[Array, Array]:
    """Q (B, n, k) and R (B, k, k) of columns (B, n, k); a column without a direction of its own has none in Q.

    Modified Gram-Schmidt with every column made orthogonal twice.
    """
    count = columns.shape[-1]
    basis, triangle = np.array(columns, order="C"), np.zeros((len(columns), count, count))
    for j in range(count):
        column = basis[..., j]
        length = before = np.sqrt(einsum("bn,bn->b", column, column))
        if before.any() and triangle[:, :j].any():  # else one of the two is nothing, in all problems
            for _ in range(2):
                shares = einsum("bnk,bn->bk", basis[..., :j], column)
                column -= einsum("bnk,bk->bn", basis[..., :j], shares)
                triangle[:, :j, j] += shares
            length = np.sqrt(einsum("bn,bn->b", column, column))
        length = np.where(length <= NEGLIGIBLE * before, 0.0, length)
        triangle[:, j, j] = length
        column *= np.divide(1.0, length, out=np.zeros(len(length)), where=length > 0)[:, None]
    return basis, triangle


def back_substituted(triangle: Array, right: Array) -> Array:
    """Solutions of R z = right, shape (B, k); zero for a coefficient whose column has no direction of its own."""
    solution, last = np.zeros(right.shape), right.shape[-1] - 1
    for j in range(last, -1, -1):
        rest, diagonal = right[:, j], triangle[:, j, j]
        if j < last:
            rest = rest - einsum("bk,bk->b", triangle[:, j, j + 1 :], solution[:, j + 1 :])
        np.divide(rest, diagonal, out=solution[:, j], where=diagonal > 0)
    return solution


def forward_substituted(triangle: Array, right: Array) -> Array:
    """Solutions of R^T z = right, right of shape (B, k, m)."""
    solution = np.zeros(right.shape)
    for j in range(right.shape[1]):
        rest, diagonal = right[:, j], triangle[:, j, j, None]
        if j:
            rest = rest - einsum("bk,bkm->bm", triangle[:, :j, j], solution[:, :j])
        np.divide(rest, diagonal, out=solution[:, j], where=diagonal > 0)
    return solution


def solve(
    design: Array,
    targets: Array,
    lower: Array,
    held: Combination | None = None,
    *,
    fixed: Mapping[int, float] = NONE,
) -> LinearFit:
    """Least squares with lower bounds.

    Args:
        design: columns, shape (B, n, p). targets: shape (B, n).
        lower: bounds of the coefficients, shape (p,).
        held: a combination of the coefficients that is given.
        fixed: columns whose coefficients are given.
    """
    if not fixed:
        return _bounded(design, targets, lower, held)
    rest, whole = [j for j in range(len(lower)) if j not in fixed], held
    for j, value in fixed.items():
        targets = targets - design[..., j] * value
        if held is not None:
            held = Combination(held.weights, held.value - held.weights[:, j] * value)
    if held is not None:
        held = Combination(held.weights[:, rest], held.value)
    part = _bounded(design[..., rest], targets, lower[rest], held)
    beta, free = np.zeros((len(design), len(lower))), np.zeros((len(design), len(lower)), dtype=bool)
    beta[:, rest], free[:, rest] = part.beta, part.free
    for j, value in fixed.items():
        beta[:, j] = value
    pivot = np.where(part.pivot < 0, -1, np.array(rest or [-1])[np.maximum(part.pivot, 0)])
    return LinearFit(beta, part.residuals, free, pivot, whole)


def _bounded(design: Array, targets: Array, lower: Array, held: Combination | None) -> LinearFit:
    """`solve` without fixed columns."""
    fit = _on_face(design, targets, lower, (), held)
    bounded = np.isfinite(lower).nonzero()[0]
    if len(bounded) == 0 or not (wrong := _violated(fit.beta, lower)).any():
        return fit
    rows = np.flatnonzero(wrong)
    part = None if held is None else held.at(rows)
    beta, residuals, free, pivot = fit.beta.copy(), fit.residuals.copy(), fit.free.copy(), fit.pivot.copy()
    least = np.full(len(rows), np.inf)
    for size in range(1, len(bounded) + 1 if held is None else min(len(bounded) + 1, len(lower))):
        for face in itertools.combinations(bounded.tolist(), size):
            tried = _on_face(design[rows], targets[rows], lower, face, part)
            sse = np.where(_violated(tried.beta, lower), np.inf, tried.sse)
            better = sse < least
            least = np.where(better, sse, least)
            where = rows[better]
            beta[where], residuals[where] = tried.beta[better], tried.residuals[better]
            free[where], pivot[where] = tried.free[better], tried.pivot[better]
    # Where no face is feasible, the combination cannot be held within the bounds at all.
    residuals[rows[~np.isfinite(least)]] = np.inf
    return LinearFit(beta, residuals, free, pivot, held)


def _violated(beta: Array, lower: Array) -> np.ndarray:
    slack = SLACK * np.abs(beta).max(axis=-1, keepdims=True, initial=0.0)
    return np.asarray((beta < lower - slack).any(axis=-1))


def _on_face(
    design: Array, targets: Array, lower: Array, face: tuple[int, ...], held: Combination | None
) -> LinearFit:
    """The solution with the columns of a face at their bounds and the others free."""
    count = design.shape[-1]
    rest = [j for j in range(count) if j not in face]
    beta = np.zeros((len(design), count))
    free = np.zeros(beta.shape, dtype=bool)
    free[:, rest] = True
    left = targets
    for j in face:
        beta[:, j] = lower[j]
        left = left - design[..., j] * lower[j]
    pivot = np.full(len(design), -1)
    if held is None:
        basis, triangle = orthogonal(design[..., rest])
        shares = einsum("bnk,bn->bk", basis, left)
        beta[:, rest] = back_substituted(triangle, shares)
    else:
        pivot = _pivots(design, held, rest)
        free_of = held
        if face:
            free_of = Combination(held.weights, held.value - einsum("bp,bp->b", held.weights, beta))
        for column in rest:
            at, others = pivot == column, [j for j in rest if j != column]
            if at.all():
                beta = _held(design, left, beta, others, column, free_of)
                break
            if at.any():
                beta[at] = _held(design[at], left[at], beta[at], others, column, free_of.at(at))
    if np.isfinite(lower).any():  # what violates a bound by rounding alone is at it
        beta = np.where(_violated(beta, lower)[:, None], beta, np.maximum(beta, lower))
    fitted = einsum("bnp,bp->bn", design, beta)
    return LinearFit(beta, targets - fitted, free, pivot, held)


def _pivots(design: Array, held: Combination, rest: list[int]) -> np.ndarray:
    """The column of most weight for its length, of those that are not at a bound; shape (B,)."""
    lengths = np.sqrt(einsum("bnj,bnj->bj", design, design))
    weight = np.abs(held.weights) / np.where(lengths > 0, lengths, np.inf)
    return np.asarray(np.array(rest)[np.argmax(weight[:, rest], axis=1)])


def _held(design: Array, left: Array, beta: Array, others: list[int], pivot: int, held: Combination) -> Array:
    """Coefficients with the combination held by the pivot's column."""
    own = np.where(held.weights[:, pivot] == 0, np.nan, held.weights[:, pivot])
    ratio = held.weights / own[:, None]
    first = held.value / own
    columns = design[..., others] - design[..., pivot, None] * ratio[:, None, others]
    basis, triangle = orthogonal(columns)
    rest = left - first[:, None] * design[..., pivot]
    solved = back_substituted(triangle, einsum("bnk,bn->bk", basis, rest))
    beta = beta.copy()
    beta[:, others] = solved
    beta[:, pivot] = first - einsum("bk,bk->b", ratio[:, others], solved)
    return beta
