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


@dataclass(frozen=True)
class FormErrors:
    """How far a curve may bend beyond its smallest and its largest reference size, in score per unit of ln size.

    Attributes:
        ln_sizes: of the smallest and the largest reference model.
        below, above: per draw, shape (1 + B,), 0 for the point estimate; added to the score with the distance.
    """

    ln_sizes: tuple[float, float]
    below: Array
    above: Array

    def added(self, ln_size: Array) -> Array:
        """What the form error adds to the score."""
        low, high = self.ln_sizes
        return np.asarray(
            self.above * np.maximum(ln_size - high, 0.0) + self.below * np.maximum(low - ln_size, 0.0)
        )


@dataclass
class OneStepCurve(ScoreSigmoid):
    """S = floor + span / (1 + exp(-gamma (ln N - middle))), coefficients of shape (1 + B,), and its form error."""

    form: FormErrors | None = None

    def __post_init__(self) -> None:
        self.floor = np.broadcast_to(self.floor, self.span.shape)

    @property
    def chance(self) -> float:
        """The chance level, at which every draw begins."""
        return float(self.floor[0])

    def score(self, x: Array | float) -> Array:
        """Scores at ln sizes, with what the form error adds beyond the reference sizes."""
        plain = super().score(x)
        return plain if self.form is None else np.clip(plain + self.form.added(np.asarray(x)), 0.0, 1.0)

    def ln_size(self, score: Array) -> Array:
        """ln N of a score: in closed form, and on a grid beyond the reference sizes, where the form error bends it."""
        exact = self.inverse(score)
        if self.form is None:
            return exact
        score = np.broadcast_to(score, self.floor.shape)
        low, high = self.form.ln_sizes
        above, below = (exact > high) & (self.form.above != 0), (exact < low) & (self.form.below != 0)
        if above.any():
            exact = np.where(above, high + first_reached(*self._above, score), exact)
        if below.any():
            exact = np.where(below, low - first_reached(*self._below, -score), exact)
        return exact

    @cached_property
    def _above(self) -> tuple[Array, Array]:
        """Distances above the largest reference size, and the best score up to each, shape (grid, 1 + B)."""
        assert self.form is not None
        return _BEYOND, np.maximum.accumulate(self.score(self.form.ln_sizes[1] + _BEYOND[:, None]), axis=0)

    @cached_property
    def _below(self) -> tuple[Array, Array]:
        """Distances below the smallest reference size, and minus the worst score down to each."""
        assert self.form is not None
        return _BEYOND, np.maximum.accumulate(-self.score(self.form.ln_sizes[0] - _BEYOND[:, None]), axis=0)


# Distances in ln size beyond the reference sizes; a draw that is farther out counts as infinite anyway.
_BEYOND = np.linspace(0.0, np.log(20.0), 60)


def first_reached(ln_sizes: Array, best: Array, score: Array) -> Array:
    """Where a running maximum of scores first reaches a score, shape (1 + B,); +inf where it never does.

    Args:
        ln_sizes: the grid, shape (grid,).
        best: the running maximum on it, shape (grid, 1 + B).
        score: of each draw, shape (1 + B,).
    """
    reached = best >= score
    first = np.argmax(reached, axis=0)
    below = np.maximum(first - 1, 0)
    columns = np.arange(len(score))
    low, high = best[below, columns], best[first, columns]
    share = np.where(high > low, (score - low) / np.where(high > low, high - low, 1.0), 0.0)
    crossing = ln_sizes[below] + share * (ln_sizes[first] - ln_sizes[below])
    return np.where(reached[-1], crossing, np.inf)


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
