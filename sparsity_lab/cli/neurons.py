"""`sparsity-lab neurons`: what the neurons do with a record's thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sparsity_lab.cli.console.options import of_fields
from sparsity_lab.cli.console.watching import run_watch
from sparsity_lab.cli.shared_options import Output, WatchOptions
from sparsity_lab.settings import WritingSettings


@dataclass(frozen=True, kw_only=True)
class NeuronsOptions(WritingSettings, WatchOptions):
    """The options of `sparsity-lab neurons`."""

    output: Output = Path("runs/neurons")


@of_fields
def command(options: NeuronsOptions) -> None:
    """Count what feed-forward neurons do: how often each fires, for which tokens, and how steadily.

    Each text takes one sparse pass with the thresholds of a record. Texts that have a record are not counted again.
    """
    from sparsity_lab.measure.neurons.frequency.run import neurons_command

    asked = neurons_command(options.watch(), options.thresholds)
    run_watch(
        options, asked, output=options.output, figures=("frequency", _draw), tables=("neurons", "decode")
    )


def _draw(folder: Path) -> None:
    from sparsity_lab.fitting.plots.neurons import draw_neurons

    draw_neurons(folder)
