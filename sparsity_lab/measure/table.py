"""The tables of a run: `table.csv` with every number, and `table.md` for readers."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparsity_lab.labels import called, shortest
from sparsity_lab.measure.search import noise
from sparsity_lab.measure.work.failures import FAILED, shortened
from sparsity_lab.store import error_parts, records, tables
from sparsity_lab.store.columns import Column, headings
from sparsity_lab.store.table_columns.measured import ERROR_PARTS, TABLE, TARGETS

logger = logging.getLogger(__name__)

Place = tuple[str, str | None, str | None]
CHECKPOINT = Column("name", "the shortest name that tells the checkpoints of a table apart", "checkpoint")
ASKED_FOR = {column.key for column in TARGETS}
RARE = {"equal_to", FAILED, "activation_ratio_se_with_knob"}


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
    records.write_text(output / "table.csv", TABLE.csv(flat))
    _write_error_parts(output, rows)
    columns = [column for column in (CHECKPOINT, *TABLE.for_readers()) if _is_shown(column.key, flat)]
    shown = readable(flat, names)
    records.write_text(output / "table.md", tables.to_markdown(shown, headings(columns)))


def _write_error_parts(output: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write what the rows' errors have in common, next to the table; no file if no row has parts."""
    lines = []
    for row in rows:
        parts = row.get("activation_ratio_components_with_knob") or row.get("activation_ratio_components")
        if parts:
            freedom = noise.freedom_of(row["error_units"], sample=row["sample"])
            lines.append({**row, "freedom": freedom, "parts": error_parts.in_a_cell(parts)})
    (output / error_parts.NAME).unlink(missing_ok=True)
    ERROR_PARTS.write(output, lines)


def _is_shown(key: str, rows: Sequence[dict[str, Any]]) -> bool:
    """Whether readers see a column: what was asked for where it differs, what is rare where it is there."""
    if key in ASKED_FOR:
        return len({row[key] for row in rows}) > 1
    return key not in RARE or any(row.get(key) for row in rows)


def readable(rows: Sequence[dict[str, Any]], names: dict[Place, str]) -> list[dict[str, Any]]:
    """Rows with the checkpoints' names, for readers: reasons shortened, ratios near one with five decimals."""
    return [
        {
            **row,
            "name": names[place_of(row)],
            "ppl_ratio": row["ppl_ratio"] and f"{row['ppl_ratio']:.5f}",
            FAILED: shortened(row.get(FAILED)),
        }
        for row in rows
    ]


def place_of(row: dict[str, Any]) -> Place:
    """What distinguishes checkpoints: model, revision and commit."""
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
    for row in rows:  # a checkpoint may have failed rows as well as others
        content[place_of(row)] = content.get(place_of(row)) or row.get("weights_sha256")
    equal = {
        place: [names[other] for other in content if other != place and content[other] == sha256 is not None]
        for place, sha256 in content.items()
    }
    for place, others in equal.items():
        if others and place == next(other for other in content if content[other] == content[place]):
            logger.warning("%s holds the same bytes as %s", names[place], ", ".join(others))
    return equal
