"""Examines the structure of checkpoints on texts, cell by cell; each cell's record is written as it completes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sparsity_lab.measure.model.halving import halving
from sparsity_lab.measure.neurons.structure import rows
from sparsity_lab.measure.neurons.structure.api import StructureReport, report_of
from sparsity_lab.measure.neurons.structure.counts import MOST_UNITS
from sparsity_lab.measure.neurons.structure.record import KIND, arrays_of
from sparsity_lab.measure.neurons.structure.spec import StructureSettings, StructureSpec
from sparsity_lab.measure.neurons.structure.tables import write_tables
from sparsity_lab.measure.spec import Checkpoint
from sparsity_lab.measure.work.cells import Cell, Desk
from sparsity_lab.measure.work.launchers import ALONE, Options
from sparsity_lab.measure.work.places import (
    Made,
    Place,
    PlaceRecipe,
    places,
    refuse_unhalved,
    sealed_records,
    summary,
)
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.store import records
from sparsity_lab.store.arrays import Sealed

logger = logging.getLogger(__name__)

ALGORITHM = 1  # raised when a change to this room changes numbers; part of every content key


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

        def examined() -> StructureReport:
            return report_of(
                subject,
                place.calibration,
                settings=self.settings,
                unit_windows=self.unit_windows,
                seed=self.watch.seed,
            )

        report = halving(subject, examined)
        return _body(report), arrays_of(report, subject.sizes)


def examine_checkpoints(
    spec: StructureSpec,
    checkpoints: Sequence[Checkpoint],
    *,
    thresholds: Sequence[Path],
    output: Path,
    options: Options = ALONE,
    progress: Progress = SILENT,
) -> list[Sealed]:
    """Examine every checkpoint on every text; cells with a record are not run again.

    Args:
        spec: texts and settings.
        checkpoints: which models; those of one series are compared with each other.
        thresholds: records of `measure`, as `thresholds_of` takes them.
        output: gets `structure_records/`, the tables and `structure.json`.
        options: the launcher that hands checkpoints to processes and what it is told.
        progress: where to report.

    Returns:
        One record for each checkpoint and text.

    Raises:
        SparsityLabError: bad settings, checkpoints, texts or thresholds; records already written stay.
    """
    cells = partial(plan_cells, spec, checkpoints, thresholds)
    sealed = sealed_records(KIND, cells, output=output, options=options, progress=progress)
    settings = spec.settings
    across = write_tables(
        output, sealed, permutations=settings.permutations, draws=settings.draws, seed=spec.watch.seed
    )
    words = summary(spec.watch, sealed, settings=asdict(settings))
    records.write_json(output / "structure.json", {**words, **across})
    return sealed


def plan_cells(
    spec: StructureSpec,
    checkpoints: Sequence[Checkpoint],
    thresholds: Sequence[Path],
    elsewhere: str | None = None,
) -> list[Cell[Sealed]]:
    """Every cell, checkpoint by checkpoint; loads no weights and writes nothing.

    Raises:
        SparsityLabError: bad settings, checkpoints, texts or thresholds.
    """
    spec.settings.check()
    every = places(spec.watch, checkpoints, thresholds=thresholds, elsewhere=elsewhere)
    for place in every:
        refuse_unhalved(place.prepared.windows, text=place.text)
    texts = len(spec.watch.texts)
    cells: list[Cell[Sealed]] = []
    for start in range(0, len(every), texts):
        of_checkpoint = every[start : start + texts]
        windows = [place.prepared.windows.count for place in of_checkpoint]
        unit = max(
            1, min(-(-max(windows) // MOST_UNITS), min(windows) // 3)
        )  # two of the second part, at least
        for place in of_checkpoint:
            recipe = StructureRecipe(spec.watch, place.calibration, place.text, spec.settings, unit)
            cells.append(Cell(recipe, place.prepared))
    return cells


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
