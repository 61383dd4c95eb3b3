"""What follows from the trend (Densing Law, arXiv 2412.04315, section on corollaries).

Compressed models against their sources; parameters needed for one score over time; the halving of inference
prices at a given score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.densities import Density
from sparsity_lab.fitting.density.measure import measure_density
from sparsity_lab.fitting.density.options import DensityOptions
from sparsity_lab.fitting.density.rulers.ruler import Ruler
from sparsity_lab.fitting.density.trend.trend import DensityTrend, TrendPoint, fit_trend
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
    report = measure_density(seed=seed, options=replace(options, sensitivity=False))
    rows = compare_pairs(pairs or bundled.path("density-pairs"), report.densities)
    PAIRS.write(output, rows)
    write_json(output / "pairs.json", rows)
    return rows


def run_needed(
    score: float, *, dates: Sequence[date], output: Path, options: DensityOptions, seed: int = 0
) -> list[dict[str, object]]:
    """Densities and trend, then `parameters_needed`, written to `needed.{csv,md,json}`.

    Raises:
        SparsityLabError: there is no trend, or the ruler does not reach the score.
    """
    prepare_output(output)
    report = measure_density(seed=seed, options=replace(options, sensitivity=False))
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
    return f"The cheapest price halves every {fall.halving_days:.0f} days (95 % interval {low} to {high})."


def compare_pairs(pairs: Path, measured: Sequence[Density]) -> list[dict[str, object]]:
    """Density of each compressed model over that of its source, from a file with `model`, `source`, `method`.

    The ratio's interval uses the same ruler draws for both. Models are compared on the tasks each has; a pair
    whose task sets differ is refused.

    Raises:
        SparsityLabError: a model of the file has no density, or the two have different tasks.
    """
    by_name = {d.target.model: d for d in measured}
    return [_pair(row, by_name) for row in read_rows(pairs, needed=("model", "source"))]


def _pair(row: CsvRow, by_name: dict[str, Density]) -> dict[str, object]:
    for column in ("model", "source"):
        if row[column].required() not in by_name:
            raise row[column].error(f"The model {row[column].text} has no density in this run")
    model, source = by_name[row["model"].text], by_name[row["source"].text]
    if set(model.tasks) != set(source.tasks):
        raise row["model"].error(
            f"{model.target.model} has {', '.join(model.tasks)} and {source.target.model} has "
            f"{', '.join(source.tasks)}",
            fix="Choose --tasks that both have",
        )
    logs = model.draws - source.draws
    logs = logs[~np.isnan(logs)]
    low, high = np.quantile(logs, 0.025, method="lower"), np.quantile(logs, 0.975, method="higher")
    verdict = "denser" if low > 0 else "less dense" if high < 0 else "not told apart"
    return {
        "model": model.target.model,
        "source": source.target.model,
        "method": row["method"].text if "method" in row else "",
        "rho": model.rho,
        "rho_source": source.rho,
        "ratio": model.rho / source.rho if model.rho and source.rho else None,
        "low": float(np.exp(low)) if np.isfinite(low) else None,
        "high": float(np.exp(high)) if np.isfinite(high) else None,
        "verdict": verdict,
        "tasks": ";".join(model.tasks),
    }


def parameters_needed(
    trend: DensityTrend, ruler: Ruler, tasks: Sequence[str], *, score: float, dates: Sequence[date]
) -> list[dict[str, object]]:
    """Parameters a frontier model needs for a score on given days: N^(score) / rho_max(t).

    Raises:
        SparsityLabError: the ruler does not reach the score.
    """
    ln_size = ruler.curve(tasks).ln_size(np.asarray(score))
    if not np.isfinite(ln_size[0]):
        raise SparsityLabError(
            f"The ruler {ruler.name} does not reach a score of {score:g} at any size",
            fix="Give a --score above chance and below the ruler's best, or another --ruler",
        )
    rows: list[dict[str, object]] = []
    for on in dates:
        densities = trend.ln_rho_max(np.array([(on - trend.origin).days]))
        high, middle, low = (float(np.exp(ln_size[0] - ln_rho[0]) / 1e9) for ln_rho in densities)
        rows.append({"on": on.isoformat(), "score": score, "params_b": middle, "low_b": low, "high_b": high,
                     "projected": on > trend.last})  # fmt: skip
    return rows


@dataclass(frozen=True)
class PriceTrend:
    """How the cheapest price at or above a score falls; `halving_days` is None where it does not."""

    rows: tuple[dict[str, object], ...]
    decline_per_day: float
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
    trend = fit_trend(points, seed=seed, draws=draws)
    marked = tuple({**row, "cheapest": row["model"] in trend.frontier} for row in rows)
    low, high = trend.doubling_interval
    return PriceTrend(marked, trend.slope, trend.doubling_days, low, high)
