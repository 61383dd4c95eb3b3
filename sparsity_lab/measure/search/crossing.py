"""Where a noisy value meets its target: a local monotone fit to everything evaluated near by.

The loss rise jitters as neurons flip at their thresholds, so near the target the crossing is not unique and
the last evaluation is no better than the others. Near the target value = target * exp(s (x - x*)) with s > 0,
a curve that only grows; x* comes from least squares over the evaluations, near ones counting most, and moves
with each replicate of the windows, which gives its interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sparsity_lab.measure.search.counts import Floats
from sparsity_lab.measure.search.root import Slope

REACH = 0.3  # in x: evaluations this far from the nearest one count half
SLOPES = 61
JITTER = 0.03  # of the target: what a value is expected to miss the curve by, to weigh the slope's prior
ERRORS_SPREAD = 0.03  # in x: for errors, evaluations spread this widely count as much as the guess
FLATTEST = 3.0  # for errors, a side is taken to be no flatter than the guess over this
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


class Together(NamedTuple):
    """Evaluations on one set of windows.

    Attributes:
        xs: float64 [n], coordinates of the knob.
        values: float64 [n], a number at each.
        weight: their weight relative to other sets: the share of the text that the windows are.
    """

    xs: Floats
    values: Floats
    weight: float


def shared_slope(groups: Sequence[Together], *, guess: float = 0.0, spread: float = 0.0) -> float:
    """The least-squares slope of values against x, of lines with a height of their own for each set of windows.

    Args:
        groups: the evaluations.
        guess: what the slope is taken for where nothing was evaluated.
        spread: evaluations of the whole text spread this widely in x count as much as the guess.
    """
    products, squares = spread**2 * guess, spread**2
    for xs, values, weight in groups:
        offsets = xs - xs.mean()
        products += weight * float(offsets @ values)
        squares += weight * float(offsets @ offsets)
    return products / squares if squares > 1e-12 else guess


def seen_slope(below: Sequence[Together], above: Sequence[Together], *, slope: Slope) -> float:
    """The d ln(value) / dx that the error of x* goes by: of what was evaluated, on either side of the answer.

    An error of x* goes as 1 / s. The guess serves the search, where one slope is nearly as good as another; for
    errors it will not do, models having 1.2 to 2.4. Where the curve bends, a sample whose value is too high has its
    x* below the answer, and goes by the slope there; one whose value is too low goes by the slope above. The mean
    of both variances, 1 / s^2, is what samples scatter by.

    Args:
        below: evaluations from a little above the answer downward.
        above: evaluations from a little below it upwards.
        slope: what is known beforehand.
    """
    sides = np.array([_slope_of_logs(side, slope=slope) for side in (below, above)])
    return float(np.mean(sides**-2.0) ** -0.5)


def _slope_of_logs(groups: Sequence[Together], *, slope: Slope) -> float:
    logs = [
        Together(xs[values > 0], np.log(values[values > 0]), weight)
        for xs, values, weight in groups
        if (values > 0).any()
    ]
    seen = shared_slope(logs, guess=slope.guess, spread=ERRORS_SPREAD)
    return float(np.clip(seen, slope.guess / FLATTEST, slope.guess * slope.factor))


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
