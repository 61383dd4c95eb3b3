"""How many parameters and training tokens a row of a table states, as counts within bounds."""

from __future__ import annotations

from collections.abc import Mapping

from sparsity_lab.fitting.density.scores.columns import PARTS, SIZES, TOKENS
from sparsity_lab.reading.csv_rows import CsvCell, CsvRow, filled

SMALLEST_PARAMS, LARGEST_PARAMS = 1e4, 1e14
FEWEST_TOKENS, MOST_TOKENS = 1e6, 1e15
SAME_AMOUNT = 0.01


def amount_of(row: CsvRow, units: Mapping[str, float]) -> float | None:
    """A number of parameters or tokens from whichever of the columns has it.

    Raises:
        SparsityLabError: outside the bounds, or two columns that differ; names the cell.
    """
    first: tuple[str, float] | None = None
    for column, unit in units.items():
        if not (cell := filled(row, column)):
            continue
        amount = _scaled(cell, unit)
        if first is None:
            first = column, amount
        elif abs(amount - first[1]) > SAME_AMOUNT * first[1]:
            raise cell.error(
                f"It means {amount:.4g}, the column {first[0]} {first[1]:.4g}", fix="Keep the right one"
            )
    return None if first is None else first[1]


def refuse_parts_above_total(row: CsvRow) -> None:
    """Refuse more active or non-embedding parameters than there are in total.

    Raises:
        SparsityLabError: names the cell.
    """
    total = amount_of(row, SIZES)
    for column, unit in PARTS.items():
        part = amount_of(row, {column: unit})
        if total and part and part > total * (1 + SAME_AMOUNT):
            raise row[column].error(
                f"{part:.4g} parameters are more than the {total:.4g} of the whole model",
                fix="Check which column is which",
            )


def _scaled(cell: CsvCell, unit: float) -> float:
    value, tokens = cell.number() * unit, cell.column in TOKENS
    low, high = (FEWEST_TOKENS, MOST_TOKENS) if tokens else (SMALLEST_PARAMS, LARGEST_PARAMS)
    if not low <= value <= high:
        raise cell.error(
            f"{cell.text} means {value:.3g} {'tokens' if tokens else 'parameters'}",
            fix=f"Give the column {cell.column} in units of {unit:g}"
            if unit != 1
            else "Give a plain count, as 7e9",
        )
    return value
