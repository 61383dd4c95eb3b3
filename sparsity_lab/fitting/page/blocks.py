"""What a report is made of, apart from how it is shown: sections of tables, facts, prose, figures and folds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Union

from sparsity_lab.fitting.page.cells import shown
from sparsity_lab.store.columns import Column

MANY_COLUMNS = 9  # from here on, columns that say the same in every row go into a note


@dataclass(frozen=True)
class Table:
    """Rows under a title; `note` says how to read them, `source` is the file they come from."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Any], ...]
    note: str = ""
    source: str = ""

    @property
    def notes(self) -> str:
        """The note, and where the rows come from."""
        return f"{self.note} {f'Source: {self.source}.' if self.source else ''}".strip()


@dataclass(frozen=True)
class Facts:
    """Names with what is known of each, one a line."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Prose:
    """A paragraph, or items of a list; `**bold**` and backquotes are understood."""

    texts: tuple[str, ...]
    listed: bool = False


@dataclass(frozen=True)
class Verbatim:
    """A text as it was written, line by line."""

    text: str


@dataclass(frozen=True)
class Figure:
    """A picture on disk; the vector one where there are both."""

    path: Path
    caption: str


@dataclass(frozen=True)
class TokenHeat:
    """Activation ratios of one text, token by token and layer by layer; `heat.py` says what is in `data`."""

    data: Mapping[str, Any]


Block = Union[Table, Facts, Prose, Verbatim, Figure, TokenHeat, "Fold", "Heading"]


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    text: str


@dataclass(frozen=True)
class Fold:
    """Blocks behind a line that opens them; `badge` is a word or two next to the line."""

    title: str
    blocks: tuple[Block, ...]
    badge: str = ""
    open: bool = False


@dataclass(frozen=True)
class Section:
    """A chapter of the report."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Report:
    """All of it. `records` are whole records by content key, for the page to show on request."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def table(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str] | Sequence[str] | None = None,
    *,
    note: str = "",
    source: str = "",
) -> Table:
    """A table of plain values; `columns` maps keys to headings, and is every key of the rows where left out."""
    keys = list(dict.fromkeys(key for row in rows for key in row)) if columns is None else columns
    named = dict(keys) if isinstance(keys, Mapping) else {key: key.replace("_", " ") for key in keys}
    described = tuple(Column(key, heading=heading) for key, heading in named.items())
    return Table(title, described, tuple(rows), note=note, source=source)


def without_constants(wide: Table) -> Table:
    """A wide table less the columns that say the same in every row, which its note then says once."""
    if len(wide.columns) < MANY_COLUMNS or len(wide.rows) < 3:
        return wide
    same = [
        c
        for c in wide.columns
        if c.format in ("value", "ratio") and len({str(r.get(c.key)) for r in wide.rows}) == 1
    ]
    constants = [f"{c.heading} {text}" for c in same if (text := shown(wide.rows[0].get(c.key)))]
    kept = tuple(c for c in wide.columns if c not in same)
    note = f"{wide.note} The same in every row: {'; '.join(constants)}.".strip() if constants else wide.note
    return replace(wide, columns=kept, note=note)


def tables_of(blocks: Sequence[Block], within: str = "") -> Iterator[Table]:
    """Every table of some blocks in their order, those in folds too; a fold's title goes before theirs."""
    for block in blocks:
        if isinstance(block, Table):
            apart = within and block.title and within != block.title
            title = f"{within}: {block.title}" if apart else block.title or within
            yield replace(block, title=title)
        elif isinstance(block, Fold):
            yield from tables_of(block.blocks, block.title)
