"""`sparsity-lab predict`: how well low-rank predictors know the active neurons beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sparsity_lab.cli.console.options import fill, of_fields
from sparsity_lab.cli.console.watching import run_watch
from sparsity_lab.cli.shared_options import Output, WatchOptions
from sparsity_lab.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class PredictOptions(TrainSettings, WatchOptions):
    """The options of `sparsity-lab predict`."""

    output: Output = Path("runs/predictors")


@of_fields
def command(options: PredictOptions) -> None:
    """Train small predictors of each layer's active neurons, and measure how many they find.

    Predictors are trained on the first half of each text and evaluated on the second, along with two baselines that
    need no training: always the most frequent neurons, and the active neurons of the previous token.
    """
    from sparsity_lab.measure.neurons.predictors.run import predict_command
    from sparsity_lab.measure.neurons.predictors.spec import PredictorSettings

    watch, settings = options.watch(written_tokens=0), fill(PredictorSettings, options)
    asked = predict_command(watch, settings, options.thresholds)
    run_watch(options, asked, output=options.output, figures=("recall", _draw), tables=("predictors",))


def _draw(folder: Path) -> None:
    from sparsity_lab.fitting.plots.predictors import draw_predictors

    draw_predictors(folder)
