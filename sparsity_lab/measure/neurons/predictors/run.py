"""Trains and judges predictors for checkpoints on texts, cell by cell; each cell's record is written at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sparsity_lab.measure.model.halving import halving
from sparsity_lab.measure.neurons.predictors import record
from sparsity_lab.measure.neurons.predictors.api import PredictReport, report_of
from sparsity_lab.measure.neurons.predictors.record import KIND
from sparsity_lab.measure.neurons.predictors.rows import predictor_rows, training_rows
from sparsity_lab.measure.neurons.predictors.spec import PredictorSettings, PredictSpec
from sparsity_lab.measure.neurons.tables import write_records
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
from sparsity_lab.store.table_columns.predictors import PREDICTORS, TRAINING

ALGORITHM = 1  # raised when a change to this room changes numbers; part of every content key


@dataclass(frozen=True)
class PredictorRecipe(PlaceRecipe):
    """What predictors know of a text's neurons; `settings` say which predictors."""

    KIND = KIND

    settings: PredictorSettings

    def determinants(self, measured: str) -> dict[str, Any]:
        """See `PlaceRecipe`."""
        return {"predictors": ALGORITHM, "measured": measured, "settings": self.settings.identity()}

    def made(self, place: Place, desk: Desk) -> Made:
        """See `PlaceRecipe`."""
        shape, subject = self.loaded(place, desk)

        def judged() -> PredictReport:
            return report_of(
                subject,
                place.calibration,
                settings=self.settings,
                params_total=shape["params_total"],
                seed=self.watch.seed,
            )

        report = halving(subject, judged)
        body = {
            "settings": asdict(self.settings),
            "training_tokens": report.training_tokens,
            "predictor_rows": predictor_rows(report),
            "training_rows": training_rows(report),
        }
        return body, record.arrays_of(report)


def predict_checkpoints(
    spec: PredictSpec,
    checkpoints: Sequence[Checkpoint],
    *,
    thresholds: Sequence[Path],
    output: Path,
    options: Options = ALONE,
    progress: Progress = SILENT,
) -> list[Sealed]:
    """Train and judge for every checkpoint on every text; cells with a record are not run again.

    Args:
        spec: texts and settings.
        checkpoints: which models.
        thresholds: records of `measure`, as `thresholds_of` takes them.
        output: gets `predictor_records/`, `predictors.csv`, `.md`, `training.csv` and `predictors.json`.
        options: the launcher that hands checkpoints to processes and what it is told.
        progress: where to report.

    Returns:
        One record for each checkpoint and text.

    Raises:
        SparsityLabError: bad settings, checkpoints, texts or thresholds; records already written stay.
    """
    cells = partial(plan_cells, spec, checkpoints, thresholds)
    sealed = sealed_records(KIND, cells, output=output, options=options, progress=progress)
    write_records(output, sealed, {"predictor_rows": PREDICTORS, "training_rows": TRAINING})
    words = summary(spec.watch, sealed, keys=("training_tokens",), settings=asdict(spec.settings))
    records.write_json(output / "predictors.json", words)
    return sealed


def plan_cells(
    spec: PredictSpec,
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
    return [
        Cell(PredictorRecipe(spec.watch, place.calibration, place.text, spec.settings), place.prepared)
        for place in every
    ]
