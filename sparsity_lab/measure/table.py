"""The table of a run: `table.csv` with every number, `table.md` for readers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparsity_lab import records, tables

CSV_COLUMNS = (
    "series", "model", "revision", "architecture", "activation_function", "gated", "criterion", "rule", "knob",
    "compat", "ppl_increase_target", "activation_ratio_target", "activation_ratio", "activation_ratio_se",
    "activated_share", "ppl_dense", "ppl_sparse",
    "ppl_ratio", "loss_dense_nats", "loss_sparse_nats", "loss_delta_se_nats", "nonzero_ratio", "flags", "tokens",
    "window", "bos", "trained_tokens", "params_total", "params_nonembedding", "hidden_size", "intermediate_size",
    "layers", "width_depth_ratio", "text_sha256", "seed", "calibrated_on", "content_key",
)  # fmt: skip
ASKED_FOR = {"ppl_increase_target": "p asked for", "activation_ratio_target": "ratio asked for"}
READER_COLUMNS = {
    "name": "checkpoint",
    "trained_tokens": "trained tokens",
    "rule": "rule",
    "knob": "knob",
    "activation_ratio": "activation ratio",
    "activation_ratio_se": "± se",
    "ppl_dense": "PPL dense",
    "ppl_ratio": "PPL ratio",
    "loss_delta_se_nats": "se of loss rise (nats)",
    "flags": "flags",
}


def write_table(output: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write `table.csv` with every number and `table.md` for readers."""
    flat = [
        {
            **row,
            "flags": " ".join(row["flags"]),
            "calibrated_on": (row.get("calibrated_on") or {}).get("content_key"),
        }
        for row in rows
    ]
    records.write_text(output / "table.csv", tables.to_csv(flat, CSV_COLUMNS))
    for row in flat:
        row["ppl_ratio"] = f"{row['ppl_ratio']:.5f}"
        row["name"] = row["series"] if row["series"] == Path(row["model"]).name else _short(row)
    several = {name: title for name, title in ASKED_FOR.items() if len({row[name] for row in flat}) > 1}
    columns = dict(itertools.chain(list(READER_COLUMNS.items())[:3], several.items(), READER_COLUMNS.items()))
    records.write_text(output / "table.md", tables.to_markdown(flat, columns))


def _short(row: dict[str, Any]) -> str:
    return f"{row['series']}/{row['revision'] or Path(row['model']).name}"
