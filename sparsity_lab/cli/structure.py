"""`sparsity-lab structure`: which neurons fire together with a record's thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sparsity_lab.cli.console.options import fill, of_fields
from sparsity_lab.cli.console.watching import run_watch
from sparsity_lab.cli.shared_options import Output, WatchOptions
from sparsity_lab.settings import GroupSettings


@dataclass(frozen=True, kw_only=True)
class StructureOptions(GroupSettings, WatchOptions):
    """The options of `sparsity-lab structure`."""

    output: Output = Path("runs/structure")


@of_fields
def command(options: StructureOptions) -> None:
    """Find which neurons fire together, group them into experts, and evaluate the groups.

    Groups are formed on the first half of each text and evaluated on the second. With several texts, the command also
    reports which neurons prefer one of them; with several checkpoints of a run, when the patterns settle; for a mixture
    of experts, how steadily it routes.
    """
    from sparsity_lab.measure.neurons.structure.run import structure_command
    from sparsity_lab.measure.neurons.structure.spec import StructureSettings

    watch, settings = options.watch(written_tokens=0), fill(StructureSettings, options)
    asked = structure_command(watch, settings, options.thresholds)
    tables = ("clusters", "routing", "specialised", "settled")
    run_watch(options, asked, output=options.output, figures=("clusters", _draw), tables=tables)


def _draw(folder: Path) -> None:
    from sparsity_lab.fitting.plots.structure import draw_structure

    draw_structure(folder)
