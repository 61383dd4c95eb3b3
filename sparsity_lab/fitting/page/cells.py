"""Cells of CSV files as values, and values as readers want to see them."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from sparsity_lab.reading import csv_file
from sparsity_lab.store import tables

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
MEASURED = re.compile(r"-?\d+\.\d{6,}(e-?\d+)?")  # digits no name has: a number among bounds and words
TEXTS = ("sha256", "key", "revision", "calibrated_on")  # hashes may look like numbers
HASH = re.compile(r"[0-9a-f]{20,64}")
HASH_SHOWN = 10


def read_csv(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Header and rows of a CSV; a column is of numbers where every cell is one or empty.

    Raises:
        SparsityLabError: as `csv_file.read_csv`.
    """
    header, rows = csv_file.read_csv(path, fix="Save it as CSV in UTF-8", as_written=True)
    columns = [_column(name, [row[name] for _, row in rows]) for name in header]
    return header, [dict(zip(header, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _column(name: str, cells: list[str]) -> list[Any]:
    if not name.endswith(TEXTS) and all(not cell or NUMBER.fullmatch(cell) for cell in cells):
        return [None if not cell else _number(cell) for cell in cells]
    words = {"": None, "true": True, "false": False}
    return [float(cell) if MEASURED.fullmatch(cell) else words.get(cell, cell) for cell in cells]


def _number(cell: str) -> int | float | str:
    value = float(cell)
    if not math.isfinite(value):  # digits beyond what a float holds: a name, not a number
        return cell
    return int(cell) if re.fullmatch(r"[+-]?\d+", cell) else value


def shown(value: object, kind: str = "value") -> str:
    """A value for readers: four significant digits, thousands apart, hashes cut, nothing for None.

    A `ratio` near one has five decimals.
    """
    if kind == "ratio" and isinstance(value, float):
        return f"{value:.5f}"
    if isinstance(value, float) and not math.isfinite(value):
        return "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(shown(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {shown(item)}" for key, item in value.items())
    text = tables.shown(value)
    return text[:HASH_SHOWN] + "…" if HASH.fullmatch(text) else text


def whole(value: object, digits: int = 3) -> str:
    """A number at so many digits, or `unknown`."""
    return tables.number(float(value), digits) if tables.is_number(value) else "unknown"
