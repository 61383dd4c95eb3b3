"""Columns of what `predict` writes."""

from __future__ import annotations

from sparsity_lab.store.columns import IDENTITY, Column, TableColumns, measured

PREDICTORS = TableColumns(
    "predictors",
    *IDENTITY,
    Column("layer", "0-based, or all"),
    Column(
        "method",
        "predictor; frequent, last-token, oracle (see `judge`); last-token-as-is: that token's own set, unranked",
        "method",
    ),
    Column("rank", "r of a predictor", "rank"),
    Column("budget", "neurons named, over the mean number of active ones on the training part", "budget"),
    Column("named", "k, neurons named for a token; the mean for last-token-as-is"),
    Column("named_share", "k / F", "named"),
    *measured("recall", "named and active / active, on the second half of the text", "recall"),
    *measured("precision", "named and active / named", "precision", error="± se "),
    *measured("over_frequent", "recall less that of frequent, paired", "recall over frequent", error=" ± se"),
    *measured("over_last_token", "recall less that of last-token, paired"),
    Column("parameters", "weights of the predictors, r (d + F) + F a layer"),
    Column("ffn_share", "the same over the weights of the FFN", "cost, of the FFN"),
)
TRAINING = TableColumns(
    "training",
    *IDENTITY,
    Column("layer", "0-based"),
    Column("rank", "r"),
    Column("epoch", "which pass over the training tokens; 0: none was better than the frequencies"),
    Column("loss_nats", "cross-entropy per neuron on the last eighth of the training tokens, not trained on"),
    Column("mean_active", "mean number of active neurons on the training part"),
    markdown=False,
)
