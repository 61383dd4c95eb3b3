"""`sparsity-lab measure`: activation ratios of checkpoints at a fixed knob or at equal perplexity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sparsity_lab.cli.console.options import of_fields
from sparsity_lab.cli.console.progress import progress
from sparsity_lab.cli.console.watching import echo_lost
from sparsity_lab.cli.measure_options import ALL, MeasureOptions
from sparsity_lab.labels import counted

if TYPE_CHECKING:
    from sparsity_lab.loggers import Loggers
    from sparsity_lab.measure.sources.named import NamedText
    from sparsity_lab.measure.spec import Checkpoint, MeasureSpec
    from sparsity_lab.measure.work.measuring import MeasurePlan


@of_fields
def command(options: MeasureOptions) -> None:
    """Measure the share of feed-forward neurons each checkpoint needs at equal quality.

    Several knobs, increases or ratios are measured with a single load of the model.
    A stopped run resumes where it left off: cells with a record are not measured again.
    If one of several checkpoints fails, it is marked in the table, the others are measured, and the exit code is 1.
    """
    options.refuse_idle()
    from sparsity_lab.loggers import check_names
    from sparsity_lab.measure.work.run_cells import Means

    crew = options.crew()
    check_names(options.log)
    spec, checkpoints = options.spec(), options.checkpoints(gathered=True)
    if options.dry_run:
        failed = _plan(spec, checkpoints, options)
    else:
        with _loggers(spec, options) as loggers:
            run = {"output": options.output, "means": Means(crew, loggers, progress())}
            if options.transfer or options.transfer_dataset:
                failed = _transfer(spec, checkpoints, options, run)
            elif options.criterion == ALL:
                failed = _compare(spec, checkpoints, options, run)
            else:
                failed = _measure(spec, checkpoints, options, run)
    if failed:
        raise typer.Exit(1)


def _measure(
    spec: MeasureSpec, checkpoints: list[Checkpoint], options: MeasureOptions, run: dict[str, Any]
) -> bool:
    """Measure, and whether a checkpoint failed."""
    from sparsity_lab.fitting.figures import attempted
    from sparsity_lab.measure.checkpoints import measure_checkpoints

    output = options.output
    rows = measure_checkpoints(spec, checkpoints, per_checkpoint=options.per_checkpoint, **run)
    with attempted(output / "activation_ratio"):
        from sparsity_lab.fitting.plots.measured import draw_table

        draw_table(output / "table.csv", output=output)
    return _echo(rows, output / "table.md")


def _echo(rows: list[dict[str, Any]], table: Path) -> bool:
    """Print a table, and whether a checkpoint failed."""
    typer.echo(table.read_text(encoding="utf-8"))
    typer.echo(f"Written to {table.parent}")
    return any(row.get("failed") for row in rows)


def _loggers(spec: MeasureSpec, options: MeasureOptions) -> Loggers:
    from sparsity_lab.loggers import Job, open_loggers
    from sparsity_lab.measure.spec import as_json

    return open_loggers(options.log, job=Job("measure", options.output, as_json(spec), options.offline))


def _compare(
    spec: MeasureSpec, checkpoints: list[Checkpoint], options: MeasureOptions, run: dict[str, Any]
) -> bool:
    """Compare, and whether a checkpoint failed."""
    from sparsity_lab.fitting.figures import attempted
    from sparsity_lab.measure.compare_criteria import compare_criteria

    output = options.output
    rows = compare_criteria(spec, checkpoints, sweep=options.sweep, **run)
    with attempted(output / "criteria"):
        from sparsity_lab.fitting.plots.criteria import draw_criteria

        draw_criteria(output / "table.csv", output=output)
    if options.sweep:
        with attempted(output / "pareto"):
            from sparsity_lab.fitting.plots.criteria import draw_sweep

            draw_sweep(output / "sweep.csv", output=output)
    return _echo(rows, output / "criteria.md")


def _transfer(
    spec: MeasureSpec, checkpoints: list[Checkpoint], options: MeasureOptions, run: dict[str, Any]
) -> bool:
    """Measure a transfer, and whether a checkpoint failed."""
    from sparsity_lab.measure.texts.transfer import measure_transfer

    rows = measure_transfer(spec, checkpoints, texts=_texts(spec, options), **run)
    return _echo(rows, options.output / "transfer.md")


def _texts(spec: MeasureSpec, options: MeasureOptions) -> list[NamedText]:
    """The texts of a transfer."""
    from sparsity_lab.measure.sources.named import named_texts

    return named_texts(spec.text, options.transfer, options.transfer_dataset)


def _plan(spec: MeasureSpec, checkpoints: list[Checkpoint], options: MeasureOptions) -> bool:
    """Say what would be done, and whether a checkpoint cannot be measured."""
    from sparsity_lab.measure.checkpoints import plan
    from sparsity_lab.measure.compare_criteria import plan_compared
    from sparsity_lab.measure.texts.transfer import plan_transfer

    output = options.output
    if options.transfer or options.transfer_dataset:
        texts = _texts(spec, options)
        return _print_plan(spec, plan_transfer(spec, checkpoints, texts=texts, output=output))
    if options.criterion == ALL:
        return _print_plan(spec, plan_compared(spec, checkpoints, output=output, sweep=options.sweep))
    return _print_plan(spec, plan(spec, checkpoints, output=output))


def _print_plan(spec: MeasureSpec, plan: MeasurePlan) -> bool:
    """Print what would be done, and whether a checkpoint cannot be measured."""
    from sparsity_lab.measure.model.memory_estimate import estimates
    from sparsity_lab.store.tables import to_markdown

    rows = [
        {
            "checkpoint": str(cell.checkpoint.source),
            "series": cell.checkpoint.series,
            "trained tokens": cell.trained_tokens,
            "tokens": cell.windows.tokens,
            "windows": cell.windows.count,
            "device": cell.device,
            "dtype": str(cell.dtype).removeprefix("torch."),
            "peak memory (MiB), estimated": None if memory is None else round(memory.peak / 2**20),
        }
        for cell, memory in zip(plan.prepared, estimates(spec, plan.prepared), strict=True)
    ]
    if rows:
        typer.echo(to_markdown(rows, list(rows[0])))
    typer.echo(f"{counted(plan.cells, 'cell')}, {plan.done} of them measured already")
    return echo_lost(plan.lost)
