"""Records beyond the ruler: models of which only a lower bound of rho is known enter the line as censored.

To drop them is to drop the densest models, which flattens the line; to take the bound for the value flattens it too.
Here the line is fitted by maximum likelihood (Tobin 1958): residuals are normal with one spread, a number has its
density and a bound the probability of lying above it. The fit is by expectation and maximization: a bound represents
the mean of what lies above it under the line so far. A bound far below the line therefore pulls at nothing, and a bound
above the line lifts it. What is unknown above a bound goes into the interval of A: each draw takes a value from there.

A bound is a record if it lies above all that came before, and later models are held against the bound. Bounds that are
no records may or may not lie above the frontier, and stay out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr, ndtri

from sparsity_lab.fitting.density.trend.records import line_through
from sparsity_lab.laws._law import Array

STEPS = 500
TOLERANCE = 1e-10


@dataclass(frozen=True)
class CensoredLine:
    """The line through n models' records, of which some are lower bounds.

    Attributes:
        slope, intercept: ln rho a day, and ln rho at day 0.
        lift: shape (n,), the mean of what lies above each bound, less the bound; 0 for numbers.
        excess: shape (n,), how far each bound lies above the line, in spreads; unused for numbers.
        spread: of the residuals, ln rho.
    """

    slope: float
    intercept: float
    lift: Array
    excess: Array
    spread: float

    def lifts(self, bounded: NDArray[np.bool_], rng: np.random.Generator, draws: int) -> Array:
        """Draws of what lies above each bound, shape (draws, n); 0 for numbers."""
        if not bounded.any():
            return np.zeros((draws, len(bounded)))
        uniform = rng.random((draws, int(bounded.sum())))
        above = -ndtri(uniform * ndtr(-np.minimum(self.excess[bounded], 30.0)))
        lifts = np.zeros((draws, len(bounded)))
        lifts[:, bounded] = np.maximum((above - self.excess[bounded]) * self.spread, 0.0)
        return lifts


def line_of_records(
    days: Array, values: Array, records: NDArray[np.bool_], bounded: NDArray[np.bool_]
) -> CensoredLine:
    """Least squares through the records; with bounds among them the most likely line. All shapes (n,)."""
    lift, count = np.zeros(len(days)), int(records.sum())
    slope, intercept = (float(v) for v in line_through(days, values, records))
    spread = _spread(days, values, slope, intercept, records) if count else 0.0
    censored = bounded & records
    excess = np.zeros(len(days))
    for _ in range(STEPS if censored.any() else 0):
        gap = values[censored] - intercept - slope * days[censored]
        scale = max(spread, 1e-9)
        z = gap / scale
        hazard = np.exp(-0.5 * z**2 - log_ndtr(-z)) / np.sqrt(2 * np.pi)
        # Beyond some spreads the hazard is z + 1/z; its difference to z is what is added to the bound.
        added = np.where(z < 1e3, hazard - z, 1 / np.maximum(z, 1.0))
        excess[censored], lift[censored] = z, np.maximum(added, 0.0) * scale
        variance = scale**2 * np.clip(1 - hazard * added, 0.0, 1.0).sum()
        before = slope, intercept
        slope, intercept = (float(v) for v in line_through(days, values + lift, records))
        spread = float(
            np.sqrt(_spread(days, values + lift, slope, intercept, records) ** 2 + variance / count)
        )
        moved = abs(slope - before[0]) * max(float(np.ptp(days)), 1.0) + abs(intercept - before[1])
        if moved < TOLERANCE * max(1.0, abs(intercept)):
            break
    return CensoredLine(slope, intercept, lift, excess, spread)


def _spread(days: Array, values: Array, slope: float, intercept: float, records: NDArray[np.bool_]) -> float:
    return float(np.sqrt(np.mean((values - intercept - slope * days)[records] ** 2)))
