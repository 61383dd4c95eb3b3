"""Rows of a CSV whose cells know where they are, so that an error can name file, row and column."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.reading import csv_numbers
from sparsity_lab.reading.csv_file import read_csv
from sparsity_lab.reading.csv_numbers import MISSING

CsvRow = Mapping[str, "CsvCell"]
YEARS = range(1990, 2100)


@dataclass(frozen=True)
class CsvCell:
    """One cell: its text without surrounding blanks, and where it is (the header is row 1)."""

    text: str
    path: Path
    row: int
    column: str

    def error(self, why: str, *, fix: str = "") -> SparsityLabError:
        """The error for this cell; names file, row and column."""
        return SparsityLabError(
            f"{self.path}, row {self.row}, column {self.column}", why=why[:300], fix=fix or "Correct the cell"
        )

    @property
    def missing(self) -> bool:
        """Whether there is no value: an empty cell, or a word for it."""
        return self.text.casefold() in MISSING

    @property
    def numeric(self) -> bool:
        """Whether the text is a number, finite or not."""
        try:
            csv_numbers.number(self.text)
        except ValueError:
            return False
        return True

    @property
    def is_month(self) -> bool:
        """Whether the text is a year and a month, without a day."""
        return re.fullmatch(r"\d{4}-\d{2}", self.text) is not None

    def required(self) -> str:
        """The text, which may not be empty."""
        if not self.text:
            raise self.error("The cell is empty")
        return self.text

    def number(self, *, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number between two bounds."""
        try:
            value = csv_numbers.number(self.text)
        except ValueError:
            why, fix = csv_numbers.problem(self.text)
            raise self.error(f"{self.text!r} is not a number. {why}", fix=fix) from None
        if not math.isfinite(value):
            raise self.error(f"{self.text} is not a finite number")
        if not low <= value <= high:
            raise self.error(f"{self.text} is not between {low:g} and {high:g}")
        return value

    def day(self) -> date:
        """An ISO date; a month without a day, as 2024-09, is read as its middle, the 15th."""
        if not self.text:
            raise self.error("The cell is empty")
        try:
            day = date.fromisoformat(f"{self.text}-15" if self.is_month else self.text)
        except ValueError:
            raise self.error(f"{self.text!r} is no date", fix="Write it as 2024-09-19") from None
        if day.year not in YEARS:
            raise self.error(f"No model has the date {self.text}", fix="Write it as 2024-09-19")
        return day

    def truth(self) -> bool:
        """True or false, in the usual spellings."""
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if self.text.lower() not in words:
            raise self.error(f"{self.text!r} is neither true nor false")
        return words[self.text.lower()]


def filled(row: CsvRow, column: str) -> CsvCell | None:
    """A row's cell in a column; None if there is no such column or no value in it."""
    cell = row.get(column)
    return None if cell is None or cell.missing else cell


def read_rows(path: Path, *, needed: Sequence[str]) -> list[dict[str, CsvCell]]:
    """All rows of a CSV with a header.

    Raises:
        SparsityLabError: unreadable, empty, ragged, or without a needed column.
    """
    header, rows = read_csv(path)
    if not rows:
        raise SparsityLabError(f"The table {path} has no rows", fix="It needs a header and one row a model")
    if missing := [name for name in needed if name not in header]:
        raise SparsityLabError(
            f"The table {path} has no column {', '.join(missing)}",
            why=f"Its columns are {', '.join(header)}"[:400],
            fix="Add it, or rename one; put commas between columns",
        )
    return [{name: CsvCell(text, path, line, name) for name, text in cells.items()} for line, cells in rows]
