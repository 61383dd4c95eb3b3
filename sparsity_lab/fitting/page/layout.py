"""What the parts of a report share: rows of tables, sentences, and the section of one run of a command."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.page.blocks import (
    Block,
    Facts,
    Figure,
    Fold,
    Prose,
    Section,
    Table,
    table,
    without_constants,
)
from sparsity_lab.fitting.page.cells import read_csv, shown
from sparsity_lab.fitting.page.collect import Contents
from sparsity_lab.reading.csv_file import FAILED, MEASURED, has_failed
from sparsity_lab.store.columns import Column
from sparsity_lab.store.tables import is_number, number

Row = Mapping[str, Any]
NO_BREAK, ERROR_DIGITS = "\u00a0", 2
MOST_SENTENCES = 8  # cases with a sentence each
MOST_ROWS = 1000
SHORT = 12  # rows of a table that is shown without being opened
HEAT = "token_heat"  # its table and figure hold the numbers of the part about tokens


def command_sections(
    contents: Contents,
    title: str,
    document: str,
    content: Callable[[Path, Any], tuple[Sequence[str], Sequence[Block]]],
    captions: Mapping[str, str] | None = None,
) -> list[Section]:
    """One section for each run of a command: sentences, figures, tables for readers, every file, provenance.

    Args:
        found: everything under the report's folder.
        title: of the sections; the run's folder is added.
        document: name of the JSON file that each run of the command writes.
        content: the folder and what the document holds -> sentences, and blocks for readers.
        captions: what figures show, by the stems of their files.
    """
    sections = []
    for path, value in contents.named(document):
        sentences, blocks = content(path.parent, value)
        figures = figures_in(contents, path.parent, captions or {})
        files = tables_in(contents, path.parent, folded=any(isinstance(block, Table) for block in blocks))
        provenance = provenance_of(value.get("provenance"))
        inside = (*listed(sentences), *figures, *blocks, *files, *provenance)
        sections.append(Section(f"{title} ({contents.place(path.parent)})", inside))
    return sections


def figures_in(contents: Contents, folder: Path, captions: Mapping[str, str]) -> list[Block]:
    """The figures of a folder and those inside it."""
    paths = [path for path in contents.figures if folder in path.parents and path.stem != HEAT]
    return [figure(contents, path, captions.get(path.stem)) for path in paths]


def figure(contents: Contents, path: Path, caption: str | None = None) -> Figure:
    """A figure under its caption, or its name, with the path of its file."""
    return Figure(path, f"{caption or path.stem.replace('_', ' ')} ({contents.relative(path)})")


def tables_in(contents: Contents, folder: Path, *, folded: bool = False) -> list[Block]:
    """The tables of a folder and those inside it, long ones (or all) behind a line."""
    paths = [path for path in contents.csvs if folder in path.parents and path.stem != HEAT]
    return tables_of(contents, paths, folded=folded)


def tables_of(contents: Contents, paths: Iterable[Path], *, folded: bool = False) -> list[Block]:
    """CSV files as tables, long ones (or all) behind a line."""
    tables = [file_table for path in paths if (file_table := _file_table(contents, path)) is not None]
    return [
        fold(file_table) if folded or len(file_table.rows) > SHORT else file_table for file_table in tables
    ]


def _file_table(contents: Contents, path: Path) -> Table | None:
    """A CSV as a table; of a very long one the first rows, with a note."""
    try:
        header, rows = read_csv(path)
    except SparsityLabError as error:
        contents.unread.append((path, error.why or error.what))
        return None
    cut = (
        f"The first {MOST_ROWS:,} of {len(rows):,} rows; all are in the file."
        if len(rows) > MOST_ROWS
        else ""
    )
    title = path.stem.replace("_", " ").replace("-", " ")
    whole = table(title, rows[:MOST_ROWS], header, note=cut, source=contents.relative(path))
    return without_constants(whole) if header else None


def fold(inside: Table) -> Fold:
    """A table behind its title."""
    return Fold(inside.title, (inside,), badge=f"{len(inside.rows)} rows")


def provenance_of(provenance: object) -> list[Block]:
    """The provenance of a document, behind a line."""
    if not isinstance(provenance, Mapping):
        return []
    return [Fold("Provenance", (Facts(tuple((key, shown(value)) for key, value in provenance.items())),))]


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
    by_values: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        by_values.setdefault(tuple(str(row.get(key)) for key in keys), []).append(row)
    return by_values


def reader_table(
    title: str,
    rows: Sequence[Row],
    columns: Sequence[Column],
    *,
    note: str = "",
    source: str = "",
) -> list[Block]:
    """A table of the columns that any row has something in; none if there are no rows."""
    used = tuple(c for c in columns if any(row.get(c.key) not in (None, "") for row in rows))
    return [without_constants(Table(title, used, tuple(rows), note=note, source=source))] if used else []


def listed(sentences: Sequence[str]) -> list[Block]:
    """Sentences as a list; those beyond the first few are in the tables."""
    left = len(sentences) - MOST_SENTENCES
    more = [f"{left} more {'is' if left == 1 else 'are'} in the tables."] if left > 0 else []
    return [Prose((*sentences[:MOST_SENTENCES], *more), listed=True)] if sentences else []


def percent(value: object) -> str:
    """A share as a percentage, three significant digits."""
    return f"{100 * float(value):#.3g}".rstrip(".") + f"{NO_BREAK}%" if is_number(value) else "unknown"


def measured(value: object, error: object, *, share: bool = False, space: str = NO_BREAK) -> str:
    """A value with its standard error at the digits this leaves it; as a percentage where it is a share."""
    if not is_number(value):
        return "unknown"
    times, unit = (100, f"{space}%") if share else (1, "")
    exact = times * float(value)
    if not is_number(error) or not 0 < abs(float(error)) < math.inf:
        return number(exact) + unit
    around = times * float(error)
    decimals = min(max(ERROR_DIGITS - 1 - math.floor(math.log10(around)), 0), 12)
    return f"{exact:,.{decimals}f}{space}±{space}{around:,.{decimals}f}{unit}"


def named(row: Row) -> str:
    """A checkpoint on a text, in bold."""
    text = row.get("text")
    return f"**{row.get('name')}**" + (f" on {text}" if text is not None else "")
