"""What `structure` asks of a checkpoint on a text, and what it writes of all; `watching.py` runs it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sparsity_lab.measure.model.halving import halving
from sparsity_lab.measure.neurons.rows import ALL, Row
from sparsity_lab.measure.neurons.spec import NeuronSpec
from sparsity_lab.measure.neurons.structure import rows
from sparsity_lab.measure.neurons.structure.api import StructureReport, report_of
from sparsity_lab.measure.neurons.structure.counts import MOST_UNITS
from sparsity_lab.measure.neurons.structure.record import KIND, arrays_of
from sparsity_lab.measure.neurons.structure.spec import StructureSettings
from sparsity_lab.measure.neurons.structure.tables import write_tables
from sparsity_lab.measure.neurons.watching import Made, PlaceCommand, PlaceRecipe, Watched
from sparsity_lab.measure.work.cells import Desk
from sparsity_lab.measure.work.places import Place, refuse_unhalved

logger = logging.getLogger(__name__)

ALGORITHM = 2  # raised when a change to this room changes numbers; part of every content key


@dataclass(frozen=True)
class StructureRecipe(PlaceRecipe):
    """How neurons hang together on a text.

    Attributes:
        settings: of what is examined.
        unit_windows: windows of one unit of text, the same for all texts of a checkpoint.
    """

    KIND = KIND

    settings: StructureSettings
    unit_windows: int

    def determinants(self, measured: str) -> dict[str, Any]:
        """See `PlaceRecipe`."""
        return {
            "structure": ALGORITHM,
            "measured": measured,
            "settings": self.settings.identity(),
            "unit_windows": self.unit_windows,
        }

    def made(self, place: Place, desk: Desk) -> Made:
        """See `PlaceRecipe`."""
        _, subject = self.loaded(place, desk)
        asked = partial(
            report_of, settings=self.settings, unit_windows=self.unit_windows, seed=self.watch.seed
        )
        report = halving(subject, lambda: asked(subject, place.calibration))
        return _body(report), arrays_of(report, subject.sizes)


def structure_command(
    watch: NeuronSpec, settings: StructureSettings, thresholds: Sequence[Path]
) -> PlaceCommand:
    """What `structure` asks: `structure_records/`, the tables of `tables.py`, and `structure.json`.

    Checkpoints of one series are compared with each other.

    Raises:
        SparsityLabError: bad settings.
    """
    settings.check()

    def recipes(of_checkpoint: Sequence[Place]) -> list[StructureRecipe]:
        """One for each text, all with units of the same number of windows."""
        for place in of_checkpoint:
            refuse_unhalved(place.prepared.windows, text=place.text)
        windows = [place.prepared.windows.count for place in of_checkpoint]
        # At least two units in the second part.
        unit = max(1, min(-(-max(windows) // MOST_UNITS), min(windows) // 3))
        return [
            StructureRecipe(watch, place.calibration, place.text, settings, unit) for place in of_checkpoint
        ]

    def write(output: Path, watched: Watched) -> dict[str, list[Row]]:
        return write_tables(
            output, watched, permutations=settings.permutations, draws=settings.draws, seed=watch.seed
        )

    return PlaceCommand(
        KIND, watch, thresholds, recipes, write, values=_values, summary="structure",
        settings={"settings": asdict(settings)},
    )  # fmt: skip


def _values(body: Mapping[str, Any]) -> dict[str, float]:
    """The share of activity inside the best clusters, all layers together."""
    whole = [row for row in body["quality_rows"] if row["layer"] == ALL]
    return {f"inside/best_{row['best']}": row["inside"] for row in whole}


def _body(report: StructureReport) -> dict[str, Any]:
    mixture = report.survey is None
    if mixture:
        logger.info("A mixture of experts: its routes are followed, its neurons are not")
    return {
        "settings": asdict(report.settings),
        "unit_windows": report.layout.unit_windows,
        "first_units": report.layout.first_units,
        "neurons_counted": [] if mixture else [len(one) for one in report.layout.chosen],
        "coactivation_rows": [] if mixture else rows.coactivation_rows(report),
        "pair_rows": [] if mixture else rows.pair_rows(report),
        "quality_rows": [] if mixture else rows.quality_rows(report),
        "routing_rows": rows.routing_rows(report),
    }
