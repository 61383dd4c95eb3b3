"""What one model on one text leaves on disk, and what its columns mean."""

from __future__ import annotations

import numpy as np

from sparsity_lab.measure.neurons.predictors.api import PredictReport
from sparsity_lab.measure.work.places import PLACE_KEYS
from sparsity_lab.store.arrays import Kind

IDENTITY = ("name", "text")
COLUMNS = {
    "layer": "0-based, or all",
    "method": "predictor; frequent, last-token, oracle (see `judge`); last-token-as-is: that token's own set, unranked",
    "rank": "r of a predictor",
    "budget": "neurons named, over the mean number of active ones on the training part",
    "named": "k, neurons named for a token; the mean for last-token-as-is",
    "named_share": "k / F",
    "recall": "named and active / active, on the second half of the text",
    "precision": "named and active / named",
    "over_frequent": "recall less that of frequent, paired",
    "over_last_token": "recall less that of last-token, paired",
    "parameters": "weights of the predictors, r (d + F) + F a layer",
    "ffn_share": "the same over the weights of the FFN",
}
TRAINING = {
    "layer": "0-based",
    "rank": "r",
    "epoch": "pass over the training tokens the predictor is taken from; 0: none was better than the frequencies",
    "loss_nats": "cross-entropy per neuron on the last eighth of the training tokens, not trained on",
    "mean_active": "mean number of active neurons on the training part",
}
WITH_ERROR = {"recall", "precision", "over_frequent", "over_last_token"}
READER = {
    "name": "checkpoint", "text": "text", "method": "method", "rank": "rank", "budget": "budget",
    "named_share": "named", "recall": "recall", "recall_se": "± se", "precision": "precision",
    "precision_se": "± se ", "over_frequent": "recall over frequent", "over_frequent_se": " ± se",
    "ffn_share": "cost, of the FFN",
}  # fmt: skip
KEYS: dict[str, str] = {
    **PLACE_KEYS,
    "settings": "ranks, budgets, epochs, ... as `spec.PredictorSettings` explains them",
    "training_tokens": "tokens of the first half, trained on; the second half judged",
    "predictor_rows": "rows of predictors.csv; see `COLUMNS`",
    "training_rows": "rows of training.csv; see `TRAINING`",
    "seed": "of training and bootstrap",
    "arrays_sha256": "hash of the .safetensors of this name",
    "content_key": "hash of all that determines the numbers; names the file",
    "record_sha256": "hash of this record without this key",
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


def columns() -> tuple[str, ...]:
    """Columns of predictors.csv."""
    named = (*IDENTITY, *COLUMNS)
    return tuple(c for name in named for c in ((name, f"{name}_se") if name in WITH_ERROR else (name,)))
