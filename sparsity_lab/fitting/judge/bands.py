"""What a fit says beyond its coefficients: bands of prediction and the x at which a value is reached.

Both follow from the bootstrap draws: each draw is a curve, and the 2.5 and 97.5 % quantiles over curves are
the band. A draw that never reaches a value counts as infinity, so an interval can read [350e9, not reached].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sparsity_lab.fitting.solve.bootstrap import QUANTILES, Draws
from sparsity_lab.laws._law import Array, Coefficients, Law


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


def band(law: Law, coefficients: Coefficients, draws: Draws, x: Array) -> Band:
    """The law at x with the band of its draws."""
    columns = {name: values[:, None] for name, values in draws.values.items()}
    curves = np.broadcast_to(law.predict(columns, x[None, :]), (len(draws), len(x)))  # type: ignore[arg-type]
    # A draw without a curve (no exponential left in it) widens the band to nothing known.
    known = curves[np.all(np.isfinite(curves), axis=1)]
    if len(known) < 0.95 * len(curves):
        known = np.full((1, len(x)), math.nan)
    low, high = np.quantile(known, QUANTILES, axis=0)
    return Band(x, law.predict(coefficients, x), low, high)


def reach(law: Law, coefficients: Coefficients, draws: Draws, y: float) -> Reach:
    """The x at which the law takes the value y, with its interval."""
    found = np.array([law.invert(one, y) for one in draws.each()])
    known = np.sort(found[~np.isnan(found)])
    if len(known) < 0.95 * len(found):
        return Reach(y, law.invert(coefficients, y), math.nan, math.nan)
    # Neighbours rather than interpolation: between a number and infinity there is nothing.
    low, high = (known[round(q * (len(known) - 1))] for q in QUANTILES)
    return Reach(y, law.invert(coefficients, y), float(low), float(high))
