"""The tables of the four commands: rows of records, as CSV with every number and as Markdown for readers.

Which columns there are and what they mean: `store/table_columns/`. Readers see the rows of all layers together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sparsity_lab.measure.neurons.rows import ALL, Row
from sparsity_lab.measure.neurons.watching import Watched
from sparsity_lab.measure.work.failures import FAILED
from sparsity_lab.store.columns import TableColumns


def identity(body: Mapping[str, Any]) -> Row:
    """What the rows of a record begin with."""
    return {"name": body["name"], "text": body["text"]}


def write_rows(output: Path, columns: TableColumns, rows: Iterable[Row]) -> None:
    """Write one table; readers see all rows, with their layers, where none are of all layers."""
    rows = list(rows)
    whole = [row for row in rows if row.get("layer", ALL) == ALL]
    if rows and not whole:
        columns = columns.naming("layer")
    columns.write(output, rows, shown=whole or rows)


def write_records(
    output: Path, watched: Watched, plan: Mapping[str, TableColumns], *, main: TableColumns
) -> None:
    """Write the tables whose rows are in the records.

    Args:
        output: the folder.
        watched: records, model by model and text by text, and what failed.
        plan: columns of each table, by the key of its rows; a key that a record may lack has no rows there.
        main: the table of these that names what failed, at its end.
    """
    failed = [{**identity(row), FAILED: row[FAILED]} for row in watched.failed]
    for key, columns in plan.items():
        rows = [
            {**identity(record.body), **row} for record in watched.records for row in record.body.get(key, ())
        ]
        if failed and columns is main:
            write_rows(output, columns.with_failures(), [*rows, *failed])
        else:
            write_rows(output, columns, rows)
