"""A ruler's curves: score against ln size, the point estimate followed by bootstrap draws.

Every coefficient is an array of shape (1 + B,): entry 0 is the point estimate, the rest are draws, and draw
b of one curve belongs to draw b of every other curve of the ruler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from sparsity_lab.fitting.density.rulers.sigmoid import ScoreSigmoid
from sparsity_lab.laws._law import Array

# From a parameter to far beyond any model; sizes in FLOPs lie within as well.
LN_GRID = np.linspace(0.0, np.log(1e36), 500)
BISECTIONS = 50


class RulerCurve(Protocol):
    """Score against ln size, increasing; arrays over the point estimate and the draws."""

    @property
    def floor(self) -> Array:
        """The score of an infinitely small reference model, shape (1 + B,)."""
        ...

    @property
    def ceiling(self) -> Array:
        """The score of an infinitely large reference model, shape (1 + B,)."""
        ...

    def score(self, ln_size: Array, /) -> Array:
        """Scores at `ln_size`, which broadcasts against (1 + B,)."""
        ...

    def ln_size(self, score: Array, /) -> Array:
        """The inverse; +inf at or above the ceiling, -inf at or below the floor."""
        ...


@dataclass
class OneStepCurve(ScoreSigmoid):
    """S = floor + span / (1 + exp(-gamma (ln N - middle))), coefficients of shape (1 + B,)."""

    def __post_init__(self) -> None:
        self.floor = np.broadcast_to(self.floor, self.span.shape)

    @property
    def chance(self) -> float:
        """The chance level, at which every draw begins."""
        return float(self.floor[0])

    def ln_size(self, score: Array) -> Array:
        """ln N of a score."""
        return self.inverse(score)


@dataclass(frozen=True)
class MeanCurve:
    """The mean of several tasks' curves, inverted by bisection."""

    parts: Sequence[RulerCurve]

    @cached_property
    def floor(self) -> Array:
        """Mean of the floors, shape (1 + B,)."""
        return np.asarray(np.mean([part.floor for part in self.parts], axis=0))

    @cached_property
    def ceiling(self) -> Array:
        """Mean of the ceilings, shape (1 + B,)."""
        return np.asarray(np.mean([part.ceiling for part in self.parts], axis=0))

    def score(self, ln_size: Array) -> Array:
        """Mean score at `ln_size`."""
        return np.asarray(np.mean([part.score(ln_size) for part in self.parts], axis=0))

    def ln_size(self, score: Array) -> Array:
        """ln N of a mean score."""
        score = np.broadcast_to(score, self.floor.shape)
        above = self._on_grid >= score
        # A draw whose form error is negative may fall again: its first crossing is the one meant.
        first = np.argmax(above, axis=0)
        low, high = LN_GRID[np.maximum(first - 1, 0)], LN_GRID[first]
        for _ in range(BISECTIONS):
            middle = 0.5 * (low + high)
            reached = self.score(middle) >= score
            low, high = np.where(reached, low, middle), np.where(reached, middle, high)
        crossing = np.where(above.any(axis=0), 0.5 * (low + high), np.inf)
        return np.where(score >= self.ceiling, np.inf, np.where(score <= self.floor, -np.inf, crossing))

    @cached_property
    def _on_grid(self) -> Array:
        """Scores on the grid, shape (grid, 1 + B)."""
        return self.score(LN_GRID[:, None])
