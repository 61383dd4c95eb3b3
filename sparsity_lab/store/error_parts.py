"""Errors that rows of a table share: the parts of each activation ratio's error, next to the table of `measure`.

Checkpoints that were measured on the same windows err together. `error_parts.csv` has one line a row of `table.csv`, by
content key. The squares of its parts sum to the variance of the row's activation ratio, with the noise of a series'
knob in it, and the products with those of another row of the same windows to their covariance. Rows of different
windows share nothing. A table without the file, or with rows that are not in it, is taken as it was before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsity_lab.reading.csv_rows import CsvRow, read_rows

NAME = "error_parts.csv"
COLUMNS = ("content_key", "text_sha256", "freedom", "parts")
BETWEEN = ";"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ErrorParts:
    """The parts of all rows of some tables.

    Attributes:
        freedom: degrees of freedom of the errors, the least of all rows; infinite where there are none.
        parts: by content key, each float64 [parts of all texts]: zero for those of other windows.
    """

    freedom: float
    parts: Mapping[str, Floats]

    @classmethod
    def beside(cls, tables: Sequence[Path]) -> ErrorParts:
        """Those of tables that have them.

        Raises:
            SparsityLabError: a file is damaged; row and column are named.
        """
        files = dict.fromkeys(table.parent / NAME for table in tables)
        rows = [row for file in files if file.exists() for row in read_rows(file, needed=COLUMNS)]
        read = {row["content_key"].text: (row["text_sha256"].text, _numbers(row)) for row in rows}
        widths: dict[str, int] = {}
        for text, numbers in read.values():
            widths[text] = max(widths.get(text, 0), len(numbers))
        begins = dict(zip(widths, np.cumsum([0, *widths.values()]), strict=False))
        parts = {}
        for key, (text, numbers) in read.items():
            parts[key] = np.zeros(sum(widths.values()))
            parts[key][begins[text] : begins[text] + len(numbers)] = numbers
        return cls(min((row["freedom"].number(low=0.0) for row in rows), default=np.inf), parts)

    def of(self, keys: Sequence[str]) -> Floats | None:
        """The parts of some rows, float64 [rows, parts]; None where one has none."""
        if not keys or any(key not in self.parts for key in keys):
            return None
        return np.stack([self.parts[key] for key in keys])


def _numbers(row: CsvRow) -> Floats:
    cell = row["parts"]
    try:
        return np.array(cell.text.split(BETWEEN), dtype=float)
    except ValueError:
        raise cell.error(f"These are not numbers with {BETWEEN!r} between") from None


def in_a_cell(parts: Sequence[float]) -> str:
    """Parts as a cell of the file."""
    return BETWEEN.join(f"{part:.6g}" for part in parts)
