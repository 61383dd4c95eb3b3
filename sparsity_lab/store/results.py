"""What the results of Python functions share: plain values, a data frame, a short text, a table in notebooks."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sparsity_lab.store.tables import Row, shown, to_html, to_markdown

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 80  # characters of a line of text
MOST_ROWS, MOST_HTML_ROWS, LONGEST_CELL = 12, 60, 40

Table = tuple[Sequence[Row], Mapping[str, str]]


class Shown:
    """A result that people look at and programs go on with.

    A class of results gives `to_dict`, and for readers `_title` and `_table`; `_rows` are those of `to_frame`.
    """

    def to_dict(self) -> dict[str, Any]:
        """Everything in types that JSON has, under the names that files of this package use; NaN is None."""
        raise NotImplementedError

    def to_frame(self) -> pd.DataFrame:
        """A data frame of pandas with every digit, one row a result, under the names of the columns of tables."""
        import pandas as pd

        return pd.DataFrame([dict(row) for row in self._rows()])

    def _rows(self) -> Sequence[Row]:
        """The rows of `to_frame`."""
        raise NotImplementedError

    def _title(self) -> str:
        """What was found, in a sentence or a line."""
        raise NotImplementedError

    def _table(self) -> Table:
        """Rows and headings that readers see."""
        raise NotImplementedError

    def _notes(self) -> Sequence[str]:
        """Lines below the table."""
        return ()

    def __repr__(self) -> str:
        parts = [wrapped(self._title()), _text(*self._table()).rstrip(), *map(wrapped, self._notes())]
        return "\n".join(filter(None, parts))

    def _repr_html_(self) -> str:
        """What a notebook shows; all words are escaped."""
        rows, headings = self._table()
        left = len(rows) - MOST_HTML_ROWS
        more = [f"{_more(left, 'row')} in to_frame()"] if left > 0 else []
        return to_html(rows[:MOST_HTML_ROWS], headings, title=self._title(), notes=[*more, *self._notes()])


def wrapped(line: str) -> str:
    """A line in lines of at most `WIDTH` characters, the later ones indented."""
    return textwrap.fill(line, WIDTH, subsequent_indent="    ", break_on_hyphens=False)


def _text(rows: Sequence[Row], headings: Mapping[str, str]) -> str:
    """A Markdown table of at most `WIDTH` characters a line: the first rows and columns, and how many are left out."""
    short = [{key: _short(row.get(key)) for key in headings} for row in rows[:MOST_ROWS]]
    kept = dict(headings)
    while len(kept) > 1 and len(to_markdown(short, kept).partition("\n")[0]) > WIDTH:
        kept.popitem()
    counts = {"row": len(rows) - len(short), "column": len(headings) - len(kept)}
    left = " and ".join(_more(count, what) for what, count in counts.items() if count)
    return to_markdown(short, kept) + (f"{left} in to_frame()" if left else "")


def _more(count: int, what: str) -> str:
    return f"{count} more {what}{'s' * (count != 1)}"


def _short(value: object) -> object:
    """A value for a cell: a text that is too long for a line of text is cut."""
    text = shown(value)
    return f"{text[: LONGEST_CELL - 1]}…" if len(text) > LONGEST_CELL else value


def plain(value: Any) -> Any:
    """JSON's own types; NaN and infinity become null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None or isinstance(value, (str, int)):
        return value
    number = float(value)
    return number if math.isfinite(number) else None
