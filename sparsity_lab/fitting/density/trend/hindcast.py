"""The trend tried on the past: fitted up to the end of each quarter, it foresees the densest model of the next four.

What is foreseen is the maximum of rho among the models released *in* a quarter that enter the trend. The maximum so far
would be the easier thing to foresee, since for most quarters it is what is already known. A quarter without such a
model has no maximum and is left out; the table's last quarter is foreseen up to the day of its last model.

The first quarter is the one at whose end there is a trend in models of two quarters at least, and no forecast reaches
further ahead than its models reach back. Rulers and densities are those of today: it is the growth that is tried, not
the ruler.

Forecasts are compared by the share of maxima that their 50 % and 95 % bands hold, by the mean absolute error of ln rho,
and by the continuous ranked probability score (Gneiting and Raftery, Strictly proper scoring rules, prediction, and
estimation, JASA 2007), which is the least, on average, for a forecast that says what it should. Where the maximum is a
lower bound, a band that reaches above it counts as holding it, the error is 0 unless the bound lies above the middle,
and the score counts the part below the bound (the right-censored score of arXiv 1806.08324).

The maxima of one quarter are foreseen up to four times, and the forecasts made on one day share their line: such hits
are not independent. Forecasts of the next quarter each have an outcome of their own, that none before has seen, so that
their hits are independent if the forecasts are right: they have the binomial interval (Clopper-Pearson). For all
forecasts together it is that of as many trials as quarters were foreseen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.inversion import LARGEST_EXPONENT
from sparsity_lab.fitting.density.trend.entering import TrendPoint
from sparsity_lab.fitting.density.trend.forecasts import FORECASTS, TREND, Known, Quarter, lines_of, maxima
from sparsity_lab.fitting.quantiles import binomial_interval
from sparsity_lab.laws._law import Array

DRAWS = 1000
MOST_AHEAD = 4
FEWEST_QUARTERS = 2
LEVELS = (50, 95)
NEXT, ALL = "1", f"1 to {MOST_AHEAD}"
Row = dict[str, object]


@dataclass(frozen=True)
class Hindcast:
    """One row a forecast of a quarter, and one row of scores a kind of forecast and how far it looks ahead."""

    rows: tuple[Row, ...]
    scores: tuple[Row, ...]

    def score(self, forecast: str, ahead: str) -> Row:
        """The scores of one kind of forecast."""
        return next(row for row in self.scores if row["forecast"] == forecast and row["ahead"] == ahead)

    @property
    def best(self) -> str:
        """The kind of forecast with the least mean score over all quarters ahead."""
        return min(FORECASTS, key=lambda forecast: float(str(self.score(forecast, ALL)["crps"])))


def hindcast(points: Sequence[TrendPoint], *, seed: int) -> Hindcast:
    """Foresee each quarter from the ends of those before it.

    Raises:
        SparsityLabError: no quarter with models follows one at whose end there is a trend.
    """
    by_quarter: dict[Quarter, list[TrendPoint]] = {}
    for point in sorted(points, key=lambda p: (p.released, p.model)):
        by_quarter.setdefault(Quarter.of(point.released), []).append(point)
    rows = [
        row
        for known in _origins(points, by_quarter, seed=seed)
        for row in _from(known, by_quarter, seed=seed)
    ]
    if not rows:
        raise SparsityLabError(
            f"There is nothing to foresee in {len(points)} dated densities of {len(by_quarter)} quarters",
            why="A quarter with models has to follow the first at whose end there is a trend, which needs three "
            f"records in {FEWEST_QUARTERS} quarters",
            fix="Add dated models",
        )
    return Hindcast(tuple(rows), tuple(_score_rows(rows)))


def try_hindcast(points: Sequence[TrendPoint], *, seed: int) -> tuple[Hindcast | None, str]:
    """The hindcast; or None and why there is none."""
    try:
        return hindcast(points, seed=seed), ""
    except SparsityLabError as error:
        return None, error.paragraph()


def _origins(
    points: Sequence[TrendPoint], by_quarter: dict[Quarter, list[TrendPoint]], *, seed: int
) -> list[Known]:
    """What is known at the end of each quarter at which there is a trend, the last one left out."""
    first, last = min(by_quarter, default=Quarter(0)), max(by_quarter, default=Quarter(0))
    origins = []
    for ahead in range(FEWEST_QUARTERS - 1, last.number - first.number):
        try:
            origins.append(Known.at_end_of(first.later(ahead), points, seed=seed, draws=DRAWS))
        except SparsityLabError:
            continue
    return origins


def _from(known: Known, by_quarter: dict[Quarter, list[TrendPoint]], *, seed: int) -> list[Row]:
    """The forecasts made at the end of one quarter, with what was then observed."""
    reach = known.last.number - min(by_quarter).number + 1
    until = max(by_quarter[max(by_quarter)], key=lambda p: p.released).released
    rows = []
    lines = lines_of(known, seed=seed)
    for ahead in range(1, min(MOST_AHEAD, reach) + 1):
        coming = known.last.later(ahead)
        for forecast in FORECASTS if coming in by_quarter else ():
            # All kinds of forecast draw alike, so that they differ in their lines alone.
            rng = np.random.default_rng([seed, known.last.number, ahead])
            draws = maxima(known, lines[forecast], coming, until=until, rng=rng)
            place = {
                "origin": str(known.last), "known": len(known.points), "ahead": ahead, "quarter": str(coming),
                "models": len(by_quarter[coming]),
            }  # fmt: skip
            rows.append({**place, "forecast": forecast, **_judged(draws, by_quarter[coming])})
    return rows


def _judged(draws: Array, released: Sequence[TrendPoint]) -> Row:
    """A forecast's bands and scores for the densest of the models released."""
    densest = max(released, key=lambda p: p.ln_rho)
    middle, value = float(np.median(draws)), densest.ln_rho
    row: Row = {
        "model": densest.model, "rho_max": _rho(value), "bound": densest.bounded,
        "rho_middle": _rho(middle),
    }  # fmt: skip
    for level in LEVELS:
        low, high = np.quantile(draws, [0.5 - level / 200, 0.5 + level / 200])
        row |= {
            f"low_{level}": _rho(low), f"high_{level}": _rho(high),
            f"held_{level}": bool(value <= high and (densest.bounded or value >= low)),
        }  # fmt: skip
    error = max(value - middle, 0.0) if densest.bounded else value - middle
    return {**row, "error": error, "crps": ranked_score(draws, value, bounded=densest.bounded)}


