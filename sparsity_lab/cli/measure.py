"""`sparsity-lab measure`: activation ratios of checkpoints at a fixed knob or at equal perplexity."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sparsity_lab.cli import measure_options as options
from sparsity_lab.cli.progress import progress
from sparsity_lab.errors import SparsityLabError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsity_lab.loggers import Loggers
    from sparsity_lab.measure.cells import Prepared
    from sparsity_lab.measure.launchers import Options
    from sparsity_lab.measure.spec import Checkpoint, MeasureSpec
    from sparsity_lab.mirrors import Mirror


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
    output: options.Output = Path("runs/measure"),
    offline: options.Offline = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
) -> None:
    """Measure the share of feed-forward neurons each checkpoint needs at equal quality.

    Several knobs, increases or ratios are measured with the model loaded once.
    A run that was stopped goes on where it was: cells with a record are not measured again.
    """
    if offline:
        os.environ.update({"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"})
    every = criterion == options.ALL
    _refuse_idle(
        knob=knob or None, ppl_increase=ppl_increase or None, activation_ratio=activation_ratio or None,
        thresholds=thresholds,
        transfer=transfer or None, stabilise=stabilise, per_checkpoint=per_checkpoint, criterion_all=every, sweep=sweep,
        jobs=jobs if jobs > 1 else None, text_shards=text_shards if text_shards > 1 else None,
        launcher=launcher if launcher != "inline" else None,
        log=log or None,
    )  # fmt: skip
    from sparsity_lab.loggers import check_names
    from sparsity_lab.measure.launchers import Options, check_options

    crew = Options(
        jobs=jobs, address=address, task_cpus=task_cpus, task_gpus=task_gpus, task_memory_gb=task_memory,
        retries=retries, slurm=_pairs(slurm or []),
    )  # fmt: skip
    check_options(launcher, crew)
    check_names(log or [])
    from sparsity_lab.measure.spec import MeasureSpec, expand, percent

    increases = [percent(one) for one in ppl_increase or ["1%"]]
    ratios = [percent(one) for one in activation_ratio or []]
    given = knob or ratios or increases
    spec = MeasureSpec(
        text=text, criterion=_criterion(criterion, thresholds), knob=knob[0] if knob else None,
        ppl_increase=increases[0], activation_ratio=ratios[0] if ratios else None, further=tuple(given[1:]),
        stabilise_last=_last(stabilise), tokens=_tokens(tokens)[0],
        error_share=_tokens(tokens)[1], window=window, bos=bos, device=device, dtype=dtype.value,
        batch_size=windows_at_once(batch_size), text_shards=text_shards, seed=seed, architecture_file=architecture_file,
        compat=compat, thresholds=thresholds, trained_tokens=trained_tokens, tokens_per_step=tokens_per_step,
    )  # fmt: skip
    checkpoints = expand(models, revisions=revisions.split(",") if revisions else ())[:limit]
    if transfer:
        _transfer(spec, checkpoints, transfer, output=output, dry_run=dry_run)
    elif dry_run:
        _plan(spec, checkpoints, output=output)
    elif every:
        with _loggers(spec, log or [], output=output, offline=offline) as loggers:
            _compare(spec, checkpoints, output=output, sweep=sweep, loggers=loggers)
    else:
        from sparsity_lab.mirrors import mirrored

        with (
            mirrored(output) as (folder, mirror),
            _loggers(spec, log or [], output=folder, offline=offline) as loggers,
        ):
            _measure(
                spec, checkpoints, output=folder, mirror=mirror, per_checkpoint=per_checkpoint, launcher=launcher,
                crew=crew, loggers=loggers,
            )  # fmt: skip


NOTHING_BESIDE = (
    ("ppl_increase", "knob"), ("activation_ratio", "knob"), ("ppl_increase", "activation_ratio"),
    ("ppl_increase", "thresholds"), ("thresholds", "criterion_all"), ("transfer", "criterion_all"),
    ("jobs", "transfer"), ("jobs", "criterion_all"), ("launcher", "transfer"), ("launcher", "criterion_all"),
    ("text_shards", "transfer"), ("text_shards", "criterion_all"),
    ("log", "transfer"),
)  # fmt: skip
NOTHING_WITHOUT = (("per_checkpoint", "stabilise"), ("sweep", "criterion_all"))


def _refuse_idle(**values: object) -> None:
    """Options that would do nothing beside the others are refused rather than ignored."""
    given = {name for name, value in values.items() if value is not None and value is not False}
    idle = [(one, "beside", two) for one, two in NOTHING_BESIDE if {one, two} <= given]
    idle += [(one, "without", two) for one, two in NOTHING_WITHOUT if one in given and two not in given]
    for one, word, two in idle:
        raise SparsityLabError(
            f"{_option(one)} does nothing {word} {_option(two)}",
            fix="Leave one of them out, or give what it needs",
        )


def _option(name: str) -> str:
    return "--criterion all" if name == "criterion_all" else f"--{name.replace('_', '-')}"


def _criterion(named: str | None, thresholds: Path | None) -> str:
    """The criterion named, or that of the thresholds, or cett."""
    if named == options.ALL or (named is None and thresholds is None):
        return "cett"
    if named is not None or thresholds is None:
        return str(named)
    from sparsity_lab.measure.calibration import read_calibration

    return read_calibration(thresholds).criterion


def _measure(
    spec: MeasureSpec,
    checkpoints: list[Checkpoint],
    *,
    output: Path,
    mirror: Mirror | None,
    per_checkpoint: bool,
    launcher: str,
    crew: Options,
    loggers: Loggers,
) -> None:
    from sparsity_lab.measure.run import measure_checkpoints

    measure_checkpoints(
        spec, checkpoints, output=output, per_checkpoint=per_checkpoint, progress=progress(),
        launcher=launcher, options=crew, loggers=loggers, mirror=mirror,
    )  # fmt: skip
    from sparsity_lab.fitting.plots.measured import draw_table

    draw_table(output / "table.csv", output=output)
    typer.echo((output / "table.md").read_text(encoding="utf-8"))
    typer.echo(f"Written to {output if mirror is None else mirror.url}")


def _loggers(spec: MeasureSpec, names: list[str], *, output: Path, offline: bool) -> Loggers:
    from sparsity_lab.loggers import Job, open_loggers
    from sparsity_lab.measure.spec import as_json

    return open_loggers(names, job=Job("measure", output, as_json(spec), offline))


def _compare(
    spec: MeasureSpec, checkpoints: list[Checkpoint], *, output: Path, sweep: bool, loggers: Loggers
) -> None:
    from sparsity_lab.measure.compare import compare_criteria

    compare_criteria(spec, checkpoints, output=output, sweep=sweep, progress=progress(), loggers=loggers)
    from sparsity_lab.fitting.plots.criteria import draw_criteria

    draw_criteria(output / "table.csv", output=output)
    if sweep:
        from sparsity_lab.fitting.plots.pareto import draw_sweep

        draw_sweep(output / "sweep.csv", output=output)
    typer.echo((output / "criteria.md").read_text(encoding="utf-8"))
    typer.echo(f"Written to {output}")


def _transfer(
    spec: MeasureSpec, checkpoints: list[Checkpoint], words: list[str], *, output: Path, dry_run: bool
) -> None:
    from sparsity_lab.measure.transfer import measure_transfer, named_texts, plan_transfer

    texts = named_texts(spec.text, words)
    if dry_run:
        plan = plan_transfer(spec, checkpoints, texts=texts, output=output)
        _print_plan(spec, plan.prepared, cells=plan.cells, done=plan.done)
        return
    measure_transfer(spec, checkpoints, texts=texts, output=output, progress=progress())
    typer.echo((output / "transfer.md").read_text(encoding="utf-8"))
    typer.echo(f"Written to {output}")


def _pairs(words: list[str]) -> dict[str, str]:
    """KEY=VALUE words as a mapping."""
    for word in words:
        if "=" not in word.strip("="):
            raise SparsityLabError(f"--slurm {word} is not understood", fix="Write KEY=VALUE: partition=gpu")
    return dict(word.split("=", 1) for word in words)


def _plan(spec: MeasureSpec, checkpoints: list[Checkpoint], *, output: Path) -> None:
    from sparsity_lab.measure.run import plan
    from sparsity_lab.mirrors import Mirror, url_of

    url = url_of(output)
    mirror = None if url is None else Mirror(url)
    found = plan(spec, checkpoints, output=output if mirror is None else mirror.folder, mirror=mirror)
    _print_plan(spec, found.prepared, cells=found.cells, done=found.done)


def _last(stabilise: str | None) -> int | None:
    if stabilise is None:
        return None
    word, _, count = stabilise.partition(":")
    if word != "last" or not count.isdecimal() or int(count) < 1:
        raise SparsityLabError(f"--stabilise {stabilise} is not understood", fix="Write last:5")
    return int(count)


def _tokens(text: str) -> tuple[int, float | None]:
    """Tokens, and the share of the rise its error may have where the text is to grow."""
    from sparsity_lab.measure.auto_tokens import ERROR_SHARE, START_TOKENS
    from sparsity_lab.measure.spec import percent

    word, colon, share = text.partition(":")
    if word == "auto":
        return START_TOKENS, percent(share) if colon else ERROR_SHARE
    if not text.isdecimal() or int(text) < 1:
        raise SparsityLabError(f"--tokens {text} is neither a positive number nor auto", fix="Write auto:10%")
    return int(text), None


def windows_at_once(text: str) -> int | None:
    """Windows of a forward pass, None for auto.

    Raises:
        SparsityLabError: neither auto nor a positive number.
    """
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise SparsityLabError(
            f"--batch-size {text} is neither auto nor a positive number", fix="Write auto, or 8"
        )
    return int(text)


def _print_plan(spec: MeasureSpec, prepared: Sequence[Prepared], *, cells: int, done: int) -> None:
    from sparsity_lab.measure.memory_estimate import estimates
    from sparsity_lab.tables import to_markdown

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
        for one, memory in zip(prepared, estimates(spec, prepared), strict=True)
    ]
    typer.echo(to_markdown(rows, list(rows[0])))
    typer.echo(f"{cells} cell(s), {done} of them measured already")
