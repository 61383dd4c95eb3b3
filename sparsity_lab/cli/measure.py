"""`sparsity-lab measure`: activation ratios of checkpoints at a fixed knob or at equal perplexity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sparsity_lab.cli import measure_options as options
from sparsity_lab.cli import measure_words as words
from sparsity_lab.cli.console.progress import progress

if TYPE_CHECKING:
    from sparsity_lab.loggers import Loggers
    from sparsity_lab.measure.checkpoints import MeasurePlan
    from sparsity_lab.measure.spec import Checkpoint, MeasureSpec
    from sparsity_lab.measure.transfer import TransferPlan
    from sparsity_lab.measure.work.launchers import Options


def command(
    models: options.Models,
    text: options.Text,
    criterion: options.Criterion = None,
    knob: options.KnobValue = None,
    ppl_increase: options.Increase = None,
    activation_ratio: options.TargetRatio = None,
    thresholds: options.Thresholds = None,
    transfer: options.Transfer = None,
    stabilise: options.Stabilise = None,
    per_checkpoint: options.PerCheckpoint = False,
    revisions: options.Revisions = None,
    tokenizer: options.Tokenizer = None,
    tokens_per_step: options.TokensPerStep = None,
    trained_tokens: options.TrainedTokens = None,
    tokens: options.Tokens = "65536",
    window: options.Window = None,
    bos: options.Bos = True,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.auto,
    batch_size: options.BatchSize = "auto",
    text_shards: options.TextShards = 1,
    sweep: options.Sweep = False,
    architecture_file: options.ArchitectureFile = None,
    compat: options.Compat = None,
    launcher: options.Launcher = "inline",
    jobs: options.Jobs = 1,
    address: options.Address = None,
    task_cpus: options.TaskCpus = 1,
    task_gpus: options.TaskGpus = 0,
    task_memory: options.TaskMemory = None,
    retries: options.Retries = 3,
    slurm: options.Slurm = None,
    log: options.Log = None,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    allow_untrained: options.AllowUntrained = False,
    fail_fast: options.FailFast = False,
    again: options.Again = False,
    output: options.Output = Path("runs/measure"),
    offline: options.Offline = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
) -> None:
    """Measure the share of feed-forward neurons each checkpoint needs at equal quality.

    Several knobs, increases or ratios are measured with the model loaded once.
    A run that was stopped goes on where it was: cells with a record are not measured again.
    Of several checkpoints, one that fails is marked in the table and the others are measured; the exit code is 1 then.
    """
    every = criterion == options.ALL
    words.refuse_idle(
        knob=knob or None, ppl_increase=ppl_increase or None, activation_ratio=activation_ratio or None,
        thresholds=thresholds,
        transfer=transfer or None, stabilise=stabilise, per_checkpoint=per_checkpoint, criterion_all=every, sweep=sweep,
        jobs=jobs if jobs > 1 else None, text_shards=text_shards if text_shards > 1 else None,
        launcher=launcher if launcher != "inline" else None,
        log=log or None,
    )  # fmt: skip
    from sparsity_lab.loggers import check_names
    from sparsity_lab.measure.work.launchers import Options, check_options

    crew = Options(
        jobs=jobs, address=address, task_cpus=task_cpus, task_gpus=task_gpus, task_memory_gb=task_memory,
        retries=retries, slurm=words.pairs(slurm or []),
    )  # fmt: skip
    check_options(launcher, crew)
    check_names(log or [])
    from sparsity_lab.measure.spec import MeasureSpec, expand

    tokens_at_first, error_share = words.tokens_of(tokens)
    spec = MeasureSpec(
        text=text, criterion=words.criterion_of(criterion, thresholds),
        **words.settings_of(knob, activation_ratio, ppl_increase), stabilise_last=words.last_of(stabilise),
        tokens=tokens_at_first, error_share=error_share, window=window, bos=bos, device=device, dtype=dtype.value,
        batch_size=words.windows_at_once(batch_size), text_shards=text_shards, seed=seed,
        architecture_file=architecture_file, compat=compat, thresholds=thresholds, trained_tokens=trained_tokens,
        tokens_per_step=tokens_per_step, allow_untrained=allow_untrained, fail_fast=fail_fast, again=again,
    )  # fmt: skip
    checkpoints = expand(models, revisions=words.revisions_of(revisions), gathered=True, tokenizer=tokenizer)[
        :limit
    ]
    if transfer:
        failed = _transfer(spec, checkpoints, transfer, output=output, dry_run=dry_run)
    elif dry_run:
        failed = _plan(spec, checkpoints, output=output)
    elif every:
        with _loggers(spec, log or [], output=output, offline=offline) as loggers:
            failed = _compare(spec, checkpoints, output=output, sweep=sweep, loggers=loggers)
    else:
        with _loggers(spec, log or [], output=output, offline=offline) as loggers:
            failed = _measure(
                spec, checkpoints, output=output, per_checkpoint=per_checkpoint, launcher=launcher, crew=crew,
                loggers=loggers,
            )  # fmt: skip
    if failed:
        raise typer.Exit(1)


def _measure(
    spec: MeasureSpec,
    checkpoints: list[Checkpoint],
    *,
    output: Path,
    per_checkpoint: bool,
    launcher: str,
    crew: Options,
    loggers: Loggers,
) -> bool:
    """Measure, and whether a checkpoint failed."""
    from sparsity_lab.measure.checkpoints import measure_checkpoints

    rows = measure_checkpoints(
        spec, checkpoints, output=output, per_checkpoint=per_checkpoint, progress=progress(),
        launcher=launcher, options=crew, loggers=loggers,
    )  # fmt: skip
    from sparsity_lab.fitting.figures import attempted

    with attempted(output / "activation_ratio"):
        from sparsity_lab.fitting.plots.measured import draw_table

        draw_table(output / "table.csv", output=output)
    typer.echo((output / "table.md").read_text(encoding="utf-8"))
    typer.echo(f"Written to {output}")
    return any(row.get("failed") for row in rows)


def _loggers(spec: MeasureSpec, names: list[str], *, output: Path, offline: bool) -> Loggers:
    from sparsity_lab.loggers import Job, open_loggers
    from sparsity_lab.measure.spec import as_json

    return open_loggers(names, job=Job("measure", output, as_json(spec), offline))


def _compare(
    spec: MeasureSpec, checkpoints: list[Checkpoint], *, output: Path, sweep: bool, loggers: Loggers
) -> bool:
    """Compare, and whether a checkpoint failed."""
    from sparsity_lab.measure.compare_criteria import compare_criteria

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
    return any(row.get("failed") for row in rows)


def _transfer(
    spec: MeasureSpec, checkpoints: list[Checkpoint], named: list[str], *, output: Path, dry_run: bool
) -> bool:
    """Measure a transfer or say what it would do, and whether a checkpoint failed."""
    from sparsity_lab.measure.transfer import measure_transfer, named_texts, plan_transfer

    texts = named_texts(spec.text, named)
    if dry_run:
        return _print_plan(spec, plan_transfer(spec, checkpoints, texts=texts, output=output))
    rows = measure_transfer(spec, checkpoints, texts=texts, output=output, progress=progress())
    typer.echo((output / "transfer.md").read_text(encoding="utf-8"))
    typer.echo(f"Written to {output}")
    return any(row.get("failed") for row in rows)


def _plan(spec: MeasureSpec, checkpoints: list[Checkpoint], *, output: Path) -> bool:
    from sparsity_lab.measure.checkpoints import plan

    return _print_plan(spec, plan(spec, checkpoints, output=output))


def _print_plan(spec: MeasureSpec, found: MeasurePlan | TransferPlan) -> bool:
    """Print what would be done, and whether a checkpoint cannot be measured."""
    from sparsity_lab.measure.model.memory_estimate import estimates
    from sparsity_lab.store.tables import to_markdown

    rows = [
        {
            "checkpoint": str(one.checkpoint.source),
            "series": one.checkpoint.series,
            "trained tokens": one.trained_tokens,
            "tokens": one.windows.tokens,
            "windows": one.windows.count,
            "device": one.device,
            "dtype": str(one.dtype).removeprefix("torch."),
            "peak memory (MiB), estimated": None if memory is None else round(memory.peak / 2**20),
        }
        for one, memory in zip(found.prepared, estimates(spec, found.prepared), strict=True)
    ]
    if rows:
        typer.echo(to_markdown(rows, list(rows[0])))
    typer.echo(f"{found.cells} cell(s), {found.done} of them measured already")
    for one in found.lost:
        typer.echo(f"{one.checkpoint.source} cannot be measured: {one.error.paragraph()}", err=True)
    return bool(found.lost)
