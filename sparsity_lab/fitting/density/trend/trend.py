"""The frontier of density by release date, and its growth: ln rho_max = A t + B, t in days.

Frontier: models that set a new maximum of rho (of several on one day, the best). The published estimate is
the least-squares line through them. Records start late: the first model is a record wherever it lies, so
this line is too steep, by 5 to 20 % in planted worlds of this size. The interval resamples the models'
deficits to the line over the release dates, measures that bias, and reflects the bootstrap distribution
about the estimate (a basic interval); the percentile interval of resampled models, which undercovers, is
given as well.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.densities import Density
from sparsity_lab.laws._law import Array

log = logging.getLogger(__name__)

Interval = tuple[float, float]

DRAWS = 2000
FEWEST_RECORDS = 3
CHIP_DOUBLING_YEARS = 2.1
DAYS_A_YEAR = 365.25
MORE_DATES = "Add dated models that set a new maximum, earlier or later"


@dataclass(frozen=True)
class TrendPoint:
    """One dated density: rho > 0, and draws of ln rho under the ruler's uncertainty alone, shape (B,)."""

    model: str
    released: date
    ln_rho: float
    ruler_draws: Array
    lineage: str


@dataclass(frozen=True)
class DensityTrend:
    """ln rho_max = A t + B with t in days from `origin`.

    Attributes:
        origin, last: dates of the first and of the last model.
        slope: A per day, least squares over the frontier, as published.
        interval: of A, corrected for the records' bias; carries the ruler's uncertainty.
        resampled: percentile interval of A when models are resampled.
        corrected: A less the records' bias.
        doubling_days, doubling_interval: ln 2 / A; None where A is not positive.
        r2: of the frontier; running maxima rise by construction, so it is high by construction.
        frontier: models in order of date. models: how many entered.
        slope_draws, intercept_draws: lines behind the interval and the band.
    """

    origin: date
    last: date
    slope: float
    intercept: float
    interval: Interval
    resampled: Interval
    corrected: float
    r2: float
    doubling_days: float | None
    doubling_interval: tuple[float | None, float | None]
    frontier: tuple[str, ...]
    models: int
    slope_draws: Array
    intercept_draws: Array

    def ln_rho_max(self, days: Array) -> tuple[Array, Array, Array]:
        """Low, middle and high of ln rho_max at days from the origin."""
        lines = self.intercept_draws[:, None] + self.slope_draws[:, None] * days[None]
        low, high = np.quantile(lines, [0.025, 0.975], axis=0)
        return low, self.intercept + self.slope * days, high


def fit_trend(points: Sequence[TrendPoint], *, seed: int, draws: int = DRAWS) -> DensityTrend:
    """Fit the frontier's growth.

    Raises:
        SparsityLabError: fewer than three models set a new maximum.
    """
    ordered = sorted(points, key=lambda p: (p.released, p.model))
    if len({p.released for p in ordered}) < FEWEST_RECORDS:
        raise SparsityLabError(
            f"There is no trend in {len(ordered)} dated densities",
            why=f"They lie on fewer than {FEWEST_RECORDS} dates",
            fix="Add dated models, or choose a ruler that reaches more of them",
        )
    origin = ordered[0].released
    days = np.array([(p.released - origin).days for p in ordered], dtype=float)
    ln_rho = np.array([p.ln_rho for p in ordered])
    records = frontier_mask(days, ln_rho)
    slope, intercept = (float(v) for v in line_through(days, ln_rho, records))
    if not np.isfinite(slope):
        raise SparsityLabError(
            f"Only {int(records.sum())} models set a new maximum; a trend needs two dates", fix=MORE_DATES
        )
    rng = np.random.default_rng(seed)
    noise = _deficit_draws(days, ln_rho, slope, rng=rng, draws=draws)
    ruler = _ruler_draws(days, np.stack([p.ruler_draws for p in ordered]), rng=rng, draws=draws)
    ruler -= np.array([slope, intercept])
    lines = np.array([2 * slope, 2 * intercept]) - noise + np.where(np.isfinite(ruler), ruler, 0.0)
    low, high = (float(v) for v in np.quantile(lines[:, 0], [0.025, 0.975]))
    return DensityTrend(
        origin=origin, last=ordered[-1].released, slope=slope, intercept=intercept, interval=(low, high),
        resampled=_resampled(days, ln_rho, rng=rng, draws=draws),
        corrected=2 * slope - float(noise[:, 0].mean()),
        r2=_r2(days[records], ln_rho[records], slope, intercept),
        doubling_days=_doubling(slope), doubling_interval=(_doubling(high), _doubling(low)),
        frontier=tuple(p.model for p, is_record in zip(ordered, records, strict=True) if is_record),
        models=len(ordered), slope_draws=lines[:, 0], intercept_draws=lines[:, 1],
    )  # fmt: skip


