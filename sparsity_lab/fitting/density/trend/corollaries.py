"""What follows from the trend (Densing Law, arXiv 2412.04315, section on corollaries).

Compressed models against their sources; parameters needed for one score over time; the halving of inference
prices at a given score. Where the ruler cannot tell a size, these have a bound on one side, as rho has: never a number
that is the ruler's form alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.densities import Density, Yardstick, densities
from sparsity_lab.fitting.density.inversion import BEYOND, EXTRAPOLATION_LIMIT, invert
from sparsity_lab.fitting.density.measure import measure_density
from sparsity_lab.fitting.density.options import DensityOptions
from sparsity_lab.fitting.density.rulers.ruler import Ruler
from sparsity_lab.fitting.density.trend.entering import TrendPoint
from sparsity_lab.fitting.density.trend.trend import FEWEST_RECORDS, DensityTrend, doubling, fit_trend
from sparsity_lab.fitting.density.trend.trend_checks import refuse_far
from sparsity_lab.laws._law import Array
from sparsity_lab.reading.csv_rows import CsvRow, read_rows
from sparsity_lab.store import bundled
from sparsity_lab.store.records import prepare_output, write_json
from sparsity_lab.store.table_columns.density import NEEDED, PAIRS, PRICES


def run_pairs(
    pairs: Path | None, *, output: Path, options: DensityOptions, seed: int = 0
) -> list[dict[str, object]]:
    """Densities, then `compare_pairs`, written to `pairs.{csv,md,json}`; by default the bundled pairs.

    Raises:
        SparsityLabError: as `compare_pairs` and `measure_density`.
    """
    prepare_output(output)
    report = measure_density(seed=seed, options=replace(options, sensitivity=False, hindcast=False))
    rows = compare_pairs(bundled.table(pairs or "density-pairs"), report.densities, report.yardstick)
    PAIRS.write(output, rows)
    write_json(output / "pairs.json", rows)
    return rows


def run_needed(
    score: float, *, dates: Sequence[date], output: Path, options: DensityOptions, seed: int = 0
) -> list[dict[str, object]]:
    """Densities and trend, then `parameters_needed`, written to `needed.{csv,md,json}`.

    Raises:
        SparsityLabError: there is no trend.
    """
    prepare_output(output)
    report = measure_density(seed=seed, options=replace(options, sensitivity=False, hindcast=False))
    if report.trend is None:
        raise SparsityLabError(
            "Parameters needed over time follow from a trend",
            why=report.trend_note,
            fix="See which models are dated and have a number: `sparsity-lab density` with the same options",
        )
    halves = [report.trend.origin + timedelta(days=182 * number) for number in range(6)]
    rows = parameters_needed(report.trend, report.ruler, report.tasks, score=score, dates=dates or halves)
    NEEDED.write(output, rows)
    write_json(output / "needed.json", rows)
    return rows


def run_prices(prices: Path, *, score: float, output: Path, seed: int = 0) -> PriceTrend:
    """`price_trend`, written to `prices.{csv,md,json}`.

    Raises:
        SparsityLabError: as `price_trend`.
    """
    prepare_output(output)
    fall = price_trend(prices, score=score, seed=seed)
    document = {**vars(fall), "rows": list(fall.rows), "score": score}
    PRICES.write(output, fall.rows)
    write_json(output / "prices.json", document)
    return fall


def price_sentence(fall: PriceTrend) -> str:
    """The fall of prices in one sentence."""
    if fall.halving_days is None:
        return "The cheapest price does not fall."
    low, high = ("open" if v is None else f"{v:.0f}" for v in (fall.halving_low, fall.halving_high))
    uncorrected = doubling(fall.least_squares_decline)
    beside = (
        f"; by least squares over the records, uncorrected, every {uncorrected:.0f}" if uncorrected else ""
    )
    return f"The cheapest price halves every {fall.halving_days:.0f} days (95 % interval {low} to {high}){beside}."


def compare_pairs(pairs: Path, measured: Sequence[Density], yardstick: Yardstick) -> list[dict[str, object]]:
    """Density of each compressed model over that of its source, from a file with `model`, `source`, `method`.

    The ratio's interval uses the same ruler draws for both. Where one of the two has a bound instead of a number, so
    has the ratio. Two models are compared on the tasks that both have; if these are fewer, their
    densities are computed again for these tasks.

    Raises:
        SparsityLabError: a model of the file has no density, or the two share no task.
    """
    by_name = {d.target.model: d for d in measured}
    return [_pair(row, by_name, yardstick) for row in read_rows(pairs, needed=("model", "source"))]


def _pair(row: CsvRow, by_name: dict[str, Density], yardstick: Yardstick) -> dict[str, object]:
    for column in ("model", "source"):
        if row[column].required() not in by_name:
            raise row[column].error(f"The model {row[column].text} has no density in this run")
    model, source = by_name[row["model"].text], by_name[row["source"].text]
    shared = tuple(task for task in model.tasks if task in source.tasks)
    if not shared:
        raise row["model"].error(
            f"{model.target.model} has {', '.join(model.tasks)} and {source.target.model} has "
            f"{', '.join(source.tasks)}",
            fix="Choose --tasks that both have",
        )
    if set(shared) != {*model.tasks, *source.tasks}:
        model, source = densities([model.target, source.target], yardstick, shared)
    low, high = _ratio_interval(model, source)
    verdict = "denser" if low and low > 1 else "less dense" if high and high < 1 else "not told apart"
    return {
        "model": model.target.model,
        "source": source.target.model,
        "method": row["method"].text if "method" in row else "",
        "rho": model.rho,
        "rho_source": source.rho,
        "ratio": model.rho / source.rho if model.rho and source.rho else None,
        "low": low,
        "high": high,
        "verdict": verdict,
        "tasks": ";".join(model.tasks),
    }


def _ratio_interval(model: Density, source: Density) -> tuple[float | None, float | None]:
    """The 95 % interval of rho / rho_source; an end is None where it is open."""
    if model.rho is None or source.rho is None:
        low = model.low / source.high if model.low is not None and source.high is not None else None
        return low, (model.high / source.low if model.high is not None and source.low is not None else None)
    with np.errstate(invalid="ignore"):
        logs = model.draws - source.draws
    # A draw in which both leave the ruler says nothing of their ratio: it counts at either end.
    unknown = np.isnan(logs)
    low_end, high_end = _ends(np.where(unknown, -np.inf, logs))[0], _ends(np.where(unknown, np.inf, logs))[1]
    return low_end, high_end


def _ends(logs: Array) -> tuple[float | None, float | None]:
    """From the 2.5 to the 97.5 % quantile of logarithms, as numbers; None where it is infinite."""
    low, high = np.quantile(logs, 0.025, method="lower"), np.quantile(logs, 0.975, method="higher")
    return tuple(float(np.exp(v)) if np.isfinite(v) else None for v in (low, high))  # type: ignore[return-value]


def parameters_needed(
    trend: DensityTrend, ruler: Ruler, tasks: Sequence[str], *, score: float, dates: Sequence[date]
) -> list[dict[str, object]]:
    """Parameters a frontier model needs for a score on given days: N^(score) / rho_max(t), in 1e9.

    The interval carries the ruler and the trend, each line with the draw of the ruler it was made with. A score near
    the ruler's ceiling, near chance, or whose N^ lies a factor ten beyond the reference sizes has a bound at 95 %
    instead of a number, and an end that too many draws leave open is None, as for rho (`inversion.py`).

    Raises:
        SparsityLabError: a day is more than ten years before the first or after the last model.
    """
    curve = ruler.curve(tasks)
    found = invert(curve, score, errors=np.zeros(len(curve.floor) - 1), sizes=ruler.sizes)
    # Beyond its reach the ruler tells only that a size is larger, or smaller, than the reach's end.
    ends = np.log([ruler.sizes[0] / EXTRAPOLATION_LIMIT, ruler.sizes[1] * EXTRAPOLATION_LIMIT])
    ln_sizes = found.ln_size_ruler_draws[trend.ruler_columns]
    if found.size is None:
        ln_sizes = np.clip(ln_sizes, *ends)
    rows: list[dict[str, object]] = []
    for on in dates:
        refuse_far(trend, on)
        day = np.array([float((on - trend.origin).days)])
        logs, middle = ln_sizes - np.log(1e9) - trend.lines(day)[:, 0], None
        if found.size is not None:
            low, high = _ends(logs)
            middle = float(np.exp(np.log(found.size / 1e9) - trend.ln_rho_max(day)[1][0]))
        elif found.flag == BEYOND:
            low, high = float(np.exp(np.quantile(logs, 0.05, method="lower"))), None
        else:
            low, high = None, float(np.exp(np.quantile(logs, 0.95, method="higher")))
        rows.append({"on": on.isoformat(), "score": score, "params_b": middle, "low_b": low, "high_b": high,
                     "projected": not trend.origin <= on <= trend.last, "flag": found.flag})  # fmt: skip
    return rows


@dataclass(frozen=True)
class PriceTrend:
    """How the cheapest price at or above a score falls; `halving_days` is None where it does not.

    `decline_per_day` of the logarithm is corrected for the records' bias, as the headline of the density trend is;
    `least_squares_decline` is not.
    """

    rows: tuple[dict[str, object], ...]
    decline_per_day: float
    least_squares_decline: float
    halving_days: float | None
    halving_low: float | None
    halving_high: float | None


def price_trend(prices: Path, *, score: float, seed: int = 0, draws: int = 2000) -> PriceTrend:
    """Fit ln(cheapest price so far) against date over models that reach `score`.

    The file has `model`, `release_date`, `price` (any one currency per token count) and `score` (0 to 1). The
    interval resamples the deficits of all eligible models to the line, as the density trend does.

    Raises:
        SparsityLabError: too few models reach the score, or a cell cannot be right.
    """
    points, rows = [], []
    for row in read_rows(prices, needed=("model", "release_date", "price", "score")):
        released, price = row["release_date"].day(), row["price"].number(low=1e-12)
        if row["score"].number(low=0, high=1) < score:
            continue
        logs = -float(np.log(price))
        points.append(TrendPoint(row["model"].required(), released, logs, np.full(2, logs), ""))
        rows.append({"model": row["model"].text, "released": released.isoformat(), "price": price,
                     "score": row["score"].number()})  # fmt: skip
    try:
        trend = fit_trend(points, seed=seed, draws=draws)
    except SparsityLabError:
        raise SparsityLabError(
            f"No fall of prices can be told: models of {prices} that reach a score of {score:g}: {len(points)}",
            why=f"A trend needs {FEWEST_RECORDS} that were the cheapest so far when they were released",
            fix="Add models with dates and prices, or give a lower --score",
        ) from None
    marked = tuple({**row, "cheapest": row["model"] in trend.frontier} for row in rows)
    low, high = trend.doubling_interval
    return PriceTrend(marked, trend.corrected, trend.slope, trend.doubling_days, low, high)
