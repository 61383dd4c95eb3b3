"""Finds a law's coefficients: a seeded grid over the search coordinates, the best eight starts polished.

Chosen by measurement on the eleven public series (60 random starts each): plain least squares on all
coefficients reached the best sum of squares from about half of the starts, variable projection from all.
All starts, and all variants of the points (first shares of them, resamples), are polished at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sparsity_lab.fitting.solve import levenberg, packed
from sparsity_lab.fitting.solve.batch import Batch
from sparsity_lab.fitting.solve.grid import seeded_grid
from sparsity_lab.fitting.solve.problem import Problem, Solution
from sparsity_lab.laws._law import Array

STARTS = 8
ENOUGH_TO_ORDER = 5000  # points that put the grid in order; all are used from there on
AT_BEST = 0.01
GRID_NUMBERS = 2_000_000  # numbers of the grid's columns that are held in memory at once


def solve(problem: Problem, *, seed: int = 0, near: Array | None = None) -> Solution:
    """The best fit.

    Args:
        problem: the law, its points and what is made least.
        seed: jitters the grid within its cells.
        near: coordinates to start from as well; used for refits of slightly changed data.
    """
    if problem.objective.log:
        return packed.solve(problem, _log_starts(problem, seed), box=_box(problem))
    starts = _starts(problem, _lanes(problem), seed)[0]
    if near is not None:
        starts = np.concatenate([starts, near[None]])
    return best_of(problem, starts)


def solve_variants(problem: Problem, root: Array, *, y: Array | None = None, seed: int = 0) -> list[Solution]:
    """The best fits by least squares of K variants of the points, in the problem's own search coordinates.

    Args:
        problem: the law and all its points.
        root: square roots of weights on top of the problem's own, shape (K, n); zero leaves a point out.
        y: other values, shape (K, n).
        seed: of the grid.
    """
    own = 1.0 if problem.root_weights is None else problem.root_weights
    values = np.broadcast_to(problem.y if y is None else y, root.shape)
    batch = Batch(problem, values, root * own)
    starts = _starts(problem, batch, seed)
    each = np.repeat(np.arange(len(root)), starts.shape[1])
    theta, sse = levenberg.descend(batch.at(each), starts.reshape(len(each), starts.shape[2]), _box(problem))
    theta, sse = theta.reshape(starts.shape), sse.reshape(starts.shape[:2])
    best = np.argmin(sse, axis=1)
    chosen = theta[np.arange(len(root)), best]
    beta = batch.project(chosen).beta
    return [
        Solution(
            chosen[k],
            beta[k],
            float(sse[k, best[k]]),
            len(sse[k]),
            _reached(sse[k]),
            edges(problem, chosen[k]),
        )
        for k in range(len(root))
    ]


def solve_parts(
    problem: Problem, parts: Sequence[np.ndarray], *, seed: int = 0
) -> list[tuple[Problem, Solution]]:
    """The best fits to some of the points, all at once; every part is on the span of all points.

    Args:
        problem: the law and all its points. parts: rows of each part. seed: of the grid.
    """
    kept = [problem.part(rows) for rows in parts]
    if problem.objective.log or not kept:
        return [(part, solve(part, seed=seed)) for part in kept]
    root = np.zeros((len(parts), len(problem.y)))
    for k, rows in enumerate(parts):
        root[k, rows] = 1.0
    return list(zip(kept, solve_variants(problem, root, seed=seed), strict=True))


def best_of(problem: Problem, starts: Array | Sequence[Array]) -> Solution:
    """Polish each start (s, q) and keep the best."""
    starts = np.asarray(starts, dtype=float)
    theta, sse = levenberg.descend(Batch.of(problem, len(starts)), starts, _box(problem))
    best = int(np.argmin(sse))
    at = problem.project(theta[best])
    return Solution(theta[best], at.linear, at.sse, len(starts), _reached(sse), edges(problem, theta[best]))


def random_starts(problem: Problem, count: int, generator: np.random.Generator) -> list[Array]:
    """Starts drawn evenly from the search box."""
    box = _box(problem)
    return list(generator.uniform(box[:, 0], box[:, 1], size=(count, len(box))))


def edges(problem: Problem, theta: Array) -> tuple[int, ...]:
    """Indices of search coordinates that lie at an edge of the box."""
    box = _box(problem)
    slack = 0.005 * (box[:, 1] - box[:, 0])
    outside = (theta < box[:, 0] + slack) | (theta > box[:, 1] - slack)
    return tuple(int(i) for i in np.flatnonzero(outside))


def _box(problem: Problem) -> Array:
    return problem.law.search_box(problem.span)


def _lanes(problem: Problem) -> Batch:
    return Batch.of(problem, 1)


def _reached(sse: Array) -> int:
    return int(np.sum(sse <= sse.min() * (1 + AT_BEST)))


def _starts(problem: Problem, batch: Batch, seed: int) -> Array:
    """The best places of a grid for each of K variants, shape (K, starts, q)."""
    box = _box(problem)
    if len(box) == 0:
        return np.empty((len(batch.y), 1, 0))
    grid = seeded_grid(box, np.random.default_rng(seed))
    sse = np.stack([_grid_sse(batch.at(np.array([k])), grid) for k in range(len(batch.y))])
    order = np.argsort(np.where(np.isnan(sse), np.inf, sse), axis=1, kind="stable")[:, :STARTS]
    return grid[order]


def _grid_sse(batch: Batch, grid: Array) -> Array:
    """Sums of squares of one variant over a grid (m, q), of every few points of a long series."""
    rough = batch.thinned(math.ceil(batch.y.shape[1] / ENOUGH_TO_ORDER))
    numbers = rough.y.shape[1] * len(rough.problem.law.linear_lower)
    found = []
    for part in np.array_split(grid, math.ceil(len(grid) * numbers / GRID_NUMBERS)):
        with np.errstate(all="ignore"):
            found.append(rough.at(np.zeros(len(part), dtype=int)).project(part).sse)
    return np.concatenate(found)


def _log_starts(problem: Problem, seed: int) -> list[tuple[Array, Array]]:
    """Coordinates and linear coefficients near the best fit to ln y: weights 1/y are the logarithm's near the curve."""
    own = 1.0 if problem.root_weights is None else problem.root_weights
    weighted = Problem.of(problem.law, problem.x, problem.y, root_weights=own / problem.y)
    starts = _starts(weighted, _lanes(weighted), seed)[0]
    theta, _ = levenberg.descend(Batch.of(weighted, len(starts)), starts, _box(weighted))
    return [(one, weighted.project(one).linear) for one in theta]
