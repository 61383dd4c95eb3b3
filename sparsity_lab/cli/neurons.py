"""`sparsity-lab neurons`: what the neurons do under a record's thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import typer

from sparsity_lab.cli.console.options import of_fields
from sparsity_lab.cli.console.progress import progress
from sparsity_lab.cli.console.watching import echo_plan
from sparsity_lab.cli.shared_options import Output, WatchOptions
from sparsity_lab.settings import WritingSettings


@dataclass(frozen=True, kw_only=True)
class NeuronsOptions(WritingSettings, WatchOptions):
    """The options of `sparsity-lab neurons`."""

    output: Output = Path("runs/neurons")


@of_fields
def command(options: NeuronsOptions) -> None:
    """Count what feed-forward neurons do: how often each fires, for which tokens, and how steadily.

    One sparse pass a text under the thresholds of a record; what was counted before is not counted again.
    """
    spec, checkpoints, output = options.watch(), options.checkpoints(), options.output
    crew = options.crew()
    if options.dry_run:
        from sparsity_lab.measure.neurons.frequency.record import KIND
        from sparsity_lab.measure.neurons.frequency.run import plan_cells

        echo_plan(KIND, plan_cells(spec, checkpoints, options.thresholds), output=output)
        return
    from sparsity_lab.fitting.figures import attempted
    from sparsity_lab.measure.neurons.frequency.run import watch_checkpoints

    watch_checkpoints(
        spec, checkpoints, thresholds=options.thresholds, output=output, options=crew, progress=progress()
    )
    with attempted(output / "frequency"):
        from sparsity_lab.fitting.plots.neurons import draw_neurons

        draw_neurons(output)
    typer.echo((output / "neurons.md").read_text(encoding="utf-8"))
    if (output / "decode.md").exists():
        typer.echo((output / "decode.md").read_text(encoding="utf-8"))
    typer.echo(f"Written to {output}")
