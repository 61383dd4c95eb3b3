"""Residual block bootstrap: intervals of all coefficients of a single series.

Residuals, rescaled for the coefficients they were fitted with, are drawn in blocks along the series
(circular, so that each point is drawn equally often) and put back on the fitted curve; each draw is fitted
anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from sparsity_lab.fitting.solve.engine import Solution, polish
from sparsity_lab.fitting.solve.problem import Problem
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

    def each(self) -> Iterator[dict[str, float]]:
        """The coefficients draw by draw."""
        for i in range(len(self)):
            yield {name: float(values[i]) for name, values in self.values.items()}

    def interval(self, name: str) -> tuple[float, float]:
        """2.5 and 97.5 % quantiles; NaN where more than one draw in twenty has no such number."""
        values = self.values[name]
        known = values[np.isfinite(values)]
        if len(known) < 0.95 * len(values) or len(known) < 20:
            return math.nan, math.nan
        low, high = np.quantile(known, QUANTILES)
        return float(low), float(high)


def residual_blocks(
    problem: Problem, solution: Solution, *, draws: int, block: int, generator: np.random.Generator
) -> Draws:
    """Refit `draws` series made of the fitted curve and blocks of its residuals."""
    at = problem.project(solution.theta)
    scale = math.sqrt(len(problem.y) / max(problem.freedom, 1))
    centred = (at.residuals - at.residuals.mean()) * scale
    weights = np.ones_like(problem.y) if problem.root_weights is None else problem.root_weights
    fitted = (at.design @ at.linear) / weights
    found = []
    for _ in range(draws):
        noise = centred[block_indices(len(problem.y), block, generator)] / weights
        drawn = problem.with_targets(fitted + noise)
        theta, _ = polish(drawn, solution.theta)
        found.append(drawn.coefficients(theta))
    names = [parameter.name for parameter in problem.law.parameters]
    return Draws({name: np.array([one[name] for one in found]) for name in names}, block)


def resample_runs(
    problem: Problem,
    groups: np.ndarray,
    refit: Callable[[Problem], Mapping[str, float]],
    *,
    draws: int,
    generator: np.random.Generator,
    advance: Advance = lambda done: None,
) -> Draws:
    """Refit on runs drawn with replacement, each with all of its points.

    The refits keep the span of the original points, so that their search coordinates mean the same.
    """
    members = [np.flatnonzero(groups == name) for name in dict.fromkeys(groups)]
    found = []
    for _ in range(draws):
        rows = np.concatenate([members[i] for i in generator.integers(len(members), size=len(members))])
        found.append(refit(replace(problem, x=problem.x[rows], y=problem.y[rows])))
        advance(1)
    names = [parameter.name for parameter in problem.law.parameters]
    return Draws({name: np.array([one[name] for one in found]) for name in names}, 1)


def block_indices(points: int, block: int, generator: np.random.Generator) -> np.ndarray:
    """Indices of circular blocks that together cover `points` places, shape (points,)."""
    starts = generator.integers(points, size=math.ceil(points / block))
    return ((starts[:, None] + np.arange(block)) % points).ravel()[:points]
