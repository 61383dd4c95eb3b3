"""The density of a table of models, from ruler to trend, written out: what `sparsity-lab density` does.

Writes density.json, the tables and the figures; those that exist only where there is something in them come last.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sparsity_lab.fitting.density.by_size import size_sentence
from sparsity_lab.fitting.density.densities import Density
from sparsity_lab.fitting.density.lm_eval.results import loss_rows
from sparsity_lab.fitting.density.measure import measure_density
from sparsity_lab.fitting.density.options import DensityOptions, DensityReport
from sparsity_lab.fitting.density.rulers.disagreement import agreement_rows, rulers_sentence
from sparsity_lab.fitting.density.rulers.two_step import TwoStepRuler
from sparsity_lab.fitting.density.trend.hindcast import hindcast_sentence
from sparsity_lab.fitting.density.trend.published import PUBLISHED, published_words
from sparsity_lab.fitting.density.trend.sensitivity import (
    identified_sentence,
    published_rows,
    without_rows,
)
from sparsity_lab.fitting.density.trend.trend import DensityTrend, chip_doubling_days, doubling
from sparsity_lab.fitting.figures import attempted
from sparsity_lab.machine.sole_writer import sole_writer
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.provenance import provenance
from sparsity_lab.store.columns import Column, TableColumns
from sparsity_lab.store.records import write_json
from sparsity_lab.store.table_columns.density import (
    BY_SIZE,
    HINDCAST,
    HINDCAST_SCORES,
    LOSSES,
    PER_TASK,
    SENSITIVITY,
    TABLE,
)
from sparsity_lab.store.tables import number


def run_density(
    *, output: Path, seed: int = 0, options: DensityOptions | None = None, progress: Progress = SILENT
) -> tuple[DensityReport, list[Path]]:
    """Rulers, densities, frontier, trend, tables and figures, written to `output`; and the paths of the files.

    Raises:
        SparsityLabError: a table, ruler, task or the output directory is not usable.
    """
    with sole_writer(output):
        report = measure_density(seed=seed, options=options, progress=progress)
        return report, write_report(report, output, seed=seed)


def write_report(report: DensityReport, output: Path, *, seed: int) -> list[Path]:
    """Write all files of a run; returns their paths."""
    rows = table_rows(report)
    TABLE.write(output, rows)
    write_json(output / "density.json", as_json(report, rows, seed=seed))
    names = ["density.json", "table.csv", "table.md"]
    for table, extra in _extra_tables(report):
        table.write(output, extra)
        names += [f"{table.name}.csv", f"{table.name}.md"] if extra else []
    written = [output / name for name in names]
    if any(d.released is not None and (d.rho or d.low) for d in report.densities):
        with attempted(stem := output / "density_by_date"):
            from sparsity_lab.fitting.plots.density import plot_trend

            written += plot_trend(report, stem)
    if report.per_task:
        with attempted(stem := output / "density_per_task"):
            from sparsity_lab.fitting.plots.density import plot_heat

            written += plot_heat(report, stem)
    return written


def _extra_tables(report: DensityReport) -> list[tuple[TableColumns, list[dict[str, object]]]]:
    """Tables that exist only where there is something in them."""
    tasks = (Column(task, f"rho by {task} alone, or a bound", task) for task in report.per_task)
    per_task = per_task_rows(report) if report.per_task else []
    return [
        (TableColumns(PER_TASK.name, *PER_TASK.columns, *tasks), per_task),
        (SENSITIVITY, sensitivity_table(report)),
        (HINDCAST, list(report.hindcast.rows) if report.hindcast else []),
        (HINDCAST_SCORES, list(report.hindcast.scores) if report.hindcast else []),
        (BY_SIZE, list(report.by_size)),
        (LOSSES, loss_rows(report.evaluations)),
    ]


def per_task_rows(report: DensityReport) -> list[dict[str, object]]:
    """One row a model: its density by the mean and by each task alone; a bound is text, as `> 2.4`."""
    by_task = {task: {d.target.model: d for d in densities} for task, densities in report.per_task.items()}
    return [
        {
            "model": d.target.model,
            "released": d.released.isoformat() if d.released else None,
            "mean": _rho_or_bound(d),
            **{task: _rho_or_bound(of_task.get(d.target.model)) for task, of_task in by_task.items()},
        }
        for d in report.by_date
    ]


def _rho_or_bound(density: Density | None) -> object:
    if density is None:
        return None
    if density.rho is not None:
        return density.rho
    if density.low is not None:
        return f"> {density.low:.3g}"
    return f"< {density.high:.3g}" if density.high is not None else "?"


def table_rows(report: DensityReport) -> list[dict[str, object]]:
    """One row a model, by release date; sizes in 1e9 of the ruler's unit, scores 0 to 1."""
    frontier = report.trend.frontier if report.trend else ()
    return [
        {
            "model": density.target.model,
            "released": density.released.isoformat() if density.released else None,
            "size_b": density.size / 1e9,
            "score": density.score,
            "score_error": density.inversion.score_error,
            "effective_b": None if density.inversion.size is None else density.inversion.size / 1e9,
            "rho": density.rho,
            "rho_low": density.low,
            "rho_high": density.high,
            "other_rulers": other.count if (other := report.others.get(density.target.model)) else 0,
            "rho_low_others": other.low if other else None,
            "rho_high_others": other.high if other else None,
            "factor_others": other.factor if other else None,
            "extrapolation_ratio": density.inversion.extrapolation_ratio,
            "frontier": density.target.model in frontier,
            "tasks": ";".join(density.tasks),
            "flags": "; ".join(density.flags),
        }
        for density in report.by_date
    ]


