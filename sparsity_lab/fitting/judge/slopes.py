"""The slope of a straight line with its interval, and which way it says that points go."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from sparsity_lab.fitting.data.text_parts import NO_PARTS, TextParts
from sparsity_lab.fitting.quantiles import normal_quantile, t_quantile
from sparsity_lab.fitting.uncertainty.other_text import Moves
from sparsity_lab.laws._law import Array

RISES, FALLS, LEVEL, SHORT = "rises", "falls", "not told from level", "too few checkpoints"
FEWEST = 3
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Trend:
    """A slope per factor e of tokens with its 95 % interval, NaN where there are too few points.

    Attributes:
        points: it comes from. slope: its value. low, high: the interval.
        by_scatter: half the interval by the scatter about the line alone.
        by_text: parts of its error that come from the text measured on, shape (parts,); None where not known.
    """

    points: int
    slope: float
    low: float
    high: float
    by_scatter: float = math.nan
    by_text: Array | None = field(default=None, repr=False)

    @property
    def way(self) -> str:
        """Rises or falls where the interval excludes zero."""
        if math.isnan(self.low):
            return SHORT
        return RISES if self.low > 0 else FALLS if self.high < 0 else LEVEL


def line(x: Array, y: Array, se: Array | None = None, text: TextParts = NO_PARTS) -> Trend:
    """The slope of y against x.

    Args:
        x: shape (n,). y: shape (n,).
        se: standard errors of y, shape (n,); None, or any not above zero, for equal weights whose size
            the scatter alone decides.
        text: what the text measured on does to all points; where that is known it is put to the scatter in squares, and
            where it is not, the half-width is the larger one of that by the scatter and that by the errors.
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
    if text.parts is None:
        half = max(by_scatter, normal_quantile(0.5 + CONFIDENCE / 2) / math.sqrt(spread) if known else 0.0)
        return Trend(n, slope, slope - half, slope + half, by_scatter)
    root = np.sqrt(weights)[:, None]
    moves = Moves.of(np.stack([np.ones(n), x - centre], axis=1) * root, text.parts * root)
    of_slope = np.array([0.0, 1.0])
    half = math.hypot(by_scatter, text.t * math.sqrt(moves.unseen(of_slope)))
    return Trend(n, slope, slope - half, slope + half, by_scatter, moves.parts_of(of_slope))
