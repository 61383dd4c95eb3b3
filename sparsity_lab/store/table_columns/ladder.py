"""Columns of what `train` writes and of what dry runs of `train` and `study` print."""

from sparsity_lab.store.columns import TableColumns, described

ESTIMATE = described("ladder", "estimate")
RUNS = TableColumns(
    "runs",
    *ESTIMATE.pick(
        "run params_total params_nonembedding tokens tokens_per_parameter checkpoints flops disk_bytes"
    ),
)
CHECKPOINTS = described("ladder", "checkpoints")
LOSS_LOG = described("ladder", "loss", markdown=False)
PLAN = described("ladder", "plan")
