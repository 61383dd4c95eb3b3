"""What a fit says beyond its coefficients: bands of prediction and the x at which a value is reached.

Their intervals are those of the coefficients' own kind (`solve.intervals`): an interval can read [350e9, not reached].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparsity_lab.fitting.solve.problem import Problem, Solution
from sparsity_lab.fitting.uncertainty.intervals import Wanted, intervals
from sparsity_lab.fitting.uncertainty.noise import NoiseScale
from sparsity_lab.laws._law import Array

AHEAD = 3.0  # times the largest x: how far the band of a curve is followed
POINTS = 25


@dataclass(frozen=True)
class Band:
    """A curve with its 95 % band, each of shape (m,)."""

    x: Array
    value: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class Reach:
    """Where a law reaches y; infinity is never, NaN is unknown."""

    y: float
    x: float
    low: float
    high: float


def beyond(
    problem: Problem, solution: Solution, scale: NoiseScale, targets: Sequence[float]
) -> tuple[Band, tuple[Reach, ...]]:
    """The band along and beyond the points of a series, and where the law takes the targets."""
    low, high = problem.span.low[0], problem.span.high[0]
    x = (
        np.geomspace(low, AHEAD * high, POINTS)
        if low > 0
        else np.linspace(low, high + problem.span.width(), POINTS)
    )
    found = intervals(problem, solution, scale, Wanted(names=(), x=x, reach=targets))
    ends = np.array([(one.value, one.low, one.high) for one in found.band])
    reaches = (Reach(y, one.value, one.low, one.high) for y, one in zip(targets, found.reach, strict=True))
    return Band(x, *ends.T), tuple(reaches)
