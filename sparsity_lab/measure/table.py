"""The tables of a run: `table.csv` with every number, `table.md` for readers, and the matrices of a transfer."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparsity_lab import registry
from sparsity_lab.labels import called, shortest
from sparsity_lab.measure.search import noise
from sparsity_lab.measure.work.failures import FAILED, measured, reasons, shortened
from sparsity_lab.settings import THIS_TEXT
from sparsity_lab.store import error_parts, records, tables
from sparsity_lab.store.columns import Column, headings
from sparsity_lab.store.table_columns.measured import ERROR_PARTS, TABLE, TARGETS

logger = logging.getLogger(__name__)

Place = tuple[str, str | None, str | None]
CHECKPOINT = Column("name", "the shortest name that tells the checkpoints of a table apart", "checkpoint")
ASKED_FOR = {column.key for column in TARGETS}
RARE = {"equal_to", FAILED, "activation_ratio_se_with_knob"}
MATRICES = {
    "activation ratio ± standard error": ("activation_ratio", "activation_ratio_se", 4),
    "perplexity ratio ± standard error": ("ppl_ratio", "ppl_ratio_se", 5),
}
CORNER = "calibrated on \\ measured on"


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
    """Write what the rows' errors have in common, beside the table; no file where no row has parts."""
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


def transfer_markdown(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """The matrices of every checkpoint: rows calibrated on, columns measured on."""
    parts, sound = [], measured(rows)
    for model in dict.fromkeys((row["model"], row["revision"]) for row in sound):
        of_model = [row for row in sound if (row["model"], row["revision"]) == model]
        parts.append(f"## {_name(of_model[0])}: {_quality(of_model[0])}\n")
        for heading, (key, error, digits) in MATRICES.items():
            parts += [f"{heading}\n", _matrix(of_model, names, key=key, error=error, digits=digits)]
        parts += _findings(of_model)
    for name, why in reasons(rows).items():
        parts += [f"## {name}: failed\n", f"{' '.join(why)}\n"]
    return "\n".join(parts)


def _findings(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A line on flagged calibrations, on noisy cells and on errors of one text, where there are such."""
    flagged = {row["calibrated_on"]: row["calibration_flags"] for row in rows if row["calibration_flags"]}
    noisy = [f"{row['calibrated_on']} on {row['measured_on']}" for row in rows if row["flags"]]
    lines = []
    if flagged:
        lines.append(
            f"flagged calibrations: {', '.join(f'{name} ({word})' for name, word in flagged.items())}\n"
        )
    if noisy:
        lines.append(f"noisy, for want of --tokens: {', '.join(noisy)}\n")
    local = {row["measured_on"] for row in rows if row.get("errors_hold_for") == THIS_TEXT}
    if local:
        lines.append(f"errors hold for the tokens measured only: {', '.join(sorted(local))}\n")
    return lines


def _matrix(
    rows: Sequence[dict[str, Any]], names: Sequence[str], *, key: str, error: str, digits: int
) -> str:
    cells = {
        (row["calibrated_on"], row["measured_on"]): f"{row[key]:.{digits}f} ± {row[error]:.{digits}f}"
        for row in rows
    }
    lines = [{CORNER: name, **{on: cells[name, on] for on in names}} for name in names]
    return tables.to_markdown(lines, [CORNER, *names])


def _name(row: dict[str, Any]) -> str:
    return called(row["model"], row["revision"], series=row["series"], on_hub=row.get("commit") is not None)


def _quality(row: dict[str, Any]) -> str:
    criterion = row["criterion"]
    if row["ppl_increase_target"] is not None:
        return f"{criterion} at PPL-{100 * row['ppl_increase_target']:g}%"
    if row["activation_ratio_target"] is not None:
        return f"{criterion} at the activation ratio {row['activation_ratio_target']:g}"
    return f"{criterion} at {registry.load('criteria', criterion).KNOB.symbol} = {row['knob']:g}"
