"""`sparsity-lab neurons`: what the neurons do under a record's thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sparsity_lab.cli import measure_options as options
from sparsity_lab.cli.console.progress import progress
from sparsity_lab.cli.console.watching import Texts, Thresholds, echo_plan
from sparsity_lab.cli.measure_words import revisions_of, windows_at_once

Written = Annotated[
    int,
    typer.Option("--written-tokens", min=0, help="Tokens to let the model write after each prompt; 0: none."),
]
Prompts = Annotated[int, typer.Option("--prompts", min=1, help="Prompts, beginnings of windows.")]


def command(
    models: options.Models,
    thresholds: Thresholds,
    texts: Texts,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of each text.")] = 65536,
    window: options.Window = None,
    bos: options.Bos = True,
    written_tokens: Written = 64,
    prompts: Prompts = 32,
    revisions: options.Revisions = None,
    tokenizer: options.Tokenizer = None,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.auto,
    batch_size: options.BatchSize = "auto",
    architecture_file: options.ArchitectureFile = None,
    limit: options.Limit = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap and of what is written.")] = 0,
    output: options.Output = Path("runs/neurons"),
    offline: options.Offline = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
) -> None:
    """Count what feed-forward neurons do: how often each fires, for which tokens, and how steadily.

    One sparse pass a text under the thresholds of a record; what was counted before is not counted again.
    """
    from sparsity_lab.measure.neurons.spec import NeuronSpec, texts_of
    from sparsity_lab.measure.spec import expand

    spec = NeuronSpec(
        texts=texts_of(texts), tokens=tokens, window=window, bos=bos, device=device, dtype=dtype.value,
        batch_size=windows_at_once(batch_size), written_tokens=written_tokens, prompts=prompts, seed=seed,
        architecture_file=architecture_file,
    )  # fmt: skip
    checkpoints = expand(models, revisions=revisions_of(revisions), tokenizer=tokenizer)[:limit]
    if dry_run:
        from sparsity_lab.measure.neurons.frequency.record import KIND
        from sparsity_lab.measure.neurons.frequency.run import plan_cells

        echo_plan(KIND, plan_cells(spec, checkpoints, thresholds=thresholds), output=output)
        return
    from sparsity_lab.fitting.figures import attempted
    from sparsity_lab.measure.neurons.frequency.run import watch_checkpoints

    watch_checkpoints(spec, checkpoints, thresholds=thresholds, output=output, progress=progress())
    with attempted(output / "frequency"):
        from sparsity_lab.fitting.plots.neurons import draw_neurons

        draw_neurons(output)
    typer.echo((output / "neurons.md").read_text(encoding="utf-8"))
    if (output / "decode.md").exists():
        typer.echo((output / "decode.md").read_text(encoding="utf-8"))
    typer.echo(f"Written to {output}")
