"""The table of a run: `table.csv` with every number, `table.md` for readers."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparsity_lab.labels import called, shortest
from sparsity_lab.measure.work.failures import FAILED, shortened
from sparsity_lab.store import records, tables

logger = logging.getLogger(__name__)

CSV_COLUMNS = (
    "series", "model", "revision", "architecture", "activation_function", "gated", "criterion", "rule", "knob",
    "compat", "ppl_increase_target", "activation_ratio_target", "activation_ratio", "activation_ratio_se",
    "activated_share", "ppl_dense", "ppl_sparse",
    "ppl_ratio", "loss_dense_nats", "loss_sparse_nats", "loss_delta_se_nats", "nonzero_ratio", "flags", "tokens",
    "window", "bos", "trained_tokens", "params_total", "params_nonembedding", "hidden_size", "intermediate_size",
    "layers", "width_depth_ratio", "text_sha256", "seed", "calibrated_on", "content_key", "commit",
    "weights_sha256", "equal_to", FAILED,
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
    "tokens": "tokens",
    "flags": "flags",
}


def write_table(output: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write `table.csv` with every number and `table.md` for readers; a note where checkpoints are equal.

    The rows of checkpoints that failed have the reason in the column `failed`, and no measured number.
    """
    names = names_of(rows)
    equal = _equals(rows, names)
    flat = [
        {
            **row,
            "flags": " ".join(row["flags"]),
            "calibrated_on": (row.get("calibrated_on") or {}).get("content_key"),
            "equal_to": ", ".join(equal[place_of(row)]),
        }
        for row in rows
    ]
    records.write_text(output / "table.csv", tables.to_csv(flat, CSV_COLUMNS))
    for row in flat:
        row["ppl_ratio"] = row["ppl_ratio"] and f"{row['ppl_ratio']:.5f}"
        row["name"] = names[place_of(row)]
        row[FAILED] = shortened(row.get(FAILED))
    several = {name: title for name, title in ASKED_FOR.items() if len({row[name] for row in flat}) > 1}
    said = {"equal_to": "equal to"} if any(equal.values()) else {}
    said |= {FAILED: "failed"} if any(row.get(FAILED) for row in flat) else {}
    columns = dict(
        itertools.chain(
            list(READER_COLUMNS.items())[:3], several.items(), READER_COLUMNS.items(), said.items()
        )
    )
    records.write_text(output / "table.md", tables.to_markdown(flat, columns))


Place = tuple[str, str | None, str | None]


def place_of(row: dict[str, Any]) -> Place:
    """What tells checkpoints apart: model, revision and commit."""
    return row["model"], row["revision"], row.get("commit")


def names_of(rows: Sequence[dict[str, Any]]) -> dict[Place, str]:
    """The shortest names of the rows' checkpoints that tell them apart; one on the Hub is ID@REVISION."""
    hub = {
        place: called(place[0], place[1], series="", on_hub=True)
        for place in map(place_of, rows)
        if place[1] is not None or place[2] is not None
    }
    local = {
        place: Path(os.path.abspath(place[0]))
        for place in map(place_of, rows)
        if place not in hub
    }  # fmt: skip
    short = shortest(local.values(), taken=set(hub.values()))
    return hub | {place: short[path] for place, path in local.items()}


def _equals(rows: Sequence[dict[str, Any]], names: dict[Place, str]) -> dict[Place, list[str]]:
    """For each checkpoint, the others that hold the same bytes."""
    content: dict[Place, str | None] = {}
    for row in rows:  # a checkpoint may have rows that failed beside others
        content[place_of(row)] = content.get(place_of(row)) or row.get("weights_sha256")
    equal = {
        place: [names[other] for other in content if other != place and content[other] == sha256 is not None]
        for place, sha256 in content.items()
    }
    for place, others in equal.items():
        if others and place == next(other for other in content if content[other] == content[place]):
            logger.warning("%s holds the same bytes as %s", names[place], ", ".join(others))
    return equal
