"""The frontier of density by release date, and its growth: ln rho_max = A t + B, t in days.

Frontier: models that set a new maximum of rho (of several on one day, the best). The published estimate is the
least-squares line through them. Records start late: the first model is a record wherever it lies, so this line is too
steep, by 5 to 20 % in planted worlds of this size. The headline is the line less that bias: worlds with this line's
slope and the models' deficits to it, resampled, have frontiers steeper by so much.

The interval reflects the distribution of those worlds' lines about the estimate (a basic interval), and carries the
ruler's uncertainty. Deficits are resampled by family (`families.py`), because models of one family, often of one day,
are good or bad together. The percentile interval of resampled families, which undercovers, is given as well. Records
beyond the ruler are lower bounds (`beyond.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
from numpy.typing import NDArray

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.densities import Density
from sparsity_lab.fitting.density.trend.beyond import CensoredLine, line_of_records
from sparsity_lab.fitting.density.trend.entering import Entering, TrendPoint, left_out
from sparsity_lab.fitting.density.trend.families import Families, deficit_worlds
from sparsity_lab.fitting.density.trend.records import frontier_mask, record_lines
from sparsity_lab.laws._law import Array

Interval = tuple[float, float]

DRAWS = 2000
FEWEST_RECORDS = 3
CHIP_DOUBLING_YEARS = 2.1
DAYS_A_YEAR = 365.25
MORE_DATES = "Add dated models that set a new maximum, earlier or later"


@dataclass(frozen=True)
class DensityTrend:
    """ln rho_max = A t + B with t in days from `origin`.

    Attributes:
        origin, last: dates of the first and of the last model.
        corrected, corrected_intercept: A per day and B, less the records' bias: the headline.
        interval: of A, 95 %; carries the ruler's uncertainty.
        slope, intercept: A and B as published, by least squares over the frontier.
        resampled: percentile interval of the published A when families are resampled.
        r2: of the frontier; running maxima rise by construction, so it is high by construction.
        frontier: models in order of date. bounded: those of them that are lower bounds.
        models, families: how many entered.
        slope_draws, intercept_draws: lines behind the interval and the band, shape (draws,).
        ruler_columns: which draw of the ruler each line was made with, shape (draws,).
    """

    origin: date
    last: date
    corrected: float
    corrected_intercept: float
    interval: Interval
    slope: float
    intercept: float
    resampled: Interval
    r2: float
    frontier: tuple[str, ...]
    bounded: tuple[str, ...]
    models: int
    families: int
    slope_draws: Array = field(repr=False)
    intercept_draws: Array = field(repr=False)
    ruler_columns: NDArray[np.intp] = field(repr=False)

    @property
    def doubling_days(self) -> float | None:
        """ln 2 over the corrected A; None where it is not positive."""
        return doubling(self.corrected)

    @property
    def doubling_interval(self) -> tuple[float | None, float | None]:
        """The interval of A as doubling times; an end is None where A may be zero or less."""
        return doubling(self.interval[1]), doubling(self.interval[0])

    def lines(self, days: Array) -> Array:
        """ln rho_max of every draw, shape (draws, days)."""
        return np.asarray(self.intercept_draws[:, None] + self.slope_draws[:, None] * days[None])

    def ln_rho_max(self, days: Array) -> tuple[Array, Array, Array]:
        """Low, middle (the corrected line) and high of ln rho_max at days from the origin."""
        low, high = np.quantile(self.lines(days), [0.025, 0.975], axis=0)
        return low, self.corrected_intercept + self.corrected * days, high


def fit_trend(points: Sequence[TrendPoint], *, seed: int, draws: int = DRAWS) -> DensityTrend:
    """Fit the frontier's growth.

    Raises:
        SparsityLabError: fewer than three models with a number set a new maximum.
    """
    kept, records = frontier(points)
    origin, names = kept[0].released, [p.model for p in kept]
    days = np.array([(p.released - origin).days for p in kept], dtype=float)
    ln_rho, bounded = np.array([p.ln_rho for p in kept]), np.array([p.bounded for p in kept])
    line, families = line_of_records(days, ln_rho, records, bounded), Families([p.lineage for p in kept])
    at = np.array([line.slope, line.intercept])
    rng = np.random.default_rng(seed)
    donors = families.donors(rng, draws)
    noise = refilled(record_lines(days, deficit_worlds(days, ln_rho + line.lift, line.slope, donors)))
    ruler_draws = np.stack([p.ruler_draws for p in kept])
    columns = rng.integers(0, ruler_draws.shape[1], draws)
    moved = _moved_lines(days, ruler_draws[:, columns].T, line.lifts(bounded, rng, draws)) - at
    lines = 2 * at - noise + np.where(np.isfinite(moved), moved, 0.0)
    low, high = (float(v) for v in np.quantile(lines[:, 0], [0.025, 0.975]))
    corrected = 2 * at - noise.mean(0)
    numbers = records & ~bounded
    return DensityTrend(
        origin=origin, last=kept[-1].released, corrected=float(corrected[0]), corrected_intercept=float(corrected[1]),
        interval=(low, high), slope=line.slope, intercept=line.intercept,
        resampled=_resampled(days, ln_rho, line, families.present(rng, draws)),
        r2=_r2(days[numbers], ln_rho[numbers], line.slope, line.intercept),
        frontier=tuple(np.array(names)[records].tolist()),
        bounded=tuple(np.array(names)[records & bounded].tolist()),
        models=len(kept), families=len(families), slope_draws=lines[:, 0], intercept_draws=lines[:, 1],
        ruler_columns=columns,
    )  # fmt: skip


def try_trend(
    measured: Sequence[Density], points: Sequence[TrendPoint], entering: Entering, *, seed: int
) -> tuple[DensityTrend | None, str]:
    """The trend of those of the densities that may enter it, `points`; or None and why there is none.

    Where there is a trend, the text says which records are lower bounds, and how many models are left out.
    """
    out = left_out(measured, entering)
    try:
        trend = fit_trend(points, seed=seed)
    except SparsityLabError as error:
        return None, error.paragraph() + (f" Not in it: {out}." if out else "")
    bounds = f"Records known by a lower bound alone: {', '.join(trend.bounded)}" if trend.bounded else ""
    alone = "All models are of one family, and the interval takes them as independent" * (trend.families == 1)
    entered = {point.model for point in points}
    distilled = all(density.target.distilled for density in measured if density.target.model in entered)
    outputs = "All models are distilled from larger ones" * distilled
    return trend, "; ".join(
        note
        for note in (bounds, alone, outputs, f"Dated models not in the trend: {out}" if out else "")
        if note
    )


def frontier(points: Sequence[TrendPoint]) -> tuple[list[TrendPoint], NDArray[np.bool_]]:
    """The points by date, without the bounds that are not records, and which of them are records.

    Raises:
        SparsityLabError: fewer than three models with a number set a new maximum.
    """
    ordered = sorted(points, key=lambda p: (p.released, p.model))
    days = np.array([p.released.toordinal() for p in ordered], dtype=float)
    records = frontier_mask(days, np.array([p.ln_rho for p in ordered]))
    numbers = sum(bool(is_record) and not p.bounded for p, is_record in zip(ordered, records, strict=True))
    if numbers < FEWEST_RECORDS:
        bounds = int(records.sum()) - numbers
        raise SparsityLabError(
            f"There is no trend in {len(ordered)} dated {'density' if len(ordered) == 1 else 'densities'}",
            why=f"{numbers} of them set a new maximum when they were released"
            + (f", and {bounds} more by a lower bound alone" if bounds else "")
            + f"; a trend needs {FEWEST_RECORDS}",
            fix=MORE_DATES + ", or choose a ruler that reaches more of them",
        )
    stay = [bool(is_record) or not p.bounded for p, is_record in zip(ordered, records, strict=True)]
    return [p for p, stays in zip(ordered, stay, strict=True) if stays], records[stay]


def refilled(lines: Array) -> Array:
    """Lines of worlds; one whose first model stays the only record has none, and its place goes to the others in turn.

    Raises:
        SparsityLabError: no world has a line.
    """
    finite = lines[np.isfinite(lines[:, 0])]
    if not len(finite):
        raise SparsityLabError(
            "The frontier rests on one model: no interval can be had by resampling", fix=MORE_DATES
        )
    return np.resize(finite, lines.shape)


def _moved_lines(days: Array, values: Array, lifts: Array) -> Array:
    """Lines through the records when the ruler moves and bounds are lifted; models out of a draw's reach drop out."""
    return record_lines(days, np.where(np.isfinite(values), values, -np.inf), lifts)


def _resampled(days: Array, ln_rho: Array, line: CensoredLine, present: NDArray[np.bool_]) -> Interval:
    slopes = record_lines(days, np.where(present, ln_rho, -np.inf), line.lift)[:, 0]
    low, high = np.quantile(slopes[np.isfinite(slopes)], [0.025, 0.975])
    return float(low), float(high)


def _r2(days: Array, ln_rho: Array, slope: float, intercept: float) -> float:
    total = float(np.sum((ln_rho - ln_rho.mean()) ** 2))
    return 1 - float(np.sum((ln_rho - intercept - slope * days) ** 2)) / total if total > 0 else 0.0


def doubling(slope: float) -> float | None:
    """Days in which rho_max doubles at a growth per day; None where it does not grow."""
    return float(np.log(2) / slope) if slope > 0 else None


def chip_doubling_days(trend: DensityTrend, *, chip_years: float = CHIP_DOUBLING_YEARS) -> float | None:
    """Days in which what one chip price can run doubles: rates of models and of chips add up."""
    return doubling(trend.corrected + float(np.log(2)) / (chip_years * DAYS_A_YEAR))
