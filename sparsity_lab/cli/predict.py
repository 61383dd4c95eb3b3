"""`sparsity-lab predict`: how well low-rank predictors know the active neurons beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import typer

from sparsity_lab.cli.console.options import fill, of_fields
from sparsity_lab.cli.console.progress import progress
from sparsity_lab.cli.console.watching import echo_plan
from sparsity_lab.cli.shared_options import Output, WatchOptions
from sparsity_lab.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class PredictOptions(TrainSettings, WatchOptions):
    """The options of `sparsity-lab predict`."""

    output: Output = Path("runs/predictors")


@of_fields
def command(options: PredictOptions) -> None:
    """Train small predictors of each layer's active neurons, and ask how many they find.

    The first half of each text trains, the second judges, beside two guesses that need no training: always the most
    frequent neurons, and those of the last token.
    """
    from sparsity_lab.measure.neurons.predictors.spec import PredictorSettings, PredictSpec

    spec = PredictSpec(options.watch(written_tokens=0), fill(PredictorSettings, options))
    checkpoints, output = options.checkpoints(), options.output
    crew = options.crew()
    if options.dry_run:
        from sparsity_lab.measure.neurons.predictors.record import KIND
        from sparsity_lab.measure.neurons.predictors.run import plan_cells

        echo_plan(KIND, plan_cells(spec, checkpoints, options.thresholds), output=output)
        return
    from sparsity_lab.fitting.figures import attempted
    from sparsity_lab.measure.neurons.predictors.run import predict_checkpoints

    predict_checkpoints(
        spec, checkpoints, thresholds=options.thresholds, output=output, options=crew, progress=progress()
    )
    with attempted(output / "recall"):
        from sparsity_lab.fitting.plots.predictors import draw_predictors

        draw_predictors(output)
    typer.echo((output / "predictors.md").read_text(encoding="utf-8"))
    typer.echo(f"Written to {output}")
