"""`sparsity-lab predict`: how well low-rank predictors know the active neurons beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sparsity_lab.cli import measure_options as options
from sparsity_lab.cli.console.progress import progress
from sparsity_lab.cli.console.watching import Texts, Thresholds, echo_plan
from sparsity_lab.cli.measure_words import revisions_of, windows_at_once

Ranks = Annotated[
    list[int] | None,
    typer.Option("--rank", help="Of the predictors; may be repeated.", show_default="4, 16, 64"),
]
Budgets = Annotated[
    list[float] | None,
    typer.Option(
        "--budget",
        help="Neurons named for a token, over the mean number of active ones; may be repeated.",
        show_default="1, 1.5, 2",
    ),
]
Epochs = Annotated[int, typer.Option("--epochs", help="Passes over the training half.")]


def command(
    models: options.Models,
    thresholds: Thresholds,
    texts: Texts,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of each text; half of them train.")] = 65536,
    window: options.Window = None,
    bos: options.Bos = True,
    ranks: Ranks = None,
    budgets: Budgets = None,
    epochs: Epochs = 20,
    revisions: options.Revisions = None,
    tokenizer: options.Tokenizer = None,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.auto,
    batch_size: options.BatchSize = "auto",
    architecture_file: options.ArchitectureFile = None,
    limit: options.Limit = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of training and bootstrap.")] = 0,
    output: options.Output = Path("runs/predictors"),
    offline: options.Offline = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
) -> None:
    """Train small predictors of each layer's active neurons, and ask how many they find.

    The first half of each text trains, the second judges, beside two guesses that need no training: always the most
    frequent neurons, and those of the last token.
    """
    from sparsity_lab.measure.neurons.predictors.spec import PredictorSettings, PredictSpec
    from sparsity_lab.measure.neurons.spec import NeuronSpec, texts_of
    from sparsity_lab.measure.spec import expand

    watch = NeuronSpec(
        texts=texts_of(texts), tokens=tokens, window=window, bos=bos, device=device, dtype=dtype.value,
        batch_size=windows_at_once(batch_size), written_tokens=0, seed=seed, architecture_file=architecture_file,
    )  # fmt: skip
    usual = PredictorSettings()
    settings = PredictorSettings(
        ranks=tuple(ranks) if ranks else usual.ranks,
        budgets=tuple(budgets) if budgets else usual.budgets,
        epochs=epochs,
    )
    spec = PredictSpec(watch, settings)
    checkpoints = expand(models, revisions=revisions_of(revisions), tokenizer=tokenizer)[:limit]
    if dry_run:
        from sparsity_lab.measure.neurons.predictors.record import KIND
        from sparsity_lab.measure.neurons.predictors.run import plan_cells

        echo_plan(KIND, plan_cells(spec, checkpoints, thresholds=thresholds), output=output)
        return
    from sparsity_lab.fitting.figures import attempted
    from sparsity_lab.measure.neurons.predictors.run import predict_checkpoints

    predict_checkpoints(spec, checkpoints, thresholds=thresholds, output=output, progress=progress())
    with attempted(output / "recall"):
        from sparsity_lab.fitting.plots.predictors import draw_predictors

        draw_predictors(output)
    typer.echo((output / "predictors.md").read_text(encoding="utf-8"))
    typer.echo(f"Written to {output}")
