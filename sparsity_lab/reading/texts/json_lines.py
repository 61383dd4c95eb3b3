"""JSON lines, a document a line: plain, or compressed by gzip, zstd or bzip2.

To place windows it must be known which line is where: a plain file is read once for its line ends, without parsing,
and of what lies where every few megabytes are kept. A compressed file has no places and is read from its beginning.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

from sparsity_lab import extras
from sparsity_lab.errors import RunError
from sparsity_lab.reading.texts.documents import COLUMN_FIX, Documents, held
from sparsity_lab.reading.texts.passages import HeldText

ENDINGS = (".jsonl", ".ndjson")
COMPRESSED = (".gz", ".zst", ".bz2")
BLOCK = 4 << 20  # bytes between two places that are kept
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANKS = b" \t\r\f\v"


class JsonLines(Documents):
    """One document a line, under one key; lines of white space are none.

    Args:
        path: the file, or its address where `opened` reads it from elsewhere.
        column: the key.
        opened: opens the file, which is decompressed here.

    Raises:
        OSError: it cannot be read.
    """

    def __init__(
        self, path: Path | str, *, column: str = "text", opened: Callable[[], BinaryIO] | None = None
    ) -> None:
        self.path, self.column = path, column
        self._opened: Callable[[], BinaryIO] = partial(_open, path) if opened is None else opened
        self.is_compressed = Path(path).suffix.lower() in COMPRESSED
        self._index: list[tuple[int, int]] | None = (
            None  # byte of a line, and how many documents lie before it
        )
        self._count = 0
        self._cursor: _Lines | None = None
        self._opened().close()  # refused here where it cannot be read

    def described(self) -> dict[str, Any]:
        """See `TextSource`."""
        return {"form": "JSON lines", "path": str(self.path), "column": self.column, **_size_of(self.path)}

    def count(self) -> int:
        """See `TextSource`."""
        self._places()
        return self._count

    def read(self, number: int) -> HeldText:
        """See `Documents`."""
        places = [(0, 0)] if self.is_compressed else self._places()
        byte, first = places[bisect_right(places, number, key=lambda place: place[1]) - 1]
        cursor = self._cursor
        if cursor is None or cursor.number > number or cursor.number < first:
            cursor = self._cursor = _Lines(self._stream(), self.path, byte, first)
        for begin, raw in cursor.documents():
            if cursor.number > number:
                return self._text(raw, begin)
        raise RunError(
            f"{self.path} ends before its document {number:,}", fix="Leave it alone while it is read"
        )

    def each(self) -> Iterator[HeldText]:
        """See `TextSource`."""
        for begin, raw in _Lines(self._stream(), self.path, 0, 0).documents():
            yield self._text(raw, begin)

    def _stream(self) -> BinaryIO:
        return decompressed(self._opened(), self.path) if self.is_compressed else self._opened()

    def _places(self) -> list[tuple[int, int]]:
        """Bytes at which lines begin, every few megabytes, each with the number of documents before it."""
        if self._index is None:
            self._index, self._count = [(0, 0)], 0
            byte, pending = 0, False  # whether the line that goes on holds anything
            with self._stream() as stream, _explained(self.path):
                while block := stream.read(BLOCK):
                    cut = block.rfind(b"\n") + 1
                    if cut:
                        self._count += _documents_in(block[:cut], pending)
                        self._index.append((byte + cut, self._count))
                        pending = False
                    pending, byte = pending or bool(block[cut:].strip()), byte + len(block)
            self._count += pending
        return self._index

    def _text(self, raw: bytes, begin: int) -> HeldText:
        """The text of a line that begins at a byte."""
        try:
            row = json.loads(raw.decode("utf-8-sig" if begin == 0 else "utf-8"))
        except UnicodeDecodeError as error:
            raise RunError(
                f"{self._named(begin)} is not UTF-8", why="JSON lines are UTF-8, and this has a byte that is not",
                fix=f"Convert the file: `iconv -f latin1 -t utf-8 {self.path} > text.jsonl` if it is Latin-1",
            ) from error  # fmt: skip
        except (ValueError, RecursionError) as error:
            raise RunError(
                f"{self._named(begin)} is no JSON", why=str(error)[:200],
                fix="Correct the line, or leave it out: JSON lines hold one JSON object a line",
            ) from error  # fmt: skip
        if not isinstance(row, dict) or not isinstance(row.get(self.column), str):
            self._refuse(row, begin)
        return held(row[self.column], name=f"A line of {self.path}", column=self.column)

    def _refuse(self, row: object, begin: int) -> None:
        why = "It is not an object with keys"
        if isinstance(row, dict):
            why = f"Its keys are {', '.join(map(repr, row))}"
            if self.column in row:
                why = f"It holds {json.dumps(row[self.column])[:80]} there, which is not text"
        fix = f"{COLUMN_FIX}, or leave the line out"
        raise RunError(f"{self._named(begin)} has no text under {self.column!r}", why=why, fix=fix)

    def _named(self, begin: int) -> str:
        """How errors call the line that begins at a byte."""
        lines, left = 1, begin
        with self._stream() as stream:
            while left and (part := stream.read(min(left, BLOCK))):
                lines, left = lines + part.count(b"\n"), left - len(part)
        return f"Line {lines:,} of {self.path}"


def _open(path: Path | str) -> BinaryIO:
    return Path(path).open("rb")


class _Lines:
    """Lines that hold something, one after the other.

    Attributes:
        number: of the document that comes next.
    """

    def __init__(self, stream: BinaryIO, path: Path | str, byte: int, number: int) -> None:
        self.stream, self.path, self.byte, self.number = stream, path, byte, number
        if byte:
            stream.seek(byte)

    def documents(self) -> Iterator[tuple[int, bytes]]:
        """Byte and contents of each further line."""
        while raw := self._line():
            begin, self.byte = self.byte, self.byte + len(raw)
            if raw.strip():
                self.number += 1
                yield begin, raw

    def _line(self) -> bytes:
        with _explained(self.path):
            return self.stream.readline()


def _documents_in(block: bytes, pending: bool) -> int:
    """How many of a block's lines hold something; the first does where it goes on with one that does."""
    import numpy as np

    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
    begins = np.concatenate([[0], ends[:-1] + 1])
    letters = np.frombuffer(block, np.uint8)[begins]
    blank = [i for i in np.flatnonzero(letters <= ord(" ")) if not block[begins[i] : ends[i]].strip(_BLANKS)]
    return len(ends) - len(blank) + (pending and 0 in blank)


