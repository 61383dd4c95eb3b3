"""Turns a score into a reference size N^, with guards where a ruler cannot tell.

Near its asymptotes a sigmoid's inverse explodes: a small error of the score becomes any factor of the size.
So a score within its own error of the ceiling, or an N^ more than ten times the largest reference model, is
`beyond the ruler` and has a lower bound only; the mirror images are `below chance` and `below the ruler`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sparsity_lab.fitting.density.curves import RulerCurve
from sparsity_lab.fitting.density.scores.score_errors import one_sigma
from sparsity_lab.laws._law import Array

EXTRAPOLATION_LIMIT = 10.0
LARGEST_EXPONENT = 700.0  # its exponential is still a number
BEYOND, BELOW, CHANCE, EXTRAPOLATED = "beyond the ruler", "below the ruler", "below chance", "extrapolated"


@dataclass(frozen=True)
class Inversion:
    """N^ in the ruler's unit. `size` is None where only a one-sided bound holds; None bounds are open.

    `ln_size_draws` has shape (B,), with infinities where a draw leaves the ruler's reach;
    `ln_size_ruler_draws` moves the ruler alone and keeps the score.
    """

    size: float | None
    low: float | None
    high: float | None
    flag: str
    extrapolation_ratio: float | None
    score_error: float
    ln_size_draws: Array = field(repr=False)
    ln_size_ruler_draws: Array = field(repr=False)

    @property
    def measured(self) -> bool:
        """Whether there is a number and not a bound only."""
        return self.size is not None


def invert(
    curve: RulerCurve, score: float, *, errors: Array, sizes: tuple[float, float], level: float = 0.95
) -> Inversion:
    """The reference size of a score.

    Args:
        curve: the ruler's curve with B draws.
        score: 0 to 1.
        errors: B draws of the score's error.
        sizes: smallest and largest reference model.
        level: of the interval; the one-sided bounds hold at the same level.
    """
    error = one_sigma(errors)
    point = float(curve.ln_size(np.asarray(score))[0])
    ruler_draws = _within_reach(curve.ln_size(np.asarray(score))[1:], sizes)
    draws = _within_reach(curve.ln_size(np.concatenate([[score], score + errors]))[1:], sizes)
    flag = _flag(
        point, score, error, floor=float(curve.floor[0]), ceiling=float(curve.ceiling[0]), sizes=sizes
    )
    ratio = float(np.exp(min(point - np.log(sizes[1]), LARGEST_EXPONENT))) if np.isfinite(point) else None
    if flag in (BEYOND, BELOW, CHANCE):
        low, high = _one_sided(draws, level, above=flag == BEYOND, sizes=sizes)
        return Inversion(None, low, high, flag, ratio, error, draws, ruler_draws)
    low, high = _two_sided(draws, level)
    return Inversion(float(np.exp(point)), low, high, flag, ratio, error, draws, ruler_draws)


def _flag(
    point: float, score: float, error: float, *, floor: float, ceiling: float, sizes: tuple[float, float]
) -> str:
    smallest, largest = np.log(sizes)
    reach = np.log(EXTRAPOLATION_LIMIT)
    if score >= ceiling - error or point > largest + reach:
        return BEYOND
    if score <= floor + error:
        return CHANCE
    if point < smallest - reach:
        return BELOW
    return EXTRAPOLATED if not smallest <= point <= largest else ""


def _within_reach(ln_sizes: Array, sizes: tuple[float, float]) -> Array:
    low, high = np.log(sizes[0] / EXTRAPOLATION_LIMIT), np.log(sizes[1] * EXTRAPOLATION_LIMIT)
    return np.where(ln_sizes > high, np.inf, np.where(ln_sizes < low, -np.inf, ln_sizes))


def _two_sided(draws: Array, level: float) -> tuple[float | None, float | None]:
    # No interpolation between quantiles: halfway between a number and infinity there is nothing.
    low = np.quantile(draws, (1 - level) / 2, method="lower")
    high = np.quantile(draws, (1 + level) / 2, method="higher")
    return _size(low), _size(high)


def _one_sided(
    draws: Array, level: float, *, above: bool, sizes: tuple[float, float]
) -> tuple[float | None, float | None]:
    if above:
        bound = np.quantile(draws, 1 - level, method="lower")
        return (_size(bound) if np.isfinite(bound) or bound < 0 else sizes[1] * EXTRAPOLATION_LIMIT), None
    bound = np.quantile(draws, level, method="higher")
    return None, (_size(bound) if np.isfinite(bound) or bound > 0 else sizes[0] / EXTRAPOLATION_LIMIT)


def _size(ln_size: float) -> float | None:
    return float(np.exp(ln_size)) if np.isfinite(ln_size) else None
