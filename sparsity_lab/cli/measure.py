"""`sparsity-lab measure`: activation ratios of checkpoints at a fixed knob or at equal perplexity."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparsity_lab.cli.config import read_defaults
from sparsity_lab.cli.progress import progress
from sparsity_lab.errors import SparsityLabError

if TYPE_CHECKING:
    from sparsity_lab.measure.spec import Checkpoint, MeasureSpec


ALL = "all"


class Dtype(str, Enum):
    """Dtypes of a forward pass."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


Models = Annotated[
    list[str],
    typer.Argument(help="Checkpoint directories, directories of checkpoints, globs, GGUF files or Hub ids."),
]
Text = Annotated[Path, typer.Option("--text", help="Validation text, UTF-8.")]
Criterion = Annotated[str, typer.Option(help="Which neurons are weak: see `ls criteria`; or all.")]
KnobValue = Annotated[float | None, typer.Option("--knob", help="Fix the criterion's number, e.g. the CETT.")]
Increase = Annotated[
    str | None, typer.Option("--ppl-increase", help="p of PPL-p%: 1% or 0.01.", show_default="1%")
]
TargetRatio = Annotated[
    str | None, typer.Option("--activation-ratio", help="Keep this share of neurons: 30% or 0.3.")
]
Stabilise = Annotated[
    str | None, typer.Option(help="last:5 finds one knob on the last five checkpoints of each series.")
]
PerCheckpoint = Annotated[
    bool, typer.Option("--per-checkpoint", help="With --stabilise, also measure each at its own knob.")
]
Revisions = Annotated[str | None, typer.Option(help="Revisions of a Hub id, with commas.")]
Tokens = Annotated[
    str,
    typer.Option(
        help="Tokens of text to measure on; auto:10% takes more until the loss rise's error is 10 % of it."
    ),
]
Window = Annotated[int | None, typer.Option(min=1, help="Tokens of a window.", show_default="up to 1024")]
Bos = Annotated[bool, typer.Option("--bos/--no-bos", help="A BOS in front of windows, where one is used.")]
Device = Annotated[str, typer.Option(help="A torch device, or auto.")]
DtypeOption = Annotated[Dtype, typer.Option(help="Of the weights and the forward pass.")]
BatchSize = Annotated[str, typer.Option(help="Windows at once, or auto; speed only.")]
Sweep = Annotated[
    bool, typer.Option("--sweep", help="With --criterion all: perplexity along each one's range.")
]
ArchitectureFile = Annotated[
    Path | None,
    typer.Option(help="A Python file of your own that says where the model's FFN parts are. It is EXECUTED."),
]
Compat = Annotated[
    str | None, typer.Option(help="Run a released algorithm reproduced here, slowly, instead: sparsinglaw.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first so many checkpoints.")]
Seed = Annotated[int, typer.Option(help="Seed of the bootstrap and the pilot.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Where to write.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never touch the network.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")]
Config = Annotated[
    Path | None, typer.Option(is_eager=True, callback=read_defaults, help="YAML of options; flags win.")
]


def command(
    models: Models,
    text: Text,
    criterion: Criterion = "cett",
    knob: KnobValue = None,
    ppl_increase: Increase = None,
    activation_ratio: TargetRatio = None,
    stabilise: Stabilise = None,
    per_checkpoint: PerCheckpoint = False,
    revisions: Revisions = None,
    tokens: Tokens = "65536",
    window: Window = None,
    bos: Bos = True,
    device: Device = "auto",
    dtype: DtypeOption = Dtype.auto,
    batch_size: BatchSize = "auto",
    sweep: Sweep = False,
    architecture_file: ArchitectureFile = None,
    compat: Compat = None,
    limit: Limit = None,
    seed: Seed = 0,
    output: Output = Path("runs/measure"),
    offline: Offline = False,
    dry_run: DryRun = False,
    config: Config = None,
) -> None:
    """Measure the share of feed-forward neurons each checkpoint needs at equal quality.

    A run that was stopped goes on where it was: cells with a record are not measured again.
    """
    if offline:
        os.environ.update({"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"})
    _refuse_idle(criterion, knob, ppl_increase, activation_ratio, stabilise, per_checkpoint, sweep)
    from sparsity_lab.measure.run import plan
    from sparsity_lab.measure.spec import MeasureSpec, expand, percent

    spec = MeasureSpec(
        text=text, criterion="cett" if criterion == ALL else criterion, knob=knob,
        ppl_increase=percent(ppl_increase or "1%"),
        activation_ratio=None if activation_ratio is None else percent(activation_ratio),
        stabilise_last=_last(stabilise), tokens=_tokens(tokens)[0],
        error_share=_tokens(tokens)[1], window=window, bos=bos, device=device, dtype=dtype.value,
        batch_size=_batch_size(batch_size), seed=seed, architecture_file=architecture_file,
        compat=compat,
    )  # fmt: skip
    checkpoints = expand(models, revisions=revisions.split(",") if revisions else ())[:limit]
    if dry_run:
        _print_plan(plan(spec, checkpoints, output=output))
    elif criterion == ALL:
        _compare(spec, checkpoints, output=output, sweep=sweep)
    else:
        _measure(spec, checkpoints, output=output, per_checkpoint=per_checkpoint)