def _rho(ln_rho: float) -> float | None:
    """The density of a logarithm; None where no number is so large, as the bands of a steep early trend may be."""
    return float(np.exp(ln_rho)) if ln_rho < LARGEST_EXPONENT else None


def ranked_score(draws: Array, value: float, *, bounded: bool = False) -> float:
    """The integral of (F(z) - [z >= value])^2 over z, F of the draws; for a lower bound, up to `value`."""
    ordered, count = np.sort(draws), len(draws)
    # F^2 is the distribution of the larger of two draws, (1 - F)^2 the tail of the smaller.
    larger = (2 * np.arange(1, count + 1) - 1) / count**2
    below = float(np.sum(larger * np.maximum(value - ordered, 0.0)))
    return below if bounded else below + float(np.sum(larger[::-1] * np.maximum(ordered - value, 0.0)))


def _score_rows(rows: Sequence[Row]) -> list[Row]:
    """Hits with their intervals, mean errors and mean scores of each kind of forecast."""
    scores = []
    for ahead in (NEXT, ALL):
        for forecast in FORECASTS:
            mine = [
                row for row in rows if row["forecast"] == forecast and (ahead == ALL or row["ahead"] == 1)
            ]
            if not mine:
                continue
            quarters = len({row["quarter"] for row in mine})
            row: Row = {"forecast": forecast, "ahead": ahead, "forecasts": len(mine), "quarters": quarters}
            for level in LEVELS:
                held = sum(bool(r[f"held_{level}"]) for r in mine)
                low, high = binomial_interval(quarters * held / len(mine), quarters)
                row |= {
                    f"held_{level}": held, f"share_{level}": held / len(mine), f"share_{level}_low": low,
                    f"share_{level}_high": high,
                }  # fmt: skip
            row["mean_error"] = float(np.mean([abs(float(str(r["error"]))) for r in mine]))
            scores.append({**row, "crps": float(np.mean([float(str(r["crps"])) for r in mine]))})
    return scores


def hindcast_sentence(tried: Hindcast) -> str:
    """The hindcast in one sentence: hits of the trend's bands, and the scores of all forecasts."""
    everything = tried.score(TREND, ALL)
    origins = len({row["origin"] for row in tried.rows})
    following = next((row for row in tried.scores if row["ahead"] == NEXT), None)
    parts = [
        f"the 95 % band of the trend held {held_words(everything, 95)} and the 50 % band {held_words(everything, 50)}"
    ]
    if following:
        parts.append(f"of the next quarter alone {held_words(following, 95)} and {held_words(following, 50)}")
    scores = ", ".join(f"{name} {tried.score(name, ALL)['crps']:.3g}" for name in FORECASTS)
    return (
        f"Hindcast from the ends of {origins} quarters: of the maxima of {everything['quarters']} later quarters, "
        f"{'; '.join(parts)}. Mean score (CRPS of ln rho, less is better): {scores}"
    )


def held_words(row: Row, level: int) -> str:
    """How many maxima a band held, with the interval of the share."""
    low, high = (100 * float(str(row[f"share_{level}_{end}"])) for end in ("low", "high"))
    return f"{row[f'held_{level}']} of {row['forecasts']} (share: 95 % interval {low:.0f} to {high:.0f} %)"