def decompressed(stream: BinaryIO, path: Path | str) -> BinaryIO:
    """The contents of a compressed stream; the end of the path says by what."""
    ending = Path(path).suffix.lower()
    if ending == ".gz":
        return cast(BinaryIO, gzip.GzipFile(fileobj=stream))
    if ending == ".bz2":
        return cast(BinaryIO, bz2.BZ2File(stream))
    extras.require("pyarrow", who=f"The compressed file {path}")
    import pyarrow as arrow  # type: ignore[import-untyped]

    raw = arrow.CompressedInputStream(arrow.PythonFile(stream, mode="r"), "zstd")
    return cast(BinaryIO, io.BufferedReader(raw, BLOCK))


@contextmanager
def _explained(path: object) -> Iterator[None]:
    """A compressed file that is cut short or is none, by its name."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise RunError(
            f"Cannot decompress {path}", why=str(error)[:200], fix="Copy or download the file again"
        ) from error


def _size_of(path: Path | str) -> dict[str, int]:
    return {"bytes": path.stat().st_size} if isinstance(path, Path) else {}


def holds_lines(path: Path) -> bool:
    """Whether a file holds JSON lines rather than one JSON value over many: its first line is an object by itself."""
    try:
        with path.open("rb") as stream:
            first = next((line for line in stream if line.strip()), b"")
        return isinstance(json.loads(first.decode("utf-8-sig")), dict)
    except ValueError:
        return False
