"""`sparsity-lab heat`: which tokens of a text need many neurons, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sparsity_lab.cli.console.config import save_resolved
from sparsity_lab.cli.console.options import fill, of_fields, refuse_idle
from sparsity_lab.cli.console.progress import progress
from sparsity_lab.cli.shared_options import LaunchOptions, ModelOptions, Output
from sparsity_lab.settings import TEXT, WHAT, Flag, HeatSettings


@dataclass(frozen=True, kw_only=True)
class HeatOptions(HeatSettings, LaunchOptions, ModelOptions):
    """The options of `sparsity-lab heat`."""

    thresholds: Annotated[Path, Flag("Record of `measure` whose thresholds are applied.", WHAT)]
    text: Annotated[Path, Flag("Text in UTF-8; its beginning is shown.", TEXT)]
    output: Output = Path("runs/heat")


@of_fields
def command(options: HeatOptions) -> None:
    """Count the kept neurons of each token of a text in each layer, and draw the text as a heat map.

    `sparsity-lab report` shows the result as a text one can point at.
    """
    refuse_idle(options, "jobs", because="with one text of one model", fix="Leave it out")
    from sparsity_lab.fitting.figures import attempted
    from sparsity_lab.measure.token_heat import HeatSpec, write_heat
    from sparsity_lab.measure.work.run_cells import Means

    output = options.output
    spec = fill(HeatSpec, options)
    heat = write_heat(spec, output=output, means=Means(options.crew(), progress=progress()))
    with attempted(output / "token_heat"):
        from sparsity_lab.fitting.plots.token_heat import draw_heat

        draw_heat(heat, output=output)
    save_resolved(options, output)
    typer.echo(f"activation ratio {heat['activation_ratio']:.4f} over {len(heat['tokens'])} tokens")
    typer.echo(f"Written to {output}")
