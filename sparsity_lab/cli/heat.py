"""`sparsity-lab heat`: which tokens of a text need many neurons, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import typer

from sparsity_lab.cli.console.config import save_resolved
from sparsity_lab.cli.console.options import fill, of_fields, refuse_idle
from sparsity_lab.cli.console.progress import progress
from sparsity_lab.cli.shared_options import LaunchOptions, ModelOptions, Output, TextOptions, Thresholds
from sparsity_lab.settings import HeatSettings


@dataclass(frozen=True, kw_only=True)
class HeatOptions(HeatSettings, LaunchOptions, ModelOptions, TextOptions):
    """The options of `sparsity-lab heat`."""

    thresholds: Thresholds
    output: Output = Path("runs/heat")


@of_fields
def command(options: HeatOptions) -> None:
    """Count the kept neurons of each token of a text in each layer, and draw the text as a heat map.

    Of several models each has a folder of its own in the output. `sparsity-lab report` shows the result as a text that
    can be pointed at.
    """
    from sparsity_lab.fitting.figures import attempted
    from sparsity_lab.measure.neurons.spec import record_of_each
    from sparsity_lab.measure.token_heat import HeatSpec, write_heat
    from sparsity_lab.measure.work.run_cells import Means

    output, checkpoints = options.output, options.checkpoints()
    if len(checkpoints) == 1:
        refuse_idle(options, "jobs", because="with one text of one model", fix="Leave it out")
    asked = list(zip(checkpoints, record_of_each(options.thresholds, checkpoints, options), strict=True))
    means = Means(options.crew(), progress=progress())
    for folder, heat in write_heat(
        fill(HeatSpec, options, text=options.place()), asked, output=output, means=means
    ):
        with attempted(folder / "token_heat"):
            from sparsity_lab.fitting.plots.token_heat import draw_heat

            draw_heat(heat, output=folder)
        ratio = f"activation ratio {heat['activation_ratio']:.4f} over {len(heat['tokens'])} tokens"
        typer.echo(ratio if folder == output else f"{folder.name}: {ratio}")
    save_resolved(options, output)
    typer.echo(f"Written to {output}")
