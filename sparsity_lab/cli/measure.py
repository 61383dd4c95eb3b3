"""`sparsity-lab measure`: activation ratios of checkpoints at a fixed knob or at equal perplexity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from sparsity_lab.cli.console.options import of_fields
from sparsity_lab.cli.console.progress import progress
from sparsity_lab.cli.measure_options import ALL, MeasureOptions

if TYPE_CHECKING:
    from sparsity_lab.loggers import Loggers
    from sparsity_lab.measure.checkpoints import MeasurePlan
    from sparsity_lab.measure.spec import Checkpoint, MeasureSpec
    from sparsity_lab.measure.transfer import TransferPlan
    from sparsity_lab.measure.work.launchers import Options


@of_fields
def command(options: MeasureOptions) -> None:
    """Measure the share of feed-forward neurons each checkpoint needs at equal quality.

    Several knobs, increases or ratios are measured with the model loaded once.
    A run that was stopped goes on where it was: cells with a record are not measured again.
    Of several checkpoints, one that fails is marked in the table and the others are measured; the exit code is 1 then.
    """
    options.refuse_idle()
    from sparsity_lab.loggers import check_names

    crew = options.crew()
    check_names(options.log)
    spec, checkpoints = options.spec(), options.checkpoints(gathered=True)
    if options.transfer:
        failed = _transfer(spec, checkpoints, options)
    elif options.dry_run:
        from sparsity_lab.measure.checkpoints import plan

        failed = _print_plan(spec, plan(spec, checkpoints, output=options.output))
    elif options.criterion == ALL:
        failed = _compare(spec, checkpoints, options)
    else:
        failed = _measure(spec, checkpoints, options, crew=crew)
    if failed:
        raise typer.Exit(1)


def _measure(
    spec: MeasureSpec, checkpoints: list[Checkpoint], options: MeasureOptions, *, crew: Options
) -> bool:
    """Measure, and whether a checkpoint failed."""
    from sparsity_lab.fitting.figures import attempted
    from sparsity_lab.measure.checkpoints import measure_checkpoints

    output = options.output
    with _loggers(spec, options) as loggers:
        rows = measure_checkpoints(
            spec, checkpoints, output=output, per_checkpoint=options.per_checkpoint, progress=progress(),
            launcher=options.launcher, options=crew, loggers=loggers,
        )  # fmt: skip
        with attempted(output / "activation_ratio"):
            from sparsity_lab.fitting.plots.measured import draw_table

            draw_table(output / "table.csv", output=output)
        typer.echo((output / "table.md").read_text(encoding="utf-8"))
        typer.echo(f"Written to {output}")
    return _any_failed(rows)


def _any_failed(rows: list[dict[str, Any]]) -> bool:
    return any(row.get("failed") for row in rows)


def _loggers(spec: MeasureSpec, options: MeasureOptions) -> Loggers:
    from sparsity_lab.loggers import Job, open_loggers
    from sparsity_lab.measure.spec import as_json

    return open_loggers(options.log, job=Job("measure", options.output, as_json(spec), options.offline))


def _compare(spec: MeasureSpec, checkpoints: list[Checkpoint], options: MeasureOptions) -> bool:
    """Compare, and whether a checkpoint failed."""
    from sparsity_lab.measure.compare_criteria import compare_criteria

    output, sweep = options.output, options.sweep
    with _loggers(spec, options) as loggers:
        rows = compare_criteria(
            spec, checkpoints, output=output, sweep=sweep, progress=progress(), loggers=loggers
        )
    from sparsity_lab.fitting.figures import attempted

    with attempted(output / "criteria"):
        from sparsity_lab.fitting.plots.criteria import draw_criteria

        draw_criteria(output / "table.csv", output=output)
    if sweep:
        with attempted(output / "pareto"):
            from sparsity_lab.fitting.plots.pareto import draw_sweep

            draw_sweep(output / "sweep.csv", output=output)
    typer.echo((output / "criteria.md").read_text(encoding="utf-8"))
    typer.echo(f"Written to {output}")
    return _any_failed(rows)


def _transfer(spec: MeasureSpec, checkpoints: list[Checkpoint], options: MeasureOptions) -> bool:
    """Measure a transfer or say what it would do, and whether a checkpoint failed."""
    from sparsity_lab.measure.transfer import measure_transfer, named_texts, plan_transfer

    texts, output = named_texts(spec.text, options.transfer), options.output
    if options.dry_run:
        return _print_plan(spec, plan_transfer(spec, checkpoints, texts=texts, output=output))
    rows = measure_transfer(spec, checkpoints, texts=texts, output=output, progress=progress())
    typer.echo((output / "transfer.md").read_text(encoding="utf-8"))
    typer.echo(f"Written to {output}")
    return _any_failed(rows)


def _print_plan(spec: MeasureSpec, plan: MeasurePlan | TransferPlan) -> bool:
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
    typer.echo(f"{plan.cells} cell(s), {plan.done} of them measured already")
    for lost in plan.lost:
        typer.echo(f"{lost.checkpoint.source} cannot be measured: {lost.error.paragraph()}", err=True)
    return bool(plan.lost)
