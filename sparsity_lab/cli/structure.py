"""`sparsity-lab structure`: how neurons hang together under a record's thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import typer

from sparsity_lab.cli.console.options import fill, of_fields
from sparsity_lab.cli.console.progress import progress
from sparsity_lab.cli.console.watching import echo_plan
from sparsity_lab.cli.shared_options import Output, WatchOptions
from sparsity_lab.settings import GroupSettings


@dataclass(frozen=True, kw_only=True)
class StructureOptions(GroupSettings, WatchOptions):
    """The options of `sparsity-lab structure`."""

    output: Output = Path("runs/structure")


@of_fields
def command(options: StructureOptions) -> None:
    """Find which neurons fire together, group them into experts, and ask what the groups are worth.

    The first half of each text finds, the second judges. Several texts: which neurons prefer one. Several
    checkpoints of a run: where patterns settle. A mixture of experts: how steadily it routes.
    """
    from sparsity_lab.measure.neurons.structure.spec import StructureSettings, StructureSpec

    spec = StructureSpec(options.watch(written_tokens=0), fill(StructureSettings, options))
    checkpoints, output = options.checkpoints(), options.output
    crew = options.crew()
    if options.dry_run:
        from sparsity_lab.measure.neurons.structure.record import KIND
        from sparsity_lab.measure.neurons.structure.run import plan_cells

        echo_plan(KIND, plan_cells(spec, checkpoints, options.thresholds), output=output)
        return
    from sparsity_lab.fitting.figures import attempted
    from sparsity_lab.measure.neurons.structure.run import examine_checkpoints

    examine_checkpoints(
        spec, checkpoints, thresholds=options.thresholds, output=output, options=crew, progress=progress()
    )
    with attempted(output / "clusters"):
        from sparsity_lab.fitting.plots.structure import draw_structure

        draw_structure(output)
    for name in ("clusters", "routing", "specialised", "settled"):
        if (output / f"{name}.md").exists():
            typer.echo((output / f"{name}.md").read_text(encoding="utf-8"))
    typer.echo(f"Written to {output}")
