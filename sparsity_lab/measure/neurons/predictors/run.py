"""Trains and judges predictors for checkpoints on texts, cell by cell; each cell's record is written at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparsity_lab.measure.model.halving import halving
from sparsity_lab.measure.model.loaded import Shelf
from sparsity_lab.measure.neurons.predictors import record
from sparsity_lab.measure.neurons.predictors.api import PredictReport, report_of
from sparsity_lab.measure.neurons.predictors.record import KIND
from sparsity_lab.measure.neurons.predictors.rows import predictor_rows, training_rows
from sparsity_lab.measure.neurons.predictors.spec import PredictSpec
from sparsity_lab.measure.neurons.rows import ALL
from sparsity_lab.measure.spec import Checkpoint
from sparsity_lab.measure.work.cellwise import CellWork, Made, summary
from sparsity_lab.measure.work.places import Place, load, places, refuse_unhalved
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.store import records, tables
from sparsity_lab.store.arrays import Sealed

ALGORITHM = 1  # raised when a change to this room changes numbers; part of every content key


@dataclass(frozen=True)
class PredictorCell:
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

    def cells(shelf: Shelf) -> list[PredictorCell]:
        return plan_cells(spec, checkpoints, thresholds=thresholds, progress=progress, shelf=shelf)

    def made(cell: PredictorCell, shelf: Shelf) -> Made:
        return _made(spec, cell, shelf=shelf, progress=progress)

    found = CellWork(KIND, cells, made).run(output, watch=spec.watch, progress=progress)
    _write_tables(output, found)
    told = summary(spec.watch, found, keys=("training_tokens",), settings=asdict(spec.settings))
    records.write_json(output / "predictors.json", told)
    return found


def plan_cells(
    spec: PredictSpec,
    checkpoints: Sequence[Checkpoint],
    *,
    thresholds: Sequence[Path],
    progress: Progress = SILENT,
    shelf: Shelf | None = None,
) -> list[PredictorCell]:
    """Every cell, checkpoint by checkpoint; loads no weights and writes nothing.

    Raises:
        SparsityLabError: bad settings, checkpoints, texts or thresholds.
    """
    spec.settings.check()
    found = places(spec.watch, checkpoints, thresholds=thresholds, progress=progress, shelf=shelf)
    for place in found:
        refuse_unhalved(place.prepared.windows, text=place.text)
    keys = [
        {"predictors": ALGORITHM, "measured": place.measured, "settings": spec.settings.identity()}
        for place in found
    ]
    return [PredictorCell(place, records.content_key(key)) for place, key in zip(found, keys, strict=True)]


def _made(spec: PredictSpec, cell: PredictorCell, *, shelf: Shelf, progress: Progress) -> Made:
    _, shape, subject = load(spec.watch, cell.place, shelf=shelf, progress=progress)

    def judged() -> PredictReport:
        return report_of(
            subject,
            cell.place.calibration,
            settings=spec.settings,
            params_total=shape["params_total"],
            seed=spec.watch.seed,
        )

    report = halving(subject, judged)
    body = {
        "settings": asdict(spec.settings),
        "training_tokens": report.training_tokens,
        "predictor_rows": predictor_rows(report),
        "training_rows": training_rows(report),
    }
    return body, record.arrays_of(report)


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
