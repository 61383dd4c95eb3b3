"""What a trend rests on: families left out one at a time, a break at a date, and where it points.

The break test asks whether the frontier grows at another rate after a date (the publication asks it of
2022-11-30). Its null worlds have the one line and deficits resampled by family, like those behind the interval,
so the small number of records and their bias are in the p-value. Records that are lower bounds count at their bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.trend.entering import TrendPoint
from sparsity_lab.fitting.density.trend.families import Families, deficit_worlds
from sparsity_lab.fitting.density.trend.records import frontier_mask, line_through
from sparsity_lab.fitting.density.trend.trend import DAYS_A_YEAR, DensityTrend, fit_trend, frontier
from sparsity_lab.laws._law import Array

DRAWS = 1000
FEWEST_RECORDS_A_SIDE = 3
FURTHEST_YEARS = 10


@dataclass(frozen=True)
class BreakTest:
    """Growth of the frontier before and from a date on, per day; `p_value` of no difference."""

    at: date
    before: float
    after: float
    records_before: int
    records_after: int
    p_value: float


@dataclass(frozen=True)
class TrendProjection:
    """rho_max on a day with its 95 % band."""

    on: date
    low: float
    middle: float
    high: float


def leave_one_out(points: Sequence[TrendPoint], *, seed: int) -> dict[str, DensityTrend | None]:
    """The trend without each lineage (all Qwen, all Llama ...); None where none is left."""
    trends: dict[str, DensityTrend | None] = {}
    for lineage in sorted({p.lineage for p in points}):
        rest = [p for p in points if p.lineage != lineage]
        try:
            trends[lineage] = fit_trend(rest, seed=seed, draws=DRAWS)
        except SparsityLabError:
            trends[lineage] = None
    return trends


def break_test(points: Sequence[TrendPoint], at: date, *, seed: int) -> BreakTest:
    """Compare the frontier's growth before `at` and from it on.

    Raises:
        SparsityLabError: fewer than three frontier models, or fewer than three on a side.
    """
    kept, records = frontier(points)
    origin = kept[0].released
    days = np.array([(p.released - origin).days for p in kept], dtype=float)
    ln_rho = np.array([p.ln_rho for p in kept])
    split = float((at - origin).days)
    before, after, counts = _two_slopes(days, ln_rho, split)
    if min(int(counts[0]), int(counts[1])) < FEWEST_RECORDS_A_SIDE or not np.isfinite(before + after):
        raise SparsityLabError(
            f"There is no break to test at {at}",
            why=f"{int(counts[0])} frontier models lie before it and {int(counts[1])} after; each side needs "
            f"{FEWEST_RECORDS_A_SIDE}",
            fix="Name a date inside the frontier, or add dated models",
        )
    slope = float(line_through(days, ln_rho, records)[0])
    donors = Families([p.lineage for p in kept]).donors(np.random.default_rng(seed), DRAWS)
    worlds = deficit_worlds(days, ln_rho, slope, donors)
    many_before, many_after, _ = _two_slopes(np.broadcast_to(days, worlds.shape), worlds, split)
    differences = (many_after - many_before)[np.isfinite(many_after - many_before)]
    centre = np.median(differences) if len(differences) else 0.0
    extreme = np.abs(differences - centre) >= abs(float(after - before) - centre)
    p_value = (1 + int(extreme.sum())) / (1 + len(differences))
    return BreakTest(at, float(before), float(after), int(counts[0]), int(counts[1]), p_value)


def project(trend: DensityTrend, on: date) -> TrendProjection:
    """rho_max on a day, by the corrected line; the band is the line's, not a single model's.

    Raises:
        SparsityLabError: as `refuse_far`.
    """
    refuse_far(trend, on)
    low, middle, high = (float(np.exp(v[0])) for v in trend.ln_rho_max(np.array([(on - trend.origin).days])))
    return TrendProjection(on, low, middle, high)


def refuse_far(trend: DensityTrend, on: date) -> None:
    """Refuse a day so far from the models that a line through them says nothing of it.

    Raises:
        SparsityLabError: it lies more than ten years before the first or after the last model.
    """
    years = max((trend.origin - on).days, (on - trend.last).days) / DAYS_A_YEAR
    if years > FURTHEST_YEARS:
        raise SparsityLabError(
            f"The trend says nothing of {on}",
            why=f"Its models are of {trend.origin} to {trend.last}",
            fix=f"Name a day no more than {FURTHEST_YEARS} years before or after them",
        )


def _two_slopes(days: Array, ln_rho: Array, split: float) -> tuple[Array, Array, tuple[Array, Array]]:
    records = frontier_mask(days, ln_rho)
    sides = records & (days < split), records & (days >= split)
    slopes = [line_through(days, ln_rho, side)[0] for side in sides]
    return slopes[0], slopes[1], (sides[0].sum(-1), sides[1].sum(-1))
