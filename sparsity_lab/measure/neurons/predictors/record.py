"""What one model on one text leaves on disk, with the meaning of every key."""

from __future__ import annotations

import numpy as np

from sparsity_lab.measure.neurons.predictors.api import PredictReport
from sparsity_lab.measure.work.places import PLACE_KEYS
from sparsity_lab.store.arrays import SEAL_KEYS, Kind

KEYS: dict[str, str] = {
    **PLACE_KEYS,
    "settings": "ranks, budgets, epochs, ... as `spec.PredictorSettings` explains them",
    "training_tokens": "tokens of the first half, trained on; the second half judged",
    "predictor_rows": "rows of predictors.csv; see `table_columns.predictors`",
    "training_rows": "rows of training.csv; see `table_columns.predictors`",
    "seed": "of training",
    **SEAL_KEYS,
}
ARRAYS: dict[str, str] = {
    "tokens": "int64 [groups], tokens judged by group of windows",
    "active": "int64 [groups, layers], active neurons on them",
    "hits": "int64 [groups, layers, methods, budgets]; methods are ranks, then frequent, last-token, oracle",
    "before": "int64 [groups, layers], active neurons on their predecessors",
    "kept": "int64 [groups, layers], active on both",
    "named": "int64 [layers, budgets], neurons named",
}
KIND = Kind("predict", folder="predictor_records", mark="predictor_rows", keys=KEYS, arrays=ARRAYS)


def arrays_of(report: PredictReport) -> dict[str, np.ndarray]:
    """The arrays of a record; see `ARRAYS`."""
    counts = report.counts
    return {
        "tokens": counts.tokens,
        "active": counts.active,
        "hits": counts.hits,
        "before": counts.before,
        "kept": counts.kept,
        "named": report.named,
    }
