"""What a fit says beyond its coefficients: bands of prediction and the x at which a value is reached.

Their intervals are those of the coefficients' own kind (`solve.intervals`): an interval can read [350e9, not reached].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.fitting.uncertainty.intervals import Intervals, Wanted
from sparsity_lab.laws._law import FALLING, Array

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


def places(problem: Problem) -> Array:
    """Inputs along and beyond the points of a series, at which its band is reported, shape (m,)."""
    low, high = problem.span.low[0], problem.span.high[0]
    back = problem.law.forward == FALLING  # to the small losses of large models
    if low > 0:
        return np.geomspace(low / AHEAD, high, POINTS) if back else np.geomspace(low, AHEAD * high, POINTS)
    width = problem.span.width()
    return np.linspace(low - width, high, POINTS) if back else np.linspace(low, high + width, POINTS)


def told(found: Intervals, wanted: Wanted) -> tuple[Band | None, tuple[Reach, ...]]:
    """The band at the places asked for, None where none are, and where the law takes the values asked for."""
    reaches = (
        Reach(y, one.value, one.low, one.high) for y, one in zip(wanted.reach, found.reach, strict=True)
    )
    if wanted.x is None:
        return None, tuple(reaches)
    ends = np.array([(one.value, one.low, one.high) for one in found.band])
    return Band(wanted.x, *ends.T), tuple(reaches)
