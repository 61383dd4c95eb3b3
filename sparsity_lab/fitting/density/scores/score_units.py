"""Tells percent from fractions, and refuses a table that holds both.

A score above 1 must be a percentage. A table is in percent if any score is above 1; then a row, or a column
of at least three scores, that never exceeds 1 can only be fractions that slipped in. A single low score
(0.7 % on a hard task) beside larger ones of the same model is taken at its word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.scores.csv_rows import CsvCell

PERCENT, FRACTION = 100.0, 1.0


def scale_of(rows: Sequence[Mapping[str, CsvCell]], *, path: Path) -> float:
    """100 for a table in percent, 1 for one in fractions.

    Raises:
        SparsityLabError: both occur; names a row or a column.
    """
    filled = [[cell for cell in row.values() if not cell.missing] for row in rows]
    if not any(filled):
        raise SparsityLabError(
            f"{path} has no scores", fix="Fill in the columns of tasks, in percent or as fractions"
        )
    if all(cell.number() <= 1 for row in filled for cell in row):
        return FRACTION
    for row in filled:
        if row and max(cell.number() for cell in row) <= 1:
            raise _mixed(row[0], f"the scores of row {row[0].row} look like fractions")
    for name in rows[0]:
        column = [row[name] for row in rows if not row[name].missing]
        if len(column) >= 3 and max(cell.number() for cell in column) <= 1:
            raise _mixed(column[0], f"the column {name} looks like fractions")
    return PERCENT


def fits(cells: Sequence[CsvCell], scale: float) -> bool:
    """Whether a column of which nobody says that it holds scores can hold some in that scale."""
    filled = [cell for cell in cells if not cell.missing]
    if not all(cell.numeric and 0 <= float(cell.text) <= scale for cell in filled):
        return False
    return scale == FRACTION or len(filled) < 3 or any(float(cell.text) > 1 for cell in filled)


def never_above_1(rows: Sequence[Mapping[str, CsvCell]], scale: float) -> list[str]:
    """Columns of a table in percent whose few scores are as low as fractions."""
    columns = {name: [row[name].number() for row in rows if not row[name].missing] for name in rows[0]}
    return [name for name, scores in columns.items() if scale == PERCENT and scores and 0 < max(scores) <= 1]


def _mixed(cell: CsvCell, what: str) -> SparsityLabError:
    return SparsityLabError(
        f"{cell.path} mixes percent with fractions: {what} ({cell.column} {cell.text}), others exceed 1",
        fix="Give all scores in percent, or all as fractions",
    )