def sensitivity_table(report: DensityReport) -> list[dict[str, object]]:
    """The trend under other choices, without each family, and as published; empty where there is no trend."""
    rows = [*report.sensitivity, *without_rows(report.without)]
    return [*rows, *published_rows()] if rows else []


def as_json(report: DensityReport, rows: Sequence[dict[str, object]], *, seed: int) -> dict[str, object]:
    """The document of `density.json`; open bounds are null."""
    ruler, test = report.ruler, report.break_test
    curve = ruler.curve(report.tasks)
    notes = {d.target.model: d.target.note for d in report.densities}
    return {
        "ruler": {
            "name": ruler.name,
            "form": ruler.form,
            "why": report.ruler_reason,
            "size_unit": ruler.size_unit,
            **dict(zip(("size_low", "size_high"), ruler.sizes, strict=True)),
            **{key: getattr(ruler, key) for key in ("params", "harness", "source")},
            "notes": list(ruler.notes),
            "d0_tokens": ruler.d0_tokens if isinstance(ruler, TwoStepRuler) else None,
            "floor": float(curve.floor[0]),
            "ceiling": float(curve.ceiling[0]),
        },
        "tasks": list(report.tasks),
        "params": report.convention.words,
        "interval_level": 0.95,
        "models": [{**row, "note": notes.get(str(row["model"]), "")} for row in rows],
        "trend": trend_json(report.trend) if report.trend else None,
        "trend_note": report.trend_note,
        "other_rulers": agreement_rows(report.agreements),
        "per_task": per_task_rows(report),
        "sensitivity": sensitivity_table(report),
        "hindcast": None if report.hindcast is None else vars(report.hindcast),
        "hindcast_note": report.hindcast_note,
        "by_size": list(report.by_size),
        "break": None if test is None else {**vars(test), "at": test.at.isoformat()},
        "projections": [
            {"on": p.on.isoformat(), "rho_max": p.middle, "low": p.low, "high": p.high}
            for p in report.projections
        ],
        "chip_doubling_days": chip_doubling_days(report.trend) if report.trend else None,
        "losses": loss_rows(report.evaluations),
        "metrics": list(report.metrics),
        "notes": list(report.notes),
        "seed": seed,
        "provenance": provenance(),
    }


def break_sentence(report: DensityReport) -> str:
    """The break test in one sentence, empty where none was asked for."""
    test = report.break_test
    if test is None:
        return ""
    return (
        f"Before {test.at} the frontier grows by {number(test.before, 3)} per day "
        f"({test.records_before} models), from then on by {number(test.after, 3)} ({test.records_after}); "
        f"p = {test.p_value:.2g} for no difference"
    )


