"""Refits to resampled points: blocks of residuals of a series, or whole runs of a ladder.

A second opinion beside the intervals of `intervals`, which hold more often (`bench.coverage`). Residuals, rescaled for
the coefficients they were fitted with, are drawn in blocks along the series (circular, so that each point is drawn
equally often) and put back on the fitted curve. All refits by least squares are polished at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from sparsity_lab.fitting.solve import levenberg, packed
from sparsity_lab.fitting.solve.batch import Batch
from sparsity_lab.fitting.solve.packed import Packing
from sparsity_lab.fitting.solve.problem import Problem, Solution
from sparsity_lab.laws._law import Array
from sparsity_lab.progress import Advance

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
    problem: Problem, solution: Solution, *, draws: int, block: int, generator: np.random.Generator,
    advance: Advance = lambda done: None,
) -> Draws:  # fmt: skip
    """Refit `draws` series made of the fitted curve and blocks of its residuals."""
    residuals, curve = problem.residuals(solution), problem.curve(solution)
    centred = (residuals - residuals.mean()) * math.sqrt(len(problem.y) / max(problem.freedom, 1))
    weights = np.ones_like(problem.y) if problem.root_weights is None else problem.root_weights
    noise = (
        np.array([centred[block_indices(len(problem.y), block, generator)] for _ in range(draws)]) / weights
    )
    if problem.objective.log:
        drawn = [replace(problem, y=curve * np.exp(one)) for one in noise]
        return _one_by_one(drawn, problem, solution, block, advance)
    root = None if problem.root_weights is None else np.broadcast_to(problem.root_weights, noise.shape)
    return _at_once(Batch(problem, curve + noise, root), solution, block)


def resample_runs(
    problem: Problem, solution: Solution, runs: np.ndarray, *, draws: int, generator: np.random.Generator,
    advance: Advance = lambda done: None,
) -> Draws:  # fmt: skip
    """Refit on runs drawn with replacement, each with all of its points.

    The refits keep the span of the original points, so that their search coordinates mean the same.
    """
    members = [np.flatnonzero(runs == name) for name in dict.fromkeys(runs)]
    chosen = [generator.integers(len(members), size=len(members)) for _ in range(draws)]
    if problem.objective.log:
        rows = [np.concatenate([members[i] for i in one]) for one in chosen]
        drawn = [
            replace(
                problem, x=problem.x[one], y=problem.y[one], runs=None,
                root_weights=None if problem.root_weights is None else problem.root_weights[one],
            )
            for one in rows
        ]  # fmt: skip
        return _one_by_one(drawn, problem, solution, 1, advance)
    counts = np.zeros((draws, len(problem.y)))
    for k, one in enumerate(chosen):
        for i in one:
            counts[k, members[i]] += 1
    own = 1.0 if problem.root_weights is None else problem.root_weights
    return _at_once(
        Batch(problem, np.broadcast_to(problem.y, counts.shape), np.sqrt(counts) * own), solution, 1
    )


def _at_once(batch: Batch, solution: Solution, block: int) -> Draws:
    """Refits by least squares from the best fit."""
    law, span = batch.problem.law, batch.problem.span
    starts = np.tile(solution.theta, (len(batch.y), 1))
    theta, _ = levenberg.descend(batch, starts, law.search_box(span))
    values = law.assemble(theta, batch.project(theta).beta, span)
    return Draws({name: np.broadcast_to(values[name], (len(starts),)) for name in values}, block)


def _one_by_one(
    drawn: list[Problem], problem: Problem, solution: Solution, block: int, advance: Callable[[int], None]
) -> Draws:
    """Refits of ln y from the best fit."""
    found = []
    for one in drawn:
        packing = Packing(one)
        theta, linear = packing.unpack(
            packed.polish(packing, packing.pack(solution.theta, solution.linear))[0]
        )
        found.append(one.coefficients_of(Solution(theta, linear, 0.0)))
        advance(1)
    names = [parameter.name for parameter in problem.law.parameters]
    return Draws({name: np.array([one[name] for one in found]) for name in names}, block)


def block_indices(points: int, block: int, generator: np.random.Generator) -> np.ndarray:
    """Indices of circular blocks that together cover `points` places, shape (points,)."""
    starts = generator.integers(points, size=math.ceil(points / block))
    return ((starts[:, None] + np.arange(block)) % points).ravel()[:points]
