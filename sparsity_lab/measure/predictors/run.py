"""Trains and judges predictors for checkpoints on texts, cell by cell; each cell's record is written at once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparsity_lab import records, tables
from sparsity_lab.measure.neurons.grid import Place, load, places
from sparsity_lab.measure.neurons.rows import ALL
from sparsity_lab.measure.neurons.sealed import Sealed
from sparsity_lab.measure.predictors import record
from sparsity_lab.measure.predictors.api import report_of
from sparsity_lab.measure.predictors.record import KIND
from sparsity_lab.measure.predictors.rows import predictor_rows, training_rows
from sparsity_lab.measure.predictors.spec import PredictSpec
from sparsity_lab.measure.shelf import Shelf
from sparsity_lab.measure.spec import Checkpoint
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.provenance import provenance

logger = logging.getLogger(__name__)

ALGORITHM = 1  # raised when a change to this room changes numbers; part of every content key
FOLDER = "predictor_records"


@dataclass(frozen=True)
class Cell:
    """One checkpoint on one text: where it is, and its content key."""

    place: Place
    key: str


def predict_checkpoints(
    spec: PredictSpec,
    checkpoints: Sequence[Checkpoint],
    *,
    thresholds: Sequence[Path],
    output: Path,
    progress: Progress = SILENT,
) -> list[Sealed]:
    """Train and judge for every checkpoint on every text; cells with a record are not run again.

    Args:
        spec: texts and settings.
        checkpoints: which models.
        thresholds: records of `measure`, as `thresholds_of` takes them.
        output: gets `predictor_records/`, `predictors.csv`, `.md`, `training.csv` and `predictors.json`.
        progress: where to report.

    Returns:
        One record for each checkpoint and text.

    Raises:
        SparsityLabError: bad settings, checkpoints, texts or thresholds; records already written stay.
    """
    folder = output / FOLDER
    with records.no_empty_folders(folder):
        records.prepare_output(records.prepare_output(output) / FOLDER)
        shelf = Shelf(spec.watch.architecture_file)
        cells = plan_cells(spec, checkpoints, thresholds=thresholds, progress=progress, shelf=shelf)
        found = []
        with progress.track("predictors", len(cells)) as advance:
            for cell in cells:
                found.append(_record(spec, cell, folder=folder, shelf=shelf, progress=progress))
                advance(1)
    _write_tables(output, found)
    records.write_json(output / "predictors.json", _summary(spec, found))
    return found


def plan_cells(
    spec: PredictSpec,
    checkpoints: Sequence[Checkpoint],
    *,
    thresholds: Sequence[Path],
    progress: Progress = SILENT,
    shelf: Shelf | None = None,
) -> list[Cell]:
    """Every cell, checkpoint by checkpoint; loads no weights and writes nothing.

    Raises:
        SparsityLabError: bad settings, checkpoints, texts or thresholds.
    """
    spec.settings.check()
    found = places(spec.watch, checkpoints, thresholds=thresholds, progress=progress, shelf=shelf)
    keys = [
        {"predictors": ALGORITHM, "measured": place.measured, "settings": spec.settings.identity()}
        for place in found
    ]
    return [Cell(place, records.content_key(key)) for place, key in zip(found, keys, strict=True)]


def done(cells: Sequence[Cell], *, output: Path) -> int:
    """How many of the cells have records."""
    return sum(KIND.find(output / FOLDER, cell.key) is not None for cell in cells)


def _record(spec: PredictSpec, cell: Cell, *, folder: Path, shelf: Shelf, progress: Progress) -> Sealed:
    """The record of a cell: read where it exists, trained, judged and written where not."""
    place = cell.place
    found = KIND.find(folder, cell.key)
    if found is not None:
        logger.info("%s on %s: predicted before", place.prepared.checkpoint.source, place.text)
        return Sealed({**found.body, **place.named()}, found.arrays)
    _, shape, subject = load(spec.watch, place, shelf=shelf, progress=progress)
    report = report_of(
        subject,
        place.calibration,
        settings=spec.settings,
        params_total=shape["params_total"],
        seed=spec.watch.seed,
    )
    body = {
        **place.described(),
        "settings": asdict(spec.settings),
        "training_tokens": report.training_tokens,
        "predictor_rows": predictor_rows(report),
        "training_rows": training_rows(report),
        "seed": spec.watch.seed,
        "content_key": cell.key,
    }
    return KIND.write(folder, body, record.arrays_of(report))


def _write_tables(output: Path, found: Sequence[Sealed]) -> None:
    def rows_of(key: str) -> list[dict[str, Any]]:
        return [
            {**{k: one.body[k] for k in record.IDENTITY}, **row} for one in found for row in one.body[key]
        ]

    rows = rows_of("predictor_rows")
    records.write_text(output / "predictors.csv", tables.to_csv(rows, record.columns()))
    whole = [row for row in rows if row["layer"] == ALL]
    records.write_text(output / "predictors.md", tables.to_markdown(whole, record.READER))
    names = (*record.IDENTITY, *record.TRAINING)
    records.write_text(output / "training.csv", tables.to_csv(rows_of("training_rows"), names))


def _summary(spec: PredictSpec, found: Sequence[Sealed]) -> dict[str, Any]:
    """What was done, for the folder's report."""
    keys = ("name", "model", "revision", "text", "criterion", "knob", "ppl_increase_target", "tokens", "window",
            "training_tokens", "content_key")  # fmt: skip
    return {
        "rows": [{key: one.body[key] for key in keys} for one in found],
        "settings": asdict(spec.settings),
        "texts": {text.name: str(text.path) for text in spec.watch.texts},
        "provenance": provenance(seed=spec.watch.seed),
    }
