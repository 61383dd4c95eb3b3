"""Finds a law's coefficients: a seeded grid over the search coordinates, the best eight starts polished.

Chosen by measurement on the eleven public series (60 random starts each): plain least squares on all
coefficients reached the best sum of squares from about half of the starts, variable projection from all.
All starts, and all variants of the points (first shares of them, resamples), are polished at once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from sparsity_lab.fitting.solve import levenberg, newton
from sparsity_lab.fitting.solve.batch import Batch
from sparsity_lab.fitting.solve.packed import Packing
from sparsity_lab.fitting.solve.problem import Problem, Solution
from sparsity_lab.laws._law import Array

STARTS = 8
ENOUGH = (
    500  # points that put the grid in order and take starts near the best fit; all are used from there on
)
AT_BEST = 0.01
ROUGH = 1e-6  # of the sum of squares: the gain at which every few points have told what they can
GRID_NUMBERS = 2_000_000  # numbers of the grid's columns that are held in memory at once

GRID_POINTS = {0: 1, 1: 60, 2: 20, 3: 9, 4: 6}
MOST_AXES = 4  # with more, each has so few places that a random draw serves as well
DRAWS = 1500


def solve(problem: Problem, *, seed: int = 0) -> Solution:
    """The best fit.

    Args:
        problem: the law, its points and what is made least. seed: jitters the grid within its cells.
    """
    if problem.objective.log:
        return solve_variants(problem, np.ones((1, len(problem.y))), seed=seed)[0]
    return best_of(problem, _starts(problem, Batch.of(problem, 1), seed)[0])


def solve_variants(problem: Problem, root: Array, *, y: Array | None = None, seed: int = 0) -> list[Solution]:
    """The best fits of K variants of the points, in the problem's own search coordinates.

    Args:
        problem: the law and all its points.
        root: square roots of weights on top of the problem's own, shape (K, n); zero leaves a point out.
        y: other values, shape (K, n).
        seed: of the grid.
    """
    own = 1.0 if problem.root_weights is None else problem.root_weights
    values = np.broadcast_to(problem.y if y is None else y, root.shape)
    # Weights 1/y are the logarithm's near the curve.
    batch = Batch(problem, values, root * own / (values if problem.objective.log else 1.0))
    starts = _starts(problem, batch, seed)
    each = np.repeat(np.arange(len(root)), starts.shape[1])
    theta, found = _polished(batch.at(each), starts.reshape(len(each), starts.shape[2]))
    if problem.objective.log:
        packing = Packing(problem, values[each], root[each] ** 2)
        vectors = packing.pack(theta, batch.at(each).project(theta).beta)
        vectors, found = newton.descend(packing, vectors)
        theta, linear = packing.unpack(vectors)
    theta, found = theta.reshape(starts.shape), found.reshape(starts.shape[:2])
    best = np.argmin(found, axis=1)
    lanes = np.arange(len(root))
    chosen = theta[lanes, best]
    beta = linear[lanes * starts.shape[1] + best] if problem.objective.log else batch.project(chosen).beta
    return [
        Solution(
            chosen[k],
            beta[k],
            float(found[k, best[k]]),
            len(found[k]),
            _reached(found[k]),
            edges(problem, chosen[k]),
        )
        for k in lanes
    ]


def solve_parts(
    problem: Problem, parts: Sequence[np.ndarray], *, seed: int = 0
) -> list[tuple[Problem, Solution]]:
    """The best fits to some of the points, all at once; every part is on the span of all points.

    Args:
        problem: the law and all its points. parts: rows of each part. seed: of the grid.
    """
    kept = [problem.part(rows) for rows in parts]
    if not kept:
        return []
    root = np.zeros((len(parts), len(problem.y)))
    for k, rows in enumerate(parts):
        root[k, rows] = 1.0
    return list(zip(kept, solve_variants(problem, root, seed=seed), strict=True))


def best_of(problem: Problem, starts: Array | Sequence[Array]) -> Solution:
    """Polish each start (s, q) and keep the best."""
    starts = np.asarray(starts, dtype=float)
    theta, sse = _polished(Batch.of(problem, len(starts)), starts)
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


def _polished(batch: Batch, starts: Array) -> tuple[Array, Array]:
    """Where the starts of lanes lead, by every few points of a long series first."""
    box, few = _box(batch.problem), thinned(batch)
    if few is not batch:
        starts, _ = levenberg.descend(few, starts, box, tight=ROUGH)
    return levenberg.descend(batch, starts, box)


def thinned(batch: Batch) -> Batch:
    """Every few points of a long series, enough to compare places by; a short one as it is."""
    return batch.thinned(math.ceil(batch.y.shape[1] / ENOUGH))


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
    rough = thinned(batch)
    numbers = rough.y.shape[1] * len(rough.problem.law.linear_lower)
    found = []
    for part in np.array_split(grid, math.ceil(len(grid) * numbers / GRID_NUMBERS)):
        with np.errstate(all="ignore"):
            found.append(rough.at(np.zeros(len(part), dtype=int)).project(part).sse)
    return np.concatenate(found)


def seeded_grid(box: Array, generator: np.random.Generator) -> Array:
    """A grid over the box (q, 2), each point moved at random within its cell; shape (m, q)."""
    axes = len(box)
    if axes > MOST_AXES:
        return box[:, 0] + generator.uniform(size=(DRAWS, axes)) * (box[:, 1] - box[:, 0])
    per_axis = GRID_POINTS[axes]
    cells = np.array(list(itertools.product(range(per_axis), repeat=axes)), dtype=float)
    places = (cells + generator.uniform(size=cells.shape)) / per_axis
    return np.asarray(box[:, 0] + places * (box[:, 1] - box[:, 0]))
