"""The density of a table of models, from ruler to trend, written out: what `sparsity-lab density` does.

Writes density.json, the tables and the figures; those that exist only where there is something in them come last.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sparsity_lab.fitting.density.densities import Density
from sparsity_lab.fitting.density.lm_eval.results import loss_rows
from sparsity_lab.fitting.density.measure import measure_density
from sparsity_lab.fitting.density.options import DensityOptions, DensityReport
from sparsity_lab.fitting.density.paragraph import closing_sentences, paragraph
from sparsity_lab.fitting.density.rulers.disagreement import agreement_rows
from sparsity_lab.fitting.density.rulers.two_step import TwoStepRuler
from sparsity_lab.fitting.density.trend.published import PUBLISHED
from sparsity_lab.fitting.density.trend.sensitivity import (
    published_rows,
    without_rows,
)
from sparsity_lab.fitting.density.trend.trend import DensityTrend, chip_doubling_days, doubling
from sparsity_lab.fitting.figures import attempted
from sparsity_lab.machine.sole_writer import sole_writer
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.provenance import provenance
from sparsity_lab.store.columns import Column, TableColumns
from sparsity_lab.store.records import write_json, write_text
from sparsity_lab.store.table_columns.density import (
    BY_SIZE,
    HINDCAST,
    HINDCAST_SCORES,
    LOSSES,
    PER_TASK,
    SENSITIVITY,
    TABLE,
)


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
    write_text(output / "summary.md", "\n\n".join([paragraph(report), *_points(report)]) + "\n")
    names = ["summary.md", "density.json", "table.csv", "table.md"]
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


def _points(report: DensityReport) -> list[str]:
    return [f"- {sentence}." for sentence in closing_sentences(report)]


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
        "summary": paragraph(report),
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
