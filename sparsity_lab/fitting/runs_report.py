"""Writes the files of a fit over a ladder of runs: fits.json, fits.csv, fits.md and provenance.json."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

from sparsity_lab import records
from sparsity_lab.fitting.runs import RunsFit
from sparsity_lab.provenance import provenance
from sparsity_lab.tables import to_csv, to_markdown

ROW_KEYS = ["coefficient", "value", "low", "high", "profile low", "profile high", "unit"]


def write(result: RunsFit, folder: Path, *, source: Path) -> None:
    """Write the files of a ladder's fit."""
    rows = [_row(result, name) for name in result.coefficients]
    columns = ROW_KEYS
    records.write_json(folder / "fits.json", [result.to_json()])
    records.write_text(folder / "fits.csv", to_csv(rows, columns))
    inputs = ", ".join(f"{v.symbol}: {v.meaning} in {v.unit}" for v in result.law.inputs)
    limits = [
        f"- Condition number: {result.condition:.3g}",
        f"- Intervals: 95 %; low and high by {result.draws} bootstrap refits over runs, profile by the "
        "objective's rise with the coefficient held",
    ]
    lines = [
        "# Fit over a ladder of runs", "", f"- Law: {result.law.formula} ({result.law.source}); {inputs}",
        *([f"- Units: {'; '.join(f'{name} in {one}' for name, one in result.units.items())}"] if result.units else []),
        f"- Points: {result.points} of {result.runs} runs, {result.left_out} left out",
        f"- Objective: {result.objective_name} = {result.objective:.7g}",
        f"- Root mean square error: {result.rmse:.4g}",
        f"- Starts: {result.starts_at_best} of {result.starts} reached it within 1 %",
        f"- Verdict: **{result.verdict.word}**: {result.verdict.reason}",
        *([f"- Bound: {result.verdict.bound}"] if result.verdict.bound else []),
        *(limits if result.verdict.describes else []), f"- Data sha256: `{result.sha256}`",
        "", *([to_markdown(rows, columns)] if rows else []),
    ]  # fmt: skip
    records.write_text(folder / "fits.md", "\n".join(lines))
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    records.write_json(folder / "provenance.json", provenance(table=source.name, table_sha256=digest))


def _row(result: RunsFit, name: str) -> dict[str, object]:
    """A coefficient with its two intervals; an open end of a profile is left empty."""
    value, low, high = result.coefficients[name]
    held = result.profiles.get(name)
    return {
        "coefficient": name,
        "value": value,
        "low": _known(low),
        "high": _known(high),
        "profile low": None if held is None or held.open_low else held.low,
        "profile high": None if held is None or held.open_high else held.high,
        "unit": result.law.parameter(name).unit,
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