def closing_sentences(report: DensityReport) -> list[str]:
    """What a run found, one sentence a finding."""
    if report.trend is None:
        rulers = rulers_sentence(report.agreements)
        return [s for s in (rulers, f"No trend: {report.trend_note}", size_sentence(report.by_size)) if s]
    sentences = [
        trend_sentence(report.trend),
        spread_sentence(report),
        rulers_sentence(report.agreements),
        identified_sentence(report.sensitivity),
        hindcast_sentence(report.hindcast) if report.hindcast else "",
        f"No hindcast: {report.hindcast_note}" if report.hindcast_note else "",
        break_sentence(report),
    ]
    sentences += [
        f"Projected to {p.on}: rho_max {number(p.middle, 3)} "
        f"(95 % band {number(p.low, 3)} to {number(p.high, 3)})"
        for p in report.projections
    ]
    return [s for s in [*sentences, size_sentence(report.by_size), report.trend_note] if s]


def spread_sentence(report: DensityReport) -> str:
    """How far the doubling time moves with the choices, empty where that was not asked for."""
    rows = [row for row in report.sensitivity if isinstance(row.get("doubling_days_corrected"), float)]
    if not rows:
        return ""
    low, high = (
        pick(rows, key=lambda row: float(str(row["doubling_days_corrected"]))) for pick in (min, max)
    )
    return (
        f"With other choices the doubling time lies between {low['doubling_days_corrected']:.0f} days "
        f"({low['choice']}: {low['value']}) and {high['doubling_days_corrected']:.0f} "
        f"({high['choice']}: {high['value']})"
    )


def trend_json(trend: DensityTrend) -> dict[str, object]:
    """A trend's numbers; A per day, doubling in days, open bounds null.

    The headline is `A_corrected` with `B_corrected` and `doubling_days_corrected`; `A_low` and `A_high`, and the same
    of the doubling time, are its interval. `A_per_day`, `B` and `doubling_days` are the line as published, uncorrected.
    """
    return {
        "A_per_day": trend.slope,
        "A_low": trend.interval[0],
        "A_high": trend.interval[1],
        "A_corrected": trend.corrected,
        "B_corrected": trend.corrected_intercept,
        "doubling_days_corrected": trend.doubling_days,
        "A_resampled_low": trend.resampled[0],
        "A_resampled_high": trend.resampled[1],
        "B": trend.intercept,
        "origin": trend.origin.isoformat(),
        "r2": trend.r2,
        "doubling_days": doubling(trend.slope),
        "doubling_days_low": trend.doubling_interval[0],
        "doubling_days_high": trend.doubling_interval[1],
        "frontier": list(trend.frontier),
        "lower_bounds": list(trend.bounded),
        "models": trend.models,
        "families": trend.families,
        "published": [
            {"doubling_months": found.months, "doubling_days": found.days, "source": found.source}
            for found in PUBLISHED
        ],
    }


def trend_sentence(trend: DensityTrend) -> str:
    """The corrected trend in one sentence, and beside it the line as published and what was published."""
    low, high = ("open" if days is None else f"{days:.0f}" for days in trend.doubling_interval)
    growth = (
        f"doubling every {trend.doubling_days:.0f} days (95 % interval {low} to {high})"
        if trend.doubling_days
        else "not growing"
    )
    days = doubling(trend.slope)
    uncorrected = f"doubling every {days:.0f} days" if days else "not growing"
    return (
        f"ln rho_max = A t + B with A = {number(trend.corrected, 3)} per day "
        f"(95 % interval {number(trend.interval[0], 3)} to {number(trend.interval[1], 3)}), {growth}, corrected for "
        f"the bias of records: {len(trend.frontier)} frontier models of {trend.models} in {trend.families} families. "
        f"Uncorrected, by least squares over the frontier as in the publication: A = {number(trend.slope, 3)}, "
        f"{uncorrected} (R2 = {trend.r2:.2f}); published: {published_words()} days"
    )
