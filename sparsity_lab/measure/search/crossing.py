"""Where a noisy value meets its target: a local monotone fit to everything evaluated near by.

The loss rise jitters as neurons flip at their thresholds, so near the target the crossing is not unique and
the last evaluation is no better than the others. Near the target value = target * exp(s (x - x*)) with s > 0,
a curve that only grows; x* comes from least squares over the evaluations, near ones counting most, and moves
with each replicate of the windows, which gives its interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsity_lab.measure.search.counts import Floats
from sparsity_lab.measure.search.root import Slope

REACH = 0.3  # in x: evaluations this far from the nearest one count half
SLOPES = 61
JITTER = 0.03  # of the target: what a value is expected to miss the curve by, to weigh the slope's prior
LEAST = 0.05  # of the target: a replicate's curve is never taken to lie lower than this


@dataclass(frozen=True)
class Crossing:
    """A local fit.

    Attributes:
        x: x*, where the fitted value is the target.
        slope: s, d ln(value) / dx there.
        error: standard error of x* from the scatter of the values about the curve; 0 below three values.
    """

    x: float
    slope: float
    error: float


def fit(xs: Floats, values: Floats, *, target: float, slope: Slope) -> Crossing:
    """Fit the curve near the target.

    Args:
        xs: float64 [n], coordinates of the knob, n >= 1.
        values: float64 [n], the value at each.
        target: the value wanted, > 0.
        slope: what is known beforehand of s.
    """
    centre, weights = _weights(xs, values, target=target)
    shares = values / target
    best = (np.inf, slope.guess, 1.0)
    for s in slope.guess * slope.factor ** np.linspace(-1.0, 1.0, SLOPES):
        height = max(float(_heights(xs - centre, shares, weights, s)), LEAST)
        misses = shares - height * np.exp(s * (xs - centre))
        surprise = (JITTER * np.log(s / slope.guess) / slope.spread) ** 2
        best = min(best, (float(weights @ misses**2) + surprise, float(s), height))
    _, s, height = best
    misses = shares - height * np.exp(s * (xs - centre))
    scatter = np.sqrt(weights @ misses**2 / weights.sum() * len(xs) / max(len(xs) - 2, 1))
    error = float(scatter / np.sqrt(len(xs)) / s) if len(xs) > 2 else 0.0
    return Crossing(centre - float(np.log(height)) / s, s, error)


def crossings(xs: Floats, resampled: Floats, values: Floats, *, target: float, slope: float) -> Floats:
    """x* of each replicate, the slope held.

    Args:
        xs: float64 [n].
        resampled: float64 [replicates, n], each replicate's values.
        values: float64 [n], the values of the whole text.
        target: the value wanted.
        slope: s of the fit to the whole text.

    Returns:
        float64 [replicates].
    """
    centre, weights = _weights(xs, values, target=target)
    heights = _heights(xs - centre, resampled / target, weights, slope)
    return centre - np.log(np.maximum(heights, LEAST)) / slope


def _weights(xs: Floats, values: Floats, *, target: float) -> tuple[float, Floats]:
    nearest = float(xs[np.argmin(np.abs(values - target))])
    return nearest, 1.0 / (1.0 + ((xs - nearest) / REACH) ** 2)


def _heights(offsets: Floats, shares: Floats, weights: Floats, slope: float) -> Floats:
    """Least-squares k of shares [..., n] = k exp(slope * offsets)."""
    curve = np.exp(slope * offsets)
    return np.asarray((shares * weights) @ curve / (weights @ curve**2))
