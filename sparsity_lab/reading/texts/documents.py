"""Texts that are lists of documents: JSON lines, or a folder of text files; read passage by passage, like `TextFile`.

A corpus is addressed by the bytes of its files, one after the other. In JSON lines a place inside a line stands for the
same share of its text. Packed, documents follow one another with a blank line between, as one text.
"""

from __future__ import annotations

import json
import logging
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Protocol

from sparsity_lab.errors import RunError
from sparsity_lab.reading.texts.text_file import FileText, Passage, TextFile, normalised
from sparsity_lab.reading.walking import Walk

logger = logging.getLogger(__name__)

JSON_LINES = (".jsonl", ".ndjson")
TEXTS = (".txt", ".text", ".md")
BETWEEN = "\n\n"  # packed documents
STRIDE = 1 << 16  # bytes looked through at once for the end of a line


class TextSource(Protocol):
    """A text to take passages from: a file, or a list of documents.

    Attributes:
        path: of its file or folder.
        size: bytes of its files.
        has_documents: whether it is known where its documents begin.
    """

    path: Path
    size: int
    has_documents: bool

    def passage(self, place: int, *, before: int, after: int) -> Passage:
        """The characters around a place, as far as its document goes; see `TextFile.passage`."""
        ...

    def each(self) -> Iterator[FileText]:
        """Its documents, in order; a text without known borders is one."""
        ...


class JsonLines:
    """One document a line, under one key.

    Args:
        path: the file.
        column: the key.

    Raises:
        OSError: it cannot be read.
    """

    has_documents = True

    def __init__(self, path: Path, *, column: str = "text") -> None:
        self.path, self.column, self.size = path, column, path.stat().st_size

    def passage(self, place: int, *, before: int, after: int) -> Passage:
        """The whole document of the line that holds a byte.

        Raises:
            RunError: the line is no JSON object with a text under the key.
        """
        begin, end, raw = self._line(place)
        text = self._text(raw, begin)
        at = -(-len(text) * (place - begin) // max(end - begin, 1))
        share = (end - begin) / max(len(text.encode()), 1)
        return Passage(text, min(at, len(text)), text.line_ends, True, (begin, end), share)

    def is_blank(self) -> bool:
        """Whether no document holds more than white space."""
        return not any(document.strip() for document in self.each())

    def each(self) -> Iterator[FileText]:
        """The texts of the lines."""
        place = 0
        with self.path.open("rb") as stream:
            for raw in stream:
                if raw.strip():
                    yield self._text(raw, place)
                place += len(raw)

    def _line(self, place: int) -> tuple[int, int, bytes]:
        """Where the line of a byte begins and ends, and what it holds."""
        with self.path.open("rb") as stream:
            begin, ahead = place, b""
            while begin and b"\n" not in ahead:
                step = min(begin, STRIDE)
                stream.seek(begin - step)
                ahead, begin = stream.read(step), begin - step
            if b"\n" in ahead:
                begin += ahead.rindex(b"\n") + 1
            stream.seek(begin)
            raw = stream.readline()
        return begin, begin + len(raw), raw

    def _text(self, raw: bytes, begin: int) -> FileText:
        if not raw.strip():
            return FileText("")
        try:
            found = json.loads(raw)
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise RunError(
                f"The line of {self.path} at byte {begin:,} is no JSON", why=str(error)[:200],
                fix="JSON lines hold one JSON object a line",
            ) from error  # fmt: skip
        text = found.get(self.column) if isinstance(found, dict) else None
        if not isinstance(text, str):
            keys = ", ".join(map(repr, found)) if isinstance(found, dict) else "no keys"
            raise RunError(
                f"The line of {self.path} at byte {begin:,} has no text under {self.column!r}", why=f"It has {keys}",
                fix="Name the key of the text with --text-column",
            )  # fmt: skip
        return normalised(text)


class TextFolder:
    """Text files of a folder and the folders in it, a document each, in the order of their names.

    Args:
        path: the folder.

    Raises:
        OSError: one cannot be read.
        RunError: it has none, or one of them holds something other than text.
    """

    has_documents = True

    def __init__(self, path: Path) -> None:
        walk = Walk(path)
        found = list(walk.files())
        walk.tell()
        files = [file for file in found if file.suffix.lower() in TEXTS]
        if files and len(files) < len(found):
            kinds = ", ".join(sorted({file.suffix or file.name for file in found if file not in set(files)}))
            logger.warning(
                "%d files of other kinds in %s are left out: %s", len(found) - len(files), path, kinds
            )
        if not files:
            raise RunError(
                f"The folder {path} holds no text files", why=f"Their names end in {', '.join(TEXTS)}",
                fix="Name a file, or a folder of text files",
            )  # fmt: skip
        self.path, self.files = path, [TextFile(file) for file in files]
        self.ends = list(accumulate(file.size for file in self.files))
        self.size = self.ends[-1]

    def passage(self, place: int, *, before: int, after: int) -> Passage:
        """The characters around a byte, as far as its file goes."""
        number = bisect_right(self.ends, place)
        begin = self.ends[number] - self.files[number].size
        found = self.files[number].passage(place - begin, before=before, after=after)
        return replace(found, document=(begin, self.ends[number]))

    def is_blank(self) -> bool:
        """Whether no document holds more than white space."""
        return not any(document.strip() for document in self.each())

    def each(self) -> Iterator[FileText]:
        """The files' texts."""
        return (file.whole() for file in self.files)


class Packed:
    """The documents of a corpus as one text.

    Args:
        corpus: what holds them.
    """

    has_documents = False

    def __init__(self, corpus: JsonLines | TextFolder) -> None:
        self.corpus, self.path, self.size = corpus, corpus.path, corpus.size

    def passage(self, place: int, *, before: int, after: int) -> Passage:
        """The characters around a place, over the borders of documents behind it."""
        found = self.corpus.passage(place, before=before, after=after)
        text, line_ends, end = found.text, found.line_ends, found.document[1]
        joined = list[tuple[int, int, float]]()
        while found.ends and end < self.size and len(text) - found.at < after:
            more = self.corpus.passage(end, before=0, after=after)
            joined.append((len(text) + len(BETWEEN), end, more.byte_share))
            text, line_ends, end = text + BETWEEN + more.text, line_ends + more.line_ends, more.document[1]
            found = replace(found, ends=more.ends)
        ends = found.ends and end >= self.size
        return replace(
            found, text=text, line_ends=line_ends, ends=ends, document=(0, self.size), joined=tuple(joined)
        )

    def each(self) -> Iterator[FileText]:
        """All documents as one text."""
        yield self.whole()

    def whole(self, most_bytes: int | None = None) -> FileText:
        """All documents as one text, or so many of the first that they have this many bytes."""
        taken, size = list[FileText](), 0
        for document in self.corpus.each():
            taken, size = [*taken, document], size + len(document)
            if most_bytes is not None and size >= most_bytes:
                break
        return joined(taken)


def joined(documents: list[FileText]) -> FileText:
    """Documents as one text."""
    text = FileText(BETWEEN.join(documents))
    text.line_ends = sum(one.line_ends for one in documents)
    return text
