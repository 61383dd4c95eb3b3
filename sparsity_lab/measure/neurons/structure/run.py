"""Examines the structure of checkpoints on texts, cell by cell; each cell's record is written as it completes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparsity_lab.measure.model.halving import halving
from sparsity_lab.measure.model.loaded import Shelf
from sparsity_lab.measure.neurons.structure import rows
from sparsity_lab.measure.neurons.structure.api import StructureReport, report_of
from sparsity_lab.measure.neurons.structure.counts import MOST_UNITS
from sparsity_lab.measure.neurons.structure.record import KIND, arrays_of
from sparsity_lab.measure.neurons.structure.spec import StructureSpec
from sparsity_lab.measure.neurons.structure.tables import write_tables
from sparsity_lab.measure.spec import Checkpoint
from sparsity_lab.measure.work.cellwise import CellWork, Made, summary
from sparsity_lab.measure.work.places import Place, load, places, refuse_unhalved
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.store import records
from sparsity_lab.store.arrays import Sealed

logger = logging.getLogger(__name__)

ALGORITHM = 1  # raised when a change to this room changes numbers; part of every content key


@dataclass(frozen=True)
class StructureCell:
    """One checkpoint on one text.

    Attributes:
        place: checkpoint, text and thresholds.
        unit_windows: windows of one unit of text, the same for all texts of a checkpoint.
        key: content key.
    """

    place: Place
    unit_windows: int
    key: str


def examine_checkpoints(
    spec: StructureSpec,
    checkpoints: Sequence[Checkpoint],
    *,
    thresholds: Sequence[Path],
    output: Path,
    progress: Progress = SILENT,
) -> list[Sealed]:
    """Examine every checkpoint on every text; cells with a record are not run again.

    Args:
        spec: texts and settings.
        checkpoints: which models; those of one series are compared with each other.
        thresholds: records of `measure`, as `thresholds_of` takes them.
        output: gets `structure_records/`, the tables and `structure.json`.
        progress: where to report.

    Returns:
        One record for each checkpoint and text.

    Raises:
        SparsityLabError: bad settings, checkpoints, texts or thresholds; records already written stay.
    """

    def cells(shelf: Shelf) -> list[StructureCell]:
        return plan_cells(spec, checkpoints, thresholds=thresholds, progress=progress, shelf=shelf)

    def made(cell: StructureCell, shelf: Shelf) -> Made:
        _, _, subject = load(spec.watch, cell.place, shelf=shelf, progress=progress)

        def examined() -> StructureReport:
            return report_of(
                subject,
                cell.place.calibration,
                settings=spec.settings,
                unit_windows=cell.unit_windows,
                seed=spec.watch.seed,
            )

        report = halving(subject, examined)
        return _body(report), arrays_of(report, subject.sizes)

    found = CellWork(KIND, cells, made).run(output, watch=spec.watch, progress=progress)
    settings = spec.settings
    across = write_tables(
        output, found, permutations=settings.permutations, draws=settings.draws, seed=spec.watch.seed
    )
    told = summary(spec.watch, found, settings=asdict(settings))
    records.write_json(output / "structure.json", {**told, **across})
    return found


def plan_cells(
    spec: StructureSpec,
    checkpoints: Sequence[Checkpoint],
    *,
    thresholds: Sequence[Path],
    progress: Progress = SILENT,
    shelf: Shelf | None = None,
) -> list[StructureCell]:
    """Every cell, checkpoint by checkpoint; loads no weights and writes nothing.

    Raises:
        SparsityLabError: bad settings, checkpoints, texts or thresholds.
    """
    spec.settings.check()
    found = places(spec.watch, checkpoints, thresholds=thresholds, progress=progress, shelf=shelf)
    for place in found:
        refuse_unhalved(place.prepared.windows, text=place.text)
    texts = len(spec.watch.texts)
    cells = []
    for start in range(0, len(found), texts):
        of_one = found[start : start + texts]
        windows = [place.prepared.windows.count for place in of_one]
        unit = max(
            1, min(-(-max(windows) // MOST_UNITS), min(windows) // 3)
        )  # two of the second part, at least
        cells += [_cell(spec, place, unit_windows=unit) for place in of_one]
    return cells


def _cell(spec: StructureSpec, place: Place, *, unit_windows: int) -> StructureCell:
    key = {
        "structure": ALGORITHM,
        "measured": place.measured,
        "settings": spec.settings.identity(),
        "unit_windows": unit_windows,
    }
    return StructureCell(place, unit_windows, records.content_key(key))


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
