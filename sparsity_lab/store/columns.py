"""One `Column` for each column of a table: what it is called and what it means, for CSV, Markdown, page and tests.

`table_columns/` describes them, a file for each command. The command writes its files from that; the report, which
meets the command on disk alone, takes its headings from there too.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from sparsity_lab.reading.csv_file import FAILED
from sparsity_lab.store.records import RECORD_KEYS, write_text
from sparsity_lab.store.tables import Row, to_csv, to_markdown

ERROR = "_se"  # behind the name of a measured number: the column of its standard error


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        key: of the rows' values, and the header in CSV.
        meaning: what the values are, with their unit, and when a cell is empty.
        heading: what readers see; empty where a column is for machines alone.
        format: `value`; `ratio`, near one and shown with five decimals; `strip`, a list of numbers from 0 to 1 drawn
            layer by layer; `record`, a name that opens the record of the row's `content_key`.
        has_error: whether the column of its standard error follows.
    """

    key: str
    meaning: str = ""
    heading: str = ""
    format: str = "value"
    has_error: bool = False

    @property
    def for_readers(self) -> bool:
        """Whether tables for readers show it."""
        return bool(self.heading)


class TableColumns:
    """The columns of one table.

    Attributes:
        name: of its files, less the suffix.
        columns: in the order of the CSV.
        readers: keys in the order of the Markdown, where that is another.
        markdown: whether there is a table for readers.
    """

    def __init__(self, name: str, *columns: Column, readers: str = "", markdown: bool = True) -> None:
        self.name, self.columns, self.readers, self.markdown = name, columns, readers, markdown

    @property
    def header(self) -> list[str]:
        """The header of the CSV."""
        return [column.key for column in self.columns]

    def with_failures(self) -> TableColumns:
        """The table with a column that says why a checkpoint has no numbers."""
        readers = f"{self.readers} {FAILURE.key}" if self.readers else ""
        return TableColumns(self.name, *self.columns, FAILURE, readers=readers, markdown=self.markdown)

    def naming(self, key: str) -> TableColumns:
        """The table with a column that readers do not see otherwise, behind the columns before it."""
        columns = [replace(c, heading=c.heading or key) if c.key == key else c for c in self.columns]
        readers = ""
        if self.readers:
            before = self.header[: self.header.index(key)]
            shown = self.readers.split()
            place = sum(name in before for name in shown)
            readers = " ".join([*shown[:place], key, *shown[place:]]) if key not in shown else self.readers
        return TableColumns(self.name, *columns, readers=readers, markdown=self.markdown)

    def csv(self, rows: Sequence[Row]) -> str:
        """The CSV of some rows."""
        return to_csv(rows, self.header)

    def for_readers(self, **headings: str) -> tuple[Column, ...]:
        """What readers see, in their order, under the columns' own headings or those given here."""
        keys = self.readers.split() or [column.key for column in self.columns if column.for_readers]
        return self._of_keys(keys, headings)

    def shown(self, rows: Sequence[Row], keys: str = "") -> str:
        """The table as readers see it: all columns for them, or those of some keys with spaces between."""
        return to_markdown(rows, headings(self.pick(keys) if keys else self.for_readers()))

    def pick(self, keys: str, **headings: str) -> tuple[Column, ...]:
        """Some of the columns, by their keys with spaces between; headings as in `for_readers`."""
        return self._of_keys(keys.split(), headings)

    def _of_keys(self, keys: Sequence[str], headings: Mapping[str, str]) -> tuple[Column, ...]:
        by_key = {column.key: column for column in self.columns}
        return tuple(replace(by_key[key], heading=headings.get(key, by_key[key].heading)) for key in keys)

    def write(
        self,
        folder: Path,
        rows: Sequence[Row],
        *,
        shown: Sequence[Row] | None = None,
        notes: str = "",
        name: str = "",
    ) -> None:
        """Write the CSV and, where there is one for readers, the Markdown; no files where there are no rows.

        Args:
            folder: where.
            rows: all of them.
            shown: those that readers see, where not all.
            notes: Markdown below the table.
            name: of the files, where it is not the table's.
        """
        if not rows:
            return
        write_text(folder / f"{name or self.name}.csv", self.csv(rows))
        if self.markdown:
            table = self.shown(rows if shown is None else shown)
            write_text(folder / f"{name or self.name}.md", table + notes)


def headings(columns: Sequence[Column]) -> Mapping[str, str]:
    """What readers see, by key."""
    return {column.key: column.heading for column in columns}


def described(room: str, name: str, *, readers: str = "", markdown: bool = True) -> TableColumns:
    """A table as the file of its room describes it, one column a line; `readers` and `markdown` as in `TableColumns`.

    The file is `table_columns/ROOM.csv`, with the columns table, key, heading, error, meaning and, where not all have
    the usual one, format. A number with an entry under `error` has a standard error, whose column follows: the entry
    is its heading, `-` for machines alone. What is in a record means what it means there, and needs no words here.
    """
    columns = [column for line in _lines(room) if line["table"] == name for column in _columns(line)]
    return TableColumns(name, *columns, readers=readers, markdown=markdown)


@cache
def _lines(room: str) -> list[dict[str, str]]:
    path = Path(__file__).parent / "table_columns" / f"{room}.csv"
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _columns(line: Mapping[str, str]) -> Iterator[Column]:
    key, error = line["key"], line["error"]
    recorded = {} if line["meaning"] else RECORD_KEYS
    meaning, kind = recorded.get(key) or line["meaning"], line.get("format") or Column.format
    yield Column(key, meaning, line["heading"], kind, has_error=bool(error))
    if error:
        meaning = recorded.get(key + ERROR) or f"standard error of {key}"
        yield Column(key + ERROR, meaning, error.removeprefix("-"))


FAILURE = Column(FAILED, "why there is no number; empty where there is one", "failed")
