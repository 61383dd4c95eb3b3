"""`sparsity-lab bench`: how fast the parts are on the machine at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sparsity_lab.cli.console.progress import progress
from sparsity_lab.errors import SparsityLabError

app = typer.Typer(help="Time the parts on the machine at hand.", no_args_is_help=True)


@app.command("kernels")
def kernels(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path(
        "runs/bench-kernels"
    ),
    device: Annotated[
        str, typer.Option(help="auto: the CUDA device. cpu: the torch references on this processor.")
    ] = "auto",
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Also time the eager code under torch.compile.")
    ] = True,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random inputs.")] = 0,
) -> None:
    """Check the kernels on this device, then time them against its own ceilings.

    Nothing is timed where a check fails: the command then says which and exits 1.

    It writes a JSON, a table as CSV and Markdown and a roofline, named after the device.
    """
    from sparsity_lab.bench.kernels.run import KernelsWrong, bench_kernels
    from sparsity_lab.fitting.figures import attempted

    try:
        found = bench_kernels(output, device=device, compiled=compiled, seed=seed, progress=progress())
    except KernelsWrong as wrong:
        typer.echo(str(wrong), err=True)
        raise typer.Exit(1) from wrong
    stem = Path(str(found["stem"]))
    with attempted(stem):
        from sparsity_lab.fitting.plots.roofline import roofline

        roofline(found, stem)
    typer.echo(stem.with_suffix(".md").read_text(encoding="utf-8"), nl=False)
    typer.echo(f"Written: {stem}.json, .csv, .md, .png, .svg", err=True)


@app.command("measure")
def measure(
    model: Annotated[
        str,
        typer.Argument(
            help="A model directory, Hub id or ID@REVISION (with --against also a GGUF file), or random:1b for random "
            "weights of that size."
        ),
    ] = "random:1b",
    against: Annotated[
        str | None,
        typer.Option(
            help="Compare with a released algorithm reproduced here instead: sparsinglaw. Takes --text."
        ),
    ] = None,
    text: Annotated[Path | None, typer.Option(help="With --against: the text, UTF-8.")] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="With --against: folder or Hub id of the tokenizer to read the text with.",
            show_default="the checkpoint's, else its parent folder's",
        ),
    ] = None,
    ppl_increase: Annotated[
        str | None,
        typer.Option("--ppl-increase", help="With --against: p of PPL-p%, 1% or 0.01.", show_default="1%"),
    ] = None,
    knob: Annotated[
        float | None,
        typer.Option(
            "--knob", help="With --against: the fixed c to compare at.", show_default="the PPL-p% answer"
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(
            "--tokens", min=2, help="Tokens of one pass.", show_default="65536, with --against 2048"
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option("--window", min=2, help="Tokens of a window.", show_default="1024, with --against 256"),
    ] = None,
    pairs: Annotated[
        int | None, typer.Option("--pairs", min=1, help="Timed pairs of passes.", show_default="5")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="A torch device, or auto.")] = "auto",
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype",
            help="float32, bfloat16 or float16.",
            show_default="bfloat16, with --against float32",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write.")] = Path(
        "runs/bench-measure"
    ),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of weights, tokens and bootstraps.")] = 0,
) -> None:
    """Time what counting and masking add to the forward passes of a model, or this engine against another.

    With --against both run in this process on the same text: the engine, the reference, the engine again.
    The reference takes minutes where the engine takes seconds.
    """
    if against is None:
        _refuse_without_against(text=text, tokenizer=tokenizer, ppl_increase=ppl_increase, knob=knob)
        _overhead(
            model, tokens or 65_536, window or 1024, pairs or 5, device, dtype or "bfloat16", output, seed
        )
        return
    if text is None or pairs is not None:
        raise SparsityLabError(
            "--against takes a text" if text is None else "--pairs does nothing with --against",
            fix="Name a UTF-8 file with --text" if text is None else "Leave it out",
        )
    from sparsity_lab.bench.measure.reference import run_against
    from sparsity_lab.measure.spec import percent

    run_against(
        against, model, text=text, tokens=tokens or 2048, window=window or 256, device=device,
        dtype=dtype or "float32", ppl_increase=percent(ppl_increase or "1%"), knob=knob, output=output,
        seed=seed, progress=progress(), tokenizer=tokenizer,
    )  # fmt: skip
    typer.echo((output / f"{against}.md").read_text(encoding="utf-8"), nl=False)
    typer.echo(f"Written to {output}")


def _refuse_without_against(**options: object) -> None:
    for name, value in options.items():
        if value is not None:
            raise SparsityLabError(
                f"--{name.replace('_', '-')} does nothing without --against",
                fix="Leave it out, or add --against sparsinglaw",
            )


def _overhead(
    model: str, tokens: int, window: int, pairs: int, device: str, dtype: str, output: Path, seed: int
) -> None:
    from sparsity_lab.bench.measure.overhead import run_overhead
    from sparsity_lab.store.tables import to_markdown

    row = run_overhead(
        model, tokens=tokens, window=window, pairs=pairs, device=device, dtype=dtype, output=output, seed=seed,
        progress=progress(),
    )  # fmt: skip
    typer.echo(to_markdown([row], list(row)))
    typer.echo(f"Written to {output}")