def _refuse_idle(
    criterion: str, knob: float | None, ppl_increase: str | None, activation_ratio: str | None,
    stabilise: str | None, per_checkpoint: bool, sweep: bool,
) -> None:  # fmt: skip
    """Options that would do nothing beside the others are refused rather than ignored."""
    idle = {
        "--ppl-increase does nothing beside --knob": knob is not None and ppl_increase is not None,
        "--activation-ratio does nothing beside --knob": knob is not None and activation_ratio is not None,
        "--ppl-increase does nothing beside --activation-ratio": (
            activation_ratio is not None and ppl_increase is not None
        ),
        "--per-checkpoint does nothing without --stabilise": per_checkpoint and stabilise is None,
        "--sweep does nothing without --criterion all": sweep and criterion != ALL,
    }
    for said, is_idle in idle.items():
        if is_idle:
            raise SparsityLabError(said, fix="Leave one of them out, or give what it needs")


def _measure(spec: MeasureSpec, checkpoints: list[Checkpoint], *, output: Path, per_checkpoint: bool) -> None:
    from sparsity_lab.measure.run import measure_checkpoints

    measure_checkpoints(spec, checkpoints, output=output, per_checkpoint=per_checkpoint, progress=progress())
    from sparsity_lab.fitting.plots.measured import draw_table

    draw_table(output / "table.csv", output=output)
    typer.echo((output / "table.md").read_text(encoding="utf-8"))
    typer.echo(f"Written to {output}")


def _compare(spec: MeasureSpec, checkpoints: list[Checkpoint], *, output: Path, sweep: bool) -> None:
    from sparsity_lab.measure.compare import compare_criteria

    compare_criteria(spec, checkpoints, output=output, sweep=sweep, progress=progress())
    if sweep:
        from sparsity_lab.fitting.plots.pareto import draw_sweep

        draw_sweep(output / "sweep.csv", output=output)
    typer.echo((output / "criteria.md").read_text(encoding="utf-8"))
    typer.echo(f"Written to {output}")


def _last(stabilise: str | None) -> int | None:
    if stabilise is None:
        return None
    word, _, count = stabilise.partition(":")
    if word != "last" or not count.isdigit() or int(count) < 1:
        raise SparsityLabError(f"--stabilise {stabilise} is not understood", fix="Write last:5")
    return int(count)


def _tokens(text: str) -> tuple[int, float | None]:
    """Tokens, and the share of the rise its error may have where the text is to grow."""
    from sparsity_lab.measure.auto_tokens import ERROR_SHARE, START_TOKENS
    from sparsity_lab.measure.spec import percent

    word, colon, share = text.partition(":")
    if word == "auto":
        return START_TOKENS, percent(share) if colon else ERROR_SHARE
    if not text.isdigit() or int(text) < 1:
        raise SparsityLabError(f"--tokens {text} is neither a positive number nor auto", fix="Write auto:10%")
    return int(text), None


def _batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdigit() or int(text) < 1:
        raise SparsityLabError(f"--batch-size {text} is neither auto nor a positive number")
    return int(text)


def _print_plan(found: object) -> None:
    from sparsity_lab.measure.run import Plan
    from sparsity_lab.tables import to_markdown

    assert isinstance(found, Plan)
    rows = [
        {
            "checkpoint": str(one.checkpoint.source),
            "series": one.checkpoint.series,
            "tokens": one.windows.tokens,
            "windows": one.windows.count,
            "device": one.device,
            "dtype": str(one.dtype).removeprefix("torch."),
        }
        for one in found.prepared
    ]
    typer.echo(to_markdown(rows, list(rows[0])))
    typer.echo(f"{len(rows)} cell(s), {found.done} of them measured already")
