"""Curves that a search is tried on: loss rises that reach a target or do not, fall, rest or jump.

Each is given over u, the knob's coordinate less the place where the target is met, in units of the target.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sparsity_lab.measure.search.counts import Floats

Shape = Callable[[Floats, float], Floats]


@dataclass(frozen=True)
class PlantedCurve:
    """A loss rise along the knob.

    Attributes:
        name: in words.
        shape: from x less the crossing, float64 [n], and a slope, the rise over the target, float64 [n].
        crossing: x where the target is met; None for one that each data set draws.
    """

    name: str
    shape: Shape
    crossing: float | None = None


def _power(u: Floats, slope: float) -> Floats:
    return np.exp(slope * u)


def _saturating(limit: float) -> Shape:
    return lambda u, slope: limit * -np.expm1(-np.exp(slope * u) / limit)


def _resting(height: float, width: float) -> Shape:
    """A power law that stays at `height` over `width`, and rises to the target behind."""

    def shape(u: Floats, slope: float) -> Floats:
        begin = math.log(height) / slope
        return np.where(u < begin, np.exp(slope * (u + np.clip(begin - u, 0, width))), np.exp(slope * u))

    return shape


def _dipping(where: float, depth: float) -> Shape:
    """A power law that falls by the share `depth` around `where`."""
    return lambda u, slope: np.exp(slope * u) * (1 - depth * np.exp(-(((u - where) / 0.12) ** 2) / 2))


def _jumping(below: float, above: float) -> Shape:
    return lambda u, slope: np.where(u < 0, below, above) * np.exp(0.02 * u)


CURVES = (
    PlantedCurve("power law", _power),
    PlantedCurve("saturates at 0.6", _saturating(0.6)),
    PlantedCurve("saturates at 0.95", _saturating(0.95)),
    PlantedCurve("rests at 0.7, then rises", _resting(0.7, 1.5)),
    PlantedCurve("rests at 0.95, then rises", _resting(0.95, 1.5)),
    PlantedCurve("dips at the target, by 0.4", _dipping(0.35, 0.65)),
    PlantedCurve("dips at the target, by 0.9", _dipping(0.35, 0.9)),
    PlantedCurve("dips far above the target", _dipping(1.3, 0.65)),
    PlantedCurve("dips far below the target", _dipping(-1.0, 0.65)),
    PlantedCurve("jumps from 0.3 to 3", _jumping(0.3, 3.0)),
    PlantedCurve("jumps from 0.8 to 1.25", _jumping(0.8, 1.25)),
    PlantedCurve("met at the end of the range", _power, crossing=-0.05),
    PlantedCurve("not met at the end of the range", _power, crossing=0.1),
)