def try_trend(
    measured: Sequence[Density], points: Sequence[TrendPoint], *, seed: int
) -> tuple[DensityTrend | None, str]:
    """The trend of those of the densities that may enter it, `points`; or None and why there is none."""
    try:
        trend = fit_trend(points, seed=seed)
    except SparsityLabError as error:
        log.info("no trend: %s", error.paragraph())
        return None, error.paragraph()
    censored = sum(d.rho is None and d.released is not None for d in measured)
    note = f"{censored} dated models have a bound instead of a number and are left out" if censored else ""
    return trend, note


def trend_points(
    measured: Sequence[Density], *, tasks: Sequence[str], partial: bool = False, mixtures: bool = False
) -> list[TrendPoint]:
    """Dated models with a number; dense ones with all tasks unless told otherwise."""
    return [
        TrendPoint(
            d.target.model,
            d.released,
            float(np.log(d.rho)),
            d.inversion.ln_size_ruler_draws - np.log(d.size),
            d.target.lineage,
        )
        for d in measured
        if d.released is not None
        and d.rho is not None
        and (partial or len(d.tasks) == len(tasks))
        and (mixtures or not d.target.moe)
    ]


def frontier_mask(days: Array, ln_rho: Array) -> NDArray[np.bool_]:
    """Which entries set a new maximum by date; arrays of shape (..., n), any order of dates."""
    order = np.lexsort((-ln_rho, days), axis=-1)
    sorted_values = np.take_along_axis(ln_rho, order, -1)
    best = np.maximum.accumulate(sorted_values, axis=-1)
    is_record = np.ones(sorted_values.shape, dtype=bool)
    is_record[..., 1:] = sorted_values[..., 1:] > best[..., :-1]
    is_record &= np.isfinite(sorted_values)
    mask = np.zeros_like(is_record)
    np.put_along_axis(mask, order, is_record, -1)
    return mask


def line_through(days: Array, ln_rho: Array, mask: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Slope and intercept of the least-squares line through the masked entries; NaN on a single date.

    The law `densing` is the same line; here it is fitted to thousands of resampled frontiers at once.
    """
    values = np.where(mask, ln_rho, 0.0)
    count = np.maximum(mask.sum(-1), 1)  # an empty frontier gives NaN below, by its square of 0
    mean_day, mean = (days * mask).sum(-1) / count, values.sum(-1) / count
    centred = (days - mean_day[..., None]) * mask
    square = (centred**2).sum(-1)
    slope = np.where(square > 0, (centred * values).sum(-1) / np.where(square > 0, square, 1.0), np.nan)
    return slope, mean - slope * mean_day


def _lines(days: Array, values: Array) -> Array:
    return np.stack(line_through(days, values, frontier_mask(days, values)), axis=1)


def _deficit_draws(
    days: Array, ln_rho: Array, slope: float, *, rng: np.random.Generator, draws: int
) -> Array:
    """Frontier lines (slope, intercept) of worlds with this slope and resampled deficits."""
    deficits = ln_rho - slope * days
    chosen = deficits[rng.integers(0, len(days), (draws, len(days)))]
    lines = _lines(np.broadcast_to(days, chosen.shape), slope * days + chosen)
    return lines[np.isfinite(lines[:, 0])] if np.isfinite(lines[:, 0]).all() else _refilled(lines)


def _refilled(lines: Array) -> Array:
    # A world whose first model stays the only record has no line; its place goes to the others in turn.
    finite = lines[np.isfinite(lines[:, 0])]
    if not len(finite):
        raise SparsityLabError(
            "The frontier rests on one model: no interval can be had by resampling", fix=MORE_DATES
        )
    return np.resize(finite, lines.shape)


def _ruler_draws(days: Array, ln_rhos: Array, *, rng: np.random.Generator, draws: int) -> Array:
    """Frontier lines when the ruler moves; `ln_rhos` is (n, B). Models out of a draw's reach drop out."""
    columns = rng.integers(0, ln_rhos.shape[1], draws)
    values = np.where(np.isfinite(ln_rhos), ln_rhos, -np.inf)[:, columns].T
    return _lines(np.broadcast_to(days, values.shape), values)


def _resampled(days: Array, ln_rho: Array, *, rng: np.random.Generator, draws: int) -> Interval:
    chosen = rng.integers(0, len(days), (draws, len(days)))
    slopes = _lines(days[chosen], ln_rho[chosen])[:, 0]
    low, high = np.quantile(slopes[np.isfinite(slopes)], [0.025, 0.975])
    return float(low), float(high)


def _r2(days: Array, ln_rho: Array, slope: float, intercept: float) -> float:
    total = float(np.sum((ln_rho - ln_rho.mean()) ** 2))
    return 1 - float(np.sum((ln_rho - intercept - slope * days) ** 2)) / total if total > 0 else 0.0


def _doubling(slope: float) -> float | None:
    return float(np.log(2) / slope) if slope > 0 else None


def chip_doubling_days(trend: DensityTrend, *, chip_years: float = CHIP_DOUBLING_YEARS) -> float | None:
    """Days in which what one chip price can run doubles: rates of models and of chips add up."""
    rate = trend.slope + np.log(2) / (chip_years * DAYS_A_YEAR)
    return float(np.log(2) / rate) if rate > 0 else None
