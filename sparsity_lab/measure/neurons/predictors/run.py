"""What `predict` asks of a checkpoint on a text, and what it writes of all; `watching.py` runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sparsity_lab.measure.model.halving import halving
from sparsity_lab.measure.neurons.predictors import record
from sparsity_lab.measure.neurons.predictors.api import report_of
from sparsity_lab.measure.neurons.predictors.record import KIND
from sparsity_lab.measure.neurons.predictors.rows import predictor_rows, training_rows
from sparsity_lab.measure.neurons.predictors.spec import PredictorSettings
from sparsity_lab.measure.neurons.rows import ALL
from sparsity_lab.measure.neurons.spec import NeuronSpec
from sparsity_lab.measure.neurons.tables import write_records
from sparsity_lab.measure.neurons.watching import Made, PlaceCommand, PlaceRecipe, Watched
from sparsity_lab.measure.work.cells import Desk
from sparsity_lab.measure.work.places import Place, refuse_unhalved
from sparsity_lab.store.table_columns.predictors import PREDICTORS, TRAINING

ALGORITHM = 2  # raised when a change to this room changes numbers; part of every content key


@dataclass(frozen=True)
class PredictorRecipe(PlaceRecipe):
    """What predictors know of a text's neurons; `settings` say which predictors."""

    KIND = KIND

    settings: PredictorSettings

    def determinants(self, measured: str) -> dict[str, Any]:
        """See `PlaceRecipe`."""
        return {"predictors": ALGORITHM, "measured": measured, "settings": asdict(self.settings)}

    def made(self, place: Place, desk: Desk) -> Made:
        """See `PlaceRecipe`."""
        shape, subject = self.loaded(place, desk)
        asked = partial(
            report_of, settings=self.settings, params_total=shape["params_total"], seed=self.watch.seed
        )
        report = halving(subject, lambda: asked(subject, place.calibration))
        body = {
            "settings": asdict(self.settings),
            "training_tokens": report.training_tokens,
            "predictor_rows": predictor_rows(report),
            "training_rows": training_rows(report),
        }
        return body, record.arrays_of(report)


def predict_command(
    watch: NeuronSpec, settings: PredictorSettings, thresholds: Sequence[Path]
) -> PlaceCommand:
    """What `predict` asks: `predictor_records/`, `predictors.csv`, `.md`, `.json` and `training.csv`.

    Raises:
        SparsityLabError: bad settings.
    """
    settings.check()

    def recipes(of_checkpoint: Sequence[Place]) -> list[PredictorRecipe]:
        """One for each text."""
        for place in of_checkpoint:
            refuse_unhalved(place.prepared.windows, text=place.text)
        return [PredictorRecipe(watch, place.calibration, place.text, settings) for place in of_checkpoint]

    def write(output: Path, watched: Watched) -> dict[str, Any]:
        plan = {"predictor_rows": PREDICTORS, "training_rows": TRAINING}
        write_records(output, watched, plan, main=PREDICTORS)
        return {}

    return PlaceCommand(
        KIND, watch, thresholds, recipes, write, values=_values, summary="predictors", keys=("training_tokens",),
        settings={"settings": asdict(settings)},
    )  # fmt: skip


def _values(body: Mapping[str, Any]) -> dict[str, float]:
    """The recall of each predictor at each budget, all layers together."""
    whole = [row for row in body["predictor_rows"] if row["layer"] == ALL and row["rank"] is not None]
    return {f"recall/rank_{row['rank']}_budget_{row['budget']:g}": row["recall"] for row in whole}
