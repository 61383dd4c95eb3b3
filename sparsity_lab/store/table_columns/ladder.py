"""Columns of what `train` writes and of what dry runs of `train` and `study` print."""

from __future__ import annotations

from sparsity_lab.store.columns import Column, TableColumns

RUN = Column("run", "name of the run, and of its folder", "run")
TOTAL = Column("params_total", "parameters, tied ones once", "parameters")
NONEMBEDDING = Column("params_nonembedding", "parameters less both embeddings", "non-embedding")

ESTIMATE = TableColumns(
    "estimate",
    RUN,
    TOTAL,
    NONEMBEDDING,
    Column("tokens", "tokens trained on, whole batches", "tokens"),
    Column("tokens_per_parameter", "the same over params_nonembedding", "tokens / non-embedding"),
    Column("epochs", "how often the training part of the corpus is walked", "epochs"),
    Column("checkpoints", "how many are taken", "checkpoints"),
    Column("flops", "of forward and backward passes over all tokens", "FLOPs"),
    Column("seconds", "of training, from timing pieces of the models on this machine", "seconds, estimated"),
    Column("disk_bytes", "of checkpoints and one optimizer state", "disk bytes"),
)
RUNS = TableColumns(
    "runs",
    *ESTIMATE.pick(
        "run params_total params_nonembedding tokens tokens_per_parameter checkpoints flops disk_bytes"
    ),
)
CHECKPOINTS = TableColumns(
    "checkpoints",
    RUN,
    Column("activation", "sigma of the FFN", "activation"),
    Column("gated", "whether the FFN has a gate", "gated"),
    Column("hidden_size", "d", "hidden size"),
    Column("layers", "decoder layers", "layers"),
    TOTAL,
    NONEMBEDDING,
    Column("step", "optimizer steps taken", "step"),
    Column("trained_tokens", "step times batch size times window", "trained tokens"),
    Column("checkpoint", "its folder, relative to the table's", "checkpoint"),
)
LOSS_LOG = TableColumns(
    "loss",
    Column("step", "optimizer steps taken"),
    Column("trained_tokens", "step times batch size times window"),
    Column("loss_nats", "mean over the steps since the row before, nats per predicted token"),
    Column("learning_rate", "at that step"),
    Column("gradient_norm", "at that step, before clipping"),
    markdown=False,
)
PLAN = TableColumns(
    "plan",
    Column("stage", "of a study", "stage"),
    Column("what", "its cells are", "what"),
    Column("cells", "how many there are; empty where the stage has none", "cells"),
    Column("done", "how many of them are done", "done"),
    Column("seconds", "of what is left, on this machine", "seconds left, estimated"),
)
