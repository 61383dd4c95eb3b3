"""The densest model of a coming quarter as foreseen on a day: by the trend, without growth since, by a broken line.

A forecast is a distribution of the largest ln rho among the models of a quarter. Each of its draws combines three
things, all taken from the models released so far: a line, redrawn as for the interval of A; how many models a quarter
has, of how many families and on which of its days, copied from one of the last four quarters with models; and how far
models lie from the line, resampled by family (`families.py`). The largest of the draw's models is one draw of the
maximum.

Two corrections keep the bands honest where few families are known, and the planted worlds check them
(`bench/planted.py`). The spread of the lines is itself known from so few families, so that deviations are stretched by
sqrt(f / chi^2_f), f one less than the families, as for a ruler of few sizes. And resampling alone never gives a family
better than the best so far: distances are blurred by a Gaussian kernel of Silverman's width for that many families.

The ruler is held: it measures past and outcome alike, so that its errors are in both.

The rivals differ in the line alone. `NO_GROWTH` follows the trend up to the day and stays at that level. `ONE_BREAK` is
one line before a break and another from it on, both corrected as the trend is, where that describes the records better
by BIC, with three records a side as in the test of a break; elsewhere it is the trend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sparsity_lab.fitting.density.trend.beyond import line_of_records
from sparsity_lab.fitting.density.trend.entering import TrendPoint
from sparsity_lab.fitting.density.trend.families import Families
from sparsity_lab.fitting.density.trend.records import frontier_mask, line_through
from sparsity_lab.fitting.density.trend.trend import DensityTrend, fit_trend, frontier
from sparsity_lab.fitting.density.trend.trend_checks import FEWEST_RECORDS_A_SIDE
from sparsity_lab.laws._law import Array

TREND, NO_GROWTH, ONE_BREAK = "trend", "no growth since", "one break"
FORECASTS = (TREND, NO_GROWTH, ONE_BREAK)
TEMPLATE_QUARTERS = 4
LEAST_VARIANCE = 1e-12  # of records about their lines, so that a perfect line has a logarithm
# The lines of all draws: days, shape (n,) -> ln rho_max, shape (draws, n).
Lines = Callable[[Array], Array]


@dataclass(frozen=True, order=True)
class Quarter:
    """A quarter of the calendar; `number` counts quarters from the beginning of year 0."""

    number: int

    @classmethod
    def of(cls, day: date) -> Quarter:
        """The quarter of a day."""
        return cls(4 * day.year + (day.month - 1) // 3)

    @property
    def start(self) -> date:
        """Its first day."""
        return date(self.number // 4, 3 * (self.number % 4) + 1, 1)

    def later(self, quarters: int) -> Quarter:
        """The quarter that follows after so many."""
        return Quarter(self.number + quarters)

    def __str__(self) -> str:
        return f"{self.number // 4}Q{self.number % 4 + 1}"


@dataclass(frozen=True)
class Known:
    """What is known at the end of a quarter.

    Attributes:
        last: the quarter.
        points: the n models released by its end, by date, without lower bounds that are not records.
        records: which of them set a new maximum, shape (n,).
        trend: fitted to them, with the ruler held.
    """

    last: Quarter
    points: tuple[TrendPoint, ...]
    records: NDArray[np.bool_]
    trend: DensityTrend

    @classmethod
    def at_end_of(cls, last: Quarter, points: Sequence[TrendPoint], *, seed: int, draws: int) -> Known:
        """What `points` tell of the models released by the end of a quarter.

        Raises:
            SparsityLabError: there is no trend yet.
        """
        released = [p for p in points if p.released < last.later(1).start]
        held = [replace(p, ruler_draws=np.array([p.ln_rho])) for p in released]
        kept, records = frontier(held)
        return cls(last, tuple(kept), records, fit_trend(held, seed=seed, draws=draws))

    def day(self, on: date) -> float:
        """A date in days since the first model."""
        return float((on - self.trend.origin).days)

    @cached_property
    def days(self) -> Array:
        """Release days since the first model, shape (n,)."""
        return np.array([self.day(p.released) for p in self.points])

    @cached_property
    def ln_rho(self) -> Array:
        """ln rho, shape (n,); for a lower bound the mean of what lies above it."""
        values, bounded = (
            np.array([p.ln_rho for p in self.points]),
            np.array([p.bounded for p in self.points]),
        )
        return values + line_of_records(self.days, values, self.records, bounded).lift

    @cached_property
    def families(self) -> Families:
        """Which of the models belong together."""
        return Families([p.lineage for p in self.points])

    @property
    def independent(self) -> int:
        """How many models or families err independently: families, or models where all are of one."""
        return len(self.families) if len(self.families) > 1 else len(self.points)

    def stretched(self, lines: Array, rng: np.random.Generator) -> Array:
        """Draws of lines, shape (draws, ...), with their deviations as uncertain as few families leave them."""
        freedom = max(self.independent - 1, 1)
        factor = np.sqrt(freedom / rng.chisquare(freedom, len(lines))).reshape(-1, *[1] * (lines.ndim - 1))
        middle = lines.mean(axis=0)
        return np.asarray(middle + factor * (lines - middle))


def lines_of(known: Known, *, seed: int) -> dict[str, Lines]:
    """The lines of each forecast, with as many draws as the trend has."""
    rng = np.random.default_rng(seed)
    slopes = known.stretched(known.trend.slope_draws, rng)[:, None]
    end = known.day(known.last.later(1).start) - 1
    return {
        TREND: lambda days: slopes * days,
        NO_GROWTH: lambda days: slopes * np.minimum(days, end),
        ONE_BREAK: _broken_lines(known, rng) or (lambda days: slopes * days),
    }


def maxima(known: Known, lines: Lines, coming: Quarter, *, until: date, rng: np.random.Generator) -> Array:
    """Draws of the largest ln rho among the models that a coming quarter has up to a day, shape (draws,).

    Args:
        known: at the end of an earlier quarter.
        lines: of the forecast.
        coming: the quarter foreseen.
        until: the last day that a table tells of; the days after it have no models.
        rng: of the draws.
    """
    draws = len(known.trend.slope_draws)
    quarters = np.array([Quarter.of(p.released).number for p in known.points])
    into = np.array([(p.released - Quarter.of(p.released).start).days for p in known.points], dtype=float)
    days = known.day(coming.start) + into
    in_time = days <= known.day(until)
    copied = in_time if in_time.any() else np.ones_like(in_time)
    templates = np.unique(quarters[copied])[-TEMPLATE_QUARTERS:]
    there = copied & (quarters == rng.choice(templates, draws)[:, None])
    distances = known.ln_rho - lines(known.days)
    drawn = np.take_along_axis(distances, known.families.donors(rng, draws), axis=1)
    return np.asarray(
        np.where(there, lines(days) + drawn + _blur(known, distances, rng), -np.inf).max(axis=1)
    )


def _blur(known: Known, distances: Array, rng: np.random.Generator) -> Array:
    """Kernel noise, one value for all models of a family, for distances of shape (draws, n)."""
    low, high = np.quantile(distances, [0.25, 0.75], axis=1)
    spread = np.minimum(distances.std(axis=1, ddof=1), (high - low) / 1.349)
    width = 0.9 * spread * known.independent**-0.2
    together = [p.lineage if len(known.families) > 1 else p.model for p in known.points]
    names, of_model = np.unique(together, return_inverse=True)
    return np.asarray(
        width[:, None] * rng.standard_normal((len(distances), len(names)))[:, of_model.reshape(-1)]
    )


def _broken_lines(known: Known, rng: np.random.Generator) -> Lines | None:
    """The lines before and after the best break; None where one line describes the records better."""
    split = best_break(known.days, known.ln_rho, known.records)
    if split is None:
        return None
    at = _two_lines(known.days, known.ln_rho, split)
    middle = _on(at, known.days, split)
    donors = known.families.donors(rng, len(known.trend.slope_draws))
    worlds = middle + (known.ln_rho - middle)[donors]
    noise = _two_lines(np.broadcast_to(known.days, worlds.shape), worlds, split)
    usable = noise[np.isfinite(noise).all(axis=(1, 2))]
    if not len(usable):
        return None
    drawn = known.stretched(2 * at - np.resize(usable, noise.shape), rng)
    return lambda days: _on(drawn[:, None], days, split)


def best_break(days: Array, ln_rho: Array, records: NDArray[np.bool_]) -> float | None:
    """The first day after the break of the two lines that describe the records best; None where one line does, by BIC.

    Arrays have shape (n,). Either side has three records.
    """
    on, values = days[records], ln_rho[records]
    costs: dict[float | None, float] = {None: _bic(on, values, [np.ones(len(on), dtype=bool)])}
    for split in on[FEWEST_RECORDS_A_SIDE : len(on) - FEWEST_RECORDS_A_SIDE + 1]:
        costs[float(split)] = _bic(on, values, [on < split, on >= split])
    return min(costs, key=lambda split: costs[split])


def _bic(days: Array, values: Array, sides: Sequence[NDArray[np.bool_]]) -> float:
    """n ln(SSE / n) + k ln n of a line a side; k counts slopes and intercepts, breaks, and the spread."""
    squares = 0.0
    for side in sides:
        slope, intercept = line_through(days, values, side)
        squares += float(np.sum((values - intercept - slope * days)[side] ** 2))
    count, coefficients = len(days), 3 * len(sides)
    return count * float(np.log(max(squares / count, LEAST_VARIANCE))) + coefficients * float(np.log(count))


def _two_lines(days: Array, values: Array, split: float) -> Array:
    """Slope and intercept through the records of each side of a day, shape (..., 2 sides, 2)."""
    records = frontier_mask(days, values)
    sides = records & (days < split), records & (days >= split)
    return np.stack([np.stack(line_through(days, values, side), axis=-1) for side in sides], axis=-2)


def _on(lines: Array, days: Array, split: float) -> Array:
    """Broken lines, shape (..., 2 sides, 2), at days that broadcast against the leading axes."""
    before, after = lines[..., 0, :], lines[..., 1, :]
    return np.asarray(
        np.where(days < split, before[..., 1] + before[..., 0] * days, after[..., 1] + after[..., 0] * days)
    )
