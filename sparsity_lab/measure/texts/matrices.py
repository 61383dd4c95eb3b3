"""What a transfer shows readers: of each checkpoint the matrices of its texts, and what they say of further texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparsity_lab import registry
from sparsity_lab.labels import called
from sparsity_lab.measure.texts.between import between_markdown
from sparsity_lab.measure.work.failures import measured, reasons
from sparsity_lab.settings import THIS_TEXT
from sparsity_lab.store import tables

MATRICES = {
    "activation ratio ± standard error": ("activation_ratio", "activation_ratio_se", 4),
    "perplexity ratio ± standard error": ("ppl_ratio", "ppl_ratio_se", 5),
}
CORNER = "calibrated on \\ measured on"


def transfer_markdown(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """The matrices of every checkpoint, rows calibrated on, columns measured on, and how its texts differ."""
    parts, sound = [], measured(rows)
    for model in dict.fromkeys((row["model"], row["revision"]) for row in sound):
        of_model = [row for row in sound if (row["model"], row["revision"]) == model]
        parts.append(f"## {_name(of_model[0])}: {_quality(of_model[0])}\n")
        for heading, (key, error, digits) in MATRICES.items():
            parts += [f"{heading}\n", _matrix(of_model, names, key=key, error=error, digits=digits)]
        parts += _findings(of_model)
        parts += between_markdown(of_model)
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
