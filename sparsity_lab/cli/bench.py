"""`sparsity-lab bench`: how fast the parts are on the machine at hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sparsity_lab.cli.console.options import PanelCommand, PanelGroup, fill, of_fields, refuse_idle
from sparsity_lab.cli.console.progress import progress
from sparsity_lab.cli.shared_options import Output, TextOptions
from sparsity_lab.settings import (
    AUTO,
    PPL_INCREASE,
    TEXT,
    TOKENS,
    WHAT,
    Flag,
    Pack,
    Seed,
    TextColumn,
    WeightSettings,
)

app = typer.Typer(
    help="Benchmark kernels, measurement and training on this machine.", cls=PanelGroup, no_args_is_help=True
)
WINDOW, PAIRS, DTYPE = 1024, 5, "bfloat16"
AGAINST_TOKENS, AGAINST_WINDOW, AGAINST_DTYPE = 2048, 256, "float32"


@dataclass(frozen=True, kw_only=True)
class KernelsOptions:
    """The options of `sparsity-lab bench kernels`."""

    device: Annotated[
        str, Flag("auto for the CUDA device, or cpu for the torch references on this processor.")
    ] = AUTO
    compiled: Annotated[
        bool, Flag("Also time the eager code under torch.compile.", flags=("--compile/--no-compile",))
    ] = True
    output: Output = Path("runs/bench-kernels")
    seed: Seed = 0


@app.command("kernels", cls=PanelCommand)
@of_fields
def kernels(options: KernelsOptions) -> None:
    """Check the kernels on this device, then time them against the device's own measured ceilings.

    If a check fails, nothing is timed: the command reports which one failed and exits with code 1.

    The command writes a JSON file, a table (CSV and Markdown) and a roofline figure, all named after the device.
    """
    from sparsity_lab.bench.kernels.run import KernelsWrong, bench_kernels
    from sparsity_lab.fitting.figures import attempted

    try:
        timed = bench_kernels(
            options.output,
            device=options.device,
            compiled=options.compiled,
            seed=options.seed,
            progress=progress(),
        )
    except KernelsWrong as wrong:
        typer.echo(str(wrong), err=True)
        raise typer.Exit(1) from wrong
    stem = Path(str(timed["stem"]))
    with attempted(stem):
        from sparsity_lab.fitting.plots.roofline import roofline

        roofline(timed, stem)
    typer.echo(stem.with_suffix(".md").read_text(encoding="utf-8"), nl=False)
    typer.echo(f"Written: {stem}.json, .csv, .md, .png, .svg", err=True)


@dataclass(frozen=True, kw_only=True)
class CostBenchOptions(WeightSettings, TextOptions):
    """The options of `sparsity-lab bench measure`; what is None has another default with `--against`."""

    model: Annotated[
        str,
        typer.Argument(
            help="A model directory, Hub id or ID@REVISION (with --against also a GGUF file), or random:1b for random "
            "weights of that size."
        ),
    ] = "random:1b"
    against: Annotated[
        str | None,
        Flag("Compare with a released algorithm reproduced here instead: sparsinglaw. Needs a text.", WHAT),
    ] = None
    text_column: TextColumn = None
    pack: Pack = False
    tokenizer: Annotated[
        str | None,
        Flag(
            "With --against: folder or Hub id of the tokenizer that reads the text.",
            TEXT,
            shown="the checkpoint's, else its parent folder's",
        ),
    ] = None
    ppl_increase: Annotated[
        str | None, Flag("With --against: p of PPL-p%, as 1% or 0.01.", WHAT, shown=f"{PPL_INCREASE:.0%}")
    ] = None
    knob: Annotated[
        float | None, Flag("With --against: fixed knob to compare at.", WHAT, shown="the PPL-p% answer")
    ] = None
    tokens: Annotated[
        int | None, Flag("Tokens per pass.", TEXT, shown=f"{TOKENS}, with --against {AGAINST_TOKENS}")
    ] = None
    window: Annotated[
        int | None, Flag("Tokens per window.", TEXT, shown=f"{WINDOW}, with --against {AGAINST_WINDOW}")
    ] = None
    pairs: Annotated[int | None, Flag("Timed pairs of passes.", shown=str(PAIRS))] = None
    device: Annotated[str, Flag("Torch device, or auto.")] = AUTO
    dtype: Annotated[
        str | None,
        Flag(
            "Dtype of weights and activations: float32, bfloat16 or float16.",
            shown=f"{DTYPE}, with --against {AGAINST_DTYPE}",
        ),
    ] = None
    output: Output = Path("runs/bench-measure")
    seed: Seed = 0


@app.command("measure", cls=PanelCommand)
@of_fields
def measure(options: CostBenchOptions) -> None:
    """Time what counting and masking add to a model's forward passes, or compare this engine with another.

    With --against, both run in this process on the same text: the engine, the reference, then the engine again.
    Where the engine takes seconds, the reference takes minutes.
    """
    if options.against is None:
        refuse_idle(
            options, "text", "dataset", "text_column", "pack", "tokenizer", "ppl_increase", "knob",
            because="without --against", fix="Leave it out, or add --against sparsinglaw",
        )  # fmt: skip
        _overhead(options)
        return
    refuse_idle(options, "pairs", because="with --against", fix="Leave it out")
    from sparsity_lab.bench.measure.reference import AgainstSpec, run_against
    from sparsity_lab.measure.spec import percent

    spec = AgainstSpec(
        options.against, options.model, options.place(), tokens=options.tokens or AGAINST_TOKENS,
        window=options.window or AGAINST_WINDOW, device=options.device, dtype=options.dtype or AGAINST_DTYPE,
        ppl_increase=PPL_INCREASE if options.ppl_increase is None else percent(options.ppl_increase),
        knob=options.knob, seed=options.seed, tokenizer=options.tokenizer, weights=fill(WeightSettings, options),
        text_column=options.text_column, pack=options.pack,
    )  # fmt: skip
    run_against(spec, options.output, progress=progress())
    typer.echo((options.output / f"{options.against}.md").read_text(encoding="utf-8"), nl=False)
    typer.echo(f"Written to {options.output}")


def _overhead(options: CostBenchOptions) -> None:
    from sparsity_lab.bench.measure.overhead import OverheadSpec, run_overhead
    from sparsity_lab.store.tables import to_markdown

    spec = OverheadSpec(
        options.model, tokens=options.tokens or TOKENS, window=options.window or WINDOW, pairs=options.pairs or PAIRS,
        device=options.device, dtype=options.dtype or DTYPE, seed=options.seed,
        weights=fill(WeightSettings, options),
    )  # fmt: skip
    row = run_overhead(spec, options.output, progress=progress())
    typer.echo(to_markdown([row], list(row)))
    typer.echo(f"Written to {options.output}")
