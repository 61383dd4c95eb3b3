"""Refits to resampled points: blocks of residuals of a series, or whole runs of a ladder.

A second opinion to the intervals of `intervals`, which hold more often (`bench.coverage`). Residuals, rescaled for
the coefficients they were fitted with, are drawn in blocks along the series (circular, so that each point is drawn
equally often) and put back on the fitted curve. All refits are polished at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sparsity_lab.fitting.solve import levenberg, newton
from sparsity_lab.fitting.solve.batch import Batch
from sparsity_lab.fitting.solve.packed import Packing
from sparsity_lab.fitting.solve.problem import Problem, Solution
from sparsity_lab.laws._law import Array

QUANTILES = (0.025, 0.975)


@dataclass(frozen=True)
class Draws:
    """Coefficients of each draw; `values[name]` has shape (draws,), NaN where a draw has no such number."""

    values: Mapping[str, Array]
    block: int

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def interval(self, name: str) -> tuple[float, float]:
        """2.5 and 97.5 % quantiles; NaN where more than one draw in twenty has no such number."""
        values = self.values[name]
        finite = values[np.isfinite(values)]
        if len(finite) < 0.95 * len(values) or len(finite) < 20:
            return math.nan, math.nan
        low, high = np.quantile(finite, QUANTILES)
        return float(low), float(high)


def residual_blocks(
    problem: Problem, solution: Solution, *, draws: int, block: int, generator: np.random.Generator
) -> Draws:
    """Refit `draws` series made of the fitted curve and blocks of its residuals."""
    residuals, curve = problem.residuals(solution), problem.curve(solution)
    centred = (residuals - residuals.mean()) * math.sqrt(len(problem.y) / max(problem.freedom, 1))
    weights = np.ones_like(problem.y) if problem.root_weights is None else problem.root_weights
    noise = (
        np.array([centred[block_indices(len(problem.y), block, generator)] for _ in range(draws)]) / weights
    )
    y = curve * np.exp(noise) if problem.objective.log else curve + noise
    return _refits(problem, solution, y, None, block)


def resample_runs(
    problem: Problem, solution: Solution, runs: np.ndarray, *, draws: int, generator: np.random.Generator
) -> Draws:
    """Refit on runs drawn with replacement, each with all of its points.

    The refits keep the span of the original points, so that their search coordinates mean the same.
    """
    members = [np.flatnonzero(runs == name) for name in dict.fromkeys(runs)]
    chosen = [generator.integers(len(members), size=len(members)) for _ in range(draws)]
    counts = np.zeros((draws, len(problem.y)))
    for k, one in enumerate(chosen):
        for i in one:
            counts[k, members[i]] += 1
    return _refits(problem, solution, np.broadcast_to(problem.y, counts.shape), counts, 1)


def _refits(problem: Problem, solution: Solution, y: Array, counts: Array | None, block: int) -> Draws:
    """Refits from the best fit to other values (K, n), each of which counts as often as said; all at once."""
    law, span, own = problem.law, problem.span, problem.root_weights
    theta = np.tile(solution.theta, (len(y), 1))
    if problem.objective.log:
        packing = Packing(problem, y, counts)
        vectors = packing.pack(theta, np.tile(solution.linear, (len(y), 1)))
        theta, linear = packing.unpack(newton.descend(packing, vectors)[0])
    else:
        root = own if counts is None else np.sqrt(counts) * (1.0 if own is None else own)
        batch = Batch(problem, y, None if root is None else np.broadcast_to(root, y.shape))
        theta, _ = levenberg.descend(batch, theta, law.search_box(span))
        linear = batch.project(theta).beta
    values = law.assemble(theta, linear, span)
    return Draws({name: np.broadcast_to(values[name], (len(y),)) for name in values}, block)


def block_indices(points: int, block: int, generator: np.random.Generator) -> np.ndarray:
    """Indices of circular blocks that together cover `points` places, shape (points,)."""
    starts = generator.integers(points, size=math.ceil(points / block))
    return ((starts[:, None] + np.arange(block)) % points).ravel()[:points]
