"""The loss of training as a CSV, and as points for loggers: one row per so many steps, and one at each checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsity_lab.loggers import Loggers
from sparsity_lab.reading.csv_file import read_csv
from sparsity_lab.store.records import write_text
from sparsity_lab.store.table_columns.ladder import LOSS_LOG


def loss_rows(history: Sequence[Mapping[str, Any]], *, tokens_per_step: int) -> list[dict[str, object]]:
    """Rows of the loss log out of the trainer's own history.

    `loss_nats` is the mean over the steps since the row before, nats per predicted token.
    """
    return [
        {
            "step": int(entry["step"]),
            "trained_tokens": int(entry["step"]) * tokens_per_step,
            "loss_nats": float(entry["loss"]),
            "learning_rate": float(entry["learning_rate"]),
            "gradient_norm": float(entry["grad_norm"]),
        }
        for entry in history
        if "loss" in entry
    ]


def write_loss_log(path: Path, history: Sequence[Mapping[str, Any]], *, tokens_per_step: int) -> None:
    """Write the loss log, whole or not at all."""
    write_text(path, LOSS_LOG.csv(loss_rows(history, tokens_per_step=tokens_per_step)))


def read_loss_log(path: Path) -> list[dict[str, str]]:
    """Rows of a loss log as they are in the file; none if there is no file."""
    return [row for _, row in read_csv(path)[1]] if path.exists() else []


def log_rows(loggers: Loggers, series: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows of a loss log as points at their trained tokens."""
    for row in rows:
        values = {f"train/{name}": float(row[name]) for name in LOSS_LOG.header[2:]}
        loggers.point(series, values, step=int(row["trained_tokens"]))
