"""Columns of tables as lists of documents, a row each: parquet files, and datasets that `datasets` has in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

from sparsity_lab import extras
from sparsity_lab.errors import RunError
from sparsity_lab.reading.texts.documents import COLUMN_FIX, Documents, held
from sparsity_lab.reading.texts.passages import HeldText

ROWS = 256  # at once
BUFFER = 1 << 20  # bytes of a column read at once
MOST_NAMES = 20


class ParquetFile(Documents):
    """A document a row. Row groups that hold none of the documents asked for are not read.

    Args:
        path: the file, or its address where `opened` reads it from elsewhere.
        column: of the text.
        opened: opens the file.

    Raises:
        OSError: it cannot be read.
        RunError: it is not a parquet file, has no such column, or the column holds something other than text.
        MissingPackageError: pyarrow is not installed.
    """

    def __init__(
        self, path: Path | str, *, column: str = "text", opened: Callable[[], BinaryIO] | None = None
    ) -> None:
        extras.require("pyarrow", who=f"The parquet file {path}")
        from pyarrow import parquet  # type: ignore[import-untyped]

        self.path, self.column = path, column
        stream = (partial(Path(path).open, "rb") if opened is None else opened)()
        with self._explained():
            self.file = parquet.ParquetFile(stream, buffer_size=BUFFER, pre_buffer=False)
            schema = self.file.schema_arrow
        refuse_column(
            column, {name: schema.field(name).type for name in schema.names}, where=str(path), text=is_string
        )
        groups = self.file.metadata.num_row_groups
        self.ends = list(accumulate(self.file.metadata.row_group(i).num_rows for i in range(groups)))
        self._rows: Iterator[list[Any]] = iter(())
        self._begin, self._held, self._group = 0, list[Any](), -1

    def described(self) -> dict[str, Any]:
        """See `TextSource`."""
        size = {"bytes": self.path.stat().st_size} if isinstance(self.path, Path) else {}
        return {"form": "parquet", "path": str(self.path), "column": self.column, **size}

    def count(self) -> int:
        """See `TextSource`."""
        return self.ends[-1] if self.ends else 0

    def read(self, number: int) -> HeldText:
        """See `Documents`."""
        group = bisect_right(self.ends, number)
        if group != self._group or number < self._begin:
            self._rows, self._group = self._batches([group]), group
            self._begin, self._held = (self.ends[group - 1] if group else 0), []
        while number >= self._begin + len(self._held):
            self._begin, self._held = self._begin + len(self._held), next(self._rows)
        return self._text(self._held[number - self._begin], number)

    def each(self) -> Iterator[HeldText]:
        """See `TextSource`."""
        number = 0
        for group in range(len(self.ends)):
            for rows in self._batches([group]):
                for value in rows:
                    yield self._text(value, number)
                    number += 1

    def _batches(self, groups: list[int]) -> Iterator[list[Any]]:
        with self._explained():
            for batch in self.file.iter_batches(
                batch_size=ROWS, row_groups=groups, columns=[self.column], use_threads=False
            ):
                yield batch.column(0).to_pylist()

    def _text(self, value: object, number: int) -> HeldText:
        return held(value, name=f"Row {number + 1:,} of {self.path}", column=self.column)

    def _explained(self) -> Any:
        return _Explained(self.path)


class DatasetRows(Documents):
    """A document a row of a `datasets.Dataset`, whose rows are mapped from its files.

    Args:
        dataset: it.
        path: what it is called.
        column: of the text.
        description: what a record says of it.

    Raises:
        RunError: no such column, or one that holds something other than text.
    """

    def __init__(self, dataset: Any, *, path: Path | str, column: str, description: dict[str, Any]) -> None:
        types = {name: getattr(kind, "dtype", kind) for name, kind in dataset.features.items()}
        refuse_column(column, types, where=str(path), text=lambda kind: kind in ("string", "large_string"))
        self.dataset, self.path, self.column = dataset.select_columns([column]), path, column
        self.description = description

    def described(self) -> dict[str, Any]:
        """See `TextSource`."""
        return self.description

    def count(self) -> int:
        """See `TextSource`."""
        return len(self.dataset)

    def read(self, number: int) -> HeldText:
        """See `Documents`."""
        return self._text(self.dataset[number][self.column], number)

    def each(self) -> Iterator[HeldText]:
        """See `TextSource`."""
        for begin in range(0, len(self.dataset), ROWS):
            for number, value in enumerate(self.dataset[begin : begin + ROWS][self.column], start=begin):
                yield self._text(value, number)

    def _text(self, value: object, number: int) -> HeldText:
        return held(value, name=f"Row {number + 1:,} of {self.path}", column=self.column)


def is_string(kind: Any) -> bool:
    """Whether a type of Arrow is text, dictionaries of texts among them."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return is_string(kind.value_type)
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def refuse_column(column: str, kinds: dict[str, Any], *, where: str, text: Callable[[Any], bool]) -> None:
    """Refuse a column that is not there or holds no text.

    Args:
        column: its name.
        kinds: type of each column.
        where: the table.
        text: whether a type is text.

    Raises:
        RunError: it is refused; the columns that hold text are named.
    """
    texts = [name for name, kind in kinds.items() if text(kind)]
    names = ", ".join(map(repr, list(kinds)[:MOST_NAMES])) + (", …" if len(kinds) > MOST_NAMES else "")
    fix = COLUMN_FIX + (
        f": {', '.join(map(repr, texts[:MOST_NAMES]))}" if texts else "; none of them holds text"
    )
    if column not in kinds:
        raise RunError(f"{where} has no column {column!r}", why=f"Its columns are {names}", fix=fix)
    if not text(kinds[column]):
        kind = " ".join(str(kinds[column]).split())[:200]
        raise RunError(f"The column {column!r} of {where} holds no text", why=f"It holds {kind}", fix=fix)


class _Explained:
    """What pyarrow raises of a damaged file, as a paragraph."""

    def __init__(self, path: Path | str) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: object) -> None:
        from pyarrow import ArrowException

        if isinstance(error, ArrowException) or (isinstance(error, OSError) and error.errno is None):
            raise RunError(
                f"Cannot read the parquet file {self.path}", why=str(error)[:300],
                fix="Write, copy or download the file again",
            ) from error  # fmt: skip
