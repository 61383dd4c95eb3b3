"""The slope of a straight line with its interval, and which way it says that points go."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sparsity_lab.fitting.quantiles import normal_quantile, t_quantile
from sparsity_lab.laws._law import Array

RISES, FALLS, LEVEL, SHORT = "rises", "falls", "not told from level", "too few checkpoints"
FEWEST = 3
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Trend:
    """A slope per factor e of tokens with its 95 % interval, NaN where there are too few points."""

    points: int
    slope: float
    low: float
    high: float

    @property
    def way(self) -> str:
        """Rises or falls where the interval excludes zero."""
        if math.isnan(self.low):
            return SHORT
        return RISES if self.low > 0 else FALLS if self.high < 0 else LEVEL


def line(x: Array, y: Array, se: Array | None = None) -> Trend:
    """The slope of y against x.

    Args:
        x: shape (n,). y: shape (n,).
        se: standard errors of y, shape (n,); None, or any not above zero, for equal weights whose size
            the scatter alone decides.
    """
    n = len(x)
    if n < FEWEST or np.ptp(x) == 0:
        return Trend(n, math.nan, math.nan, math.nan)
    if np.ptp(y) == 0:
        return Trend(n, 0.0, 0.0, 0.0)
    known = se is not None and bool(np.all(se > 0))
    weights = 1.0 / se**2 if known and se is not None else np.ones(n)
    centre = float(weights @ x / weights.sum())
    spread = float(weights @ (x - centre) ** 2)
    slope = float(weights @ ((x - centre) * y) / spread)
    residuals = y - float(weights @ y / weights.sum()) - slope * (x - centre)
    scatter = float(weights @ residuals**2) / (n - 2)
    by_scatter = t_quantile(0.5 + CONFIDENCE / 2, n - 2) * math.sqrt(scatter / spread)
    half = max(by_scatter, normal_quantile(0.5 + CONFIDENCE / 2) / math.sqrt(spread) if known else 0.0)
    return Trend(n, slope, slope - half, slope + half)
