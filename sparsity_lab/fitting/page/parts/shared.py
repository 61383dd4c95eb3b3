"""What the parts about structure, predictors, decoding, transfer and criteria share: rows, sentences, their folders."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.page.blocks import Block, Column, Figure, Fold, Prose, Table, without_constants
from sparsity_lab.fitting.page.cells import is_number, read_csv
from sparsity_lab.fitting.page.collect import Found
from sparsity_lab.fitting.page.parts.others import folder_blocks, origin_of
from sparsity_lab.reading.csv_file import FAILED, MEASURED, has_failed
from sparsity_lab.store.tables import number

Row = Mapping[str, Any]
NO_BREAK, ERROR_DIGITS = "\u00a0", 2
MOST_SAID = 8  # cases with a sentence of their own


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Rows of a CSV; none where it is not there or cannot be read, which is said where its whole table is shown.

    Rows of checkpoints that failed are left out: they are shown together.
    """
    try:
        rows = read_csv(path)[1] if path.is_file() else []
    except SparsityLabError:
        return []
    return [
        {key: value for key, value in row.items() if key != FAILED or MEASURED not in row}
        for row in rows if not has_failed(row)
    ]  # fmt: skip


def groups(rows: Iterable[Row], *keys: str) -> dict[tuple[str, ...], list[Row]]:
    """Rows by the values of some keys, in the order they come in."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(str(row.get(key)) for key in keys), []).append(row)
    return found


def reader_table(
    title: str,
    rows: Sequence[Row],
    columns: Mapping[str, str],
    *,
    note: str = "",
    source: str = "",
    ratios: Sequence[str] = (),
) -> list[Block]:
    """A table of the columns that any row has something in, `ratios` near one; none where there are no rows."""
    used = tuple(
        Column(key, name, "ratio" if key in ratios else "value")
        for key, name in columns.items() if any(row.get(key) not in (None, "") for row in rows)
    )  # fmt: skip
    return [without_constants(Table(title, used, tuple(rows), note=note, source=source))] if used else []


def sentences(said: Sequence[str]) -> list[Block]:
    """Sentences as a list; those beyond the first few are in the tables."""
    left = len(said) - MOST_SAID
    more = [f"{left} more {'is' if left == 1 else 'are'} in the tables."] if left > 0 else []
    return [Prose((*said[:MOST_SAID], *more), listed=True)] if said else []


def laid_out(
    found: Found,
    folder: Path,
    *,
    said: Sequence[str],
    tables: Sequence[Block],
    value: object,
    captions: Mapping[str, str],
) -> tuple[Block, ...]:
    """One run of a command: what it says in words, its figures, the tables for readers, and all files behind lines.

    Args:
        found: everything under the report's folder.
        folder: what the command wrote.
        said: sentences.
        tables: blocks for readers.
        value: its JSON document, for the provenance.
        captions: what figures show, by the stems of their files.
    """
    figures: list[Block] = []
    files: list[Block] = []
    for block in folder_blocks(found, folder):
        if isinstance(block, Table):
            block = Fold(block.title, (block,), badge=f"{len(block.rows)} rows")
        if isinstance(block, Figure) and block.path.stem in captions:
            block = Figure(block.path, f"{captions[block.path.stem]} ({found.relative(block.path)})")
        (figures if isinstance(block, Figure) else files).append(block)
    return (*sentences(said), *figures, *tables, *files, *origin_of(value))


def percent(value: object) -> str:
    """A share as a percentage, three significant digits."""
    return f"{100 * float(value):#.3g}".rstrip(".") + f"{NO_BREAK}%" if is_number(value) else "unknown"  # type: ignore[arg-type]


def measured(value: object, error: object, *, share: bool = False, space: str = NO_BREAK) -> str:
    """A value with its standard error at the digits this leaves it; as a percentage where it is a share."""
    if not is_number(value):
        return "unknown"
    times, unit = (100, f"{space}%") if share else (1, "")
    exact = times * float(value)  # type: ignore[arg-type]
    if not is_number(error) or not 0 < abs(float(error)) < math.inf:  # type: ignore[arg-type]
        return number(exact) + unit
    around = times * float(error)  # type: ignore[arg-type]
    decimals = min(max(ERROR_DIGITS - 1 - math.floor(math.log10(around)), 0), 12)
    return f"{exact:,.{decimals}f}{space}±{space}{around:,.{decimals}f}{unit}"


def named(row: Row) -> str:
    """A checkpoint on a text, in bold."""
    text = row.get("text")
    return f"**{row.get('name')}**" + (f" on {text}" if text is not None else "")
