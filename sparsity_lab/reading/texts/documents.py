"""Texts that are lists of documents, by number: one form is like another where their documents are the same.

A place is the number of a document and a byte of its text, so that neither the file's form nor what else a row holds
has a say in where windows lie. Packed, documents follow one another with a blank line between, as one text.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

from sparsity_lab.errors import RunError
from sparsity_lab.reading.texts.passages import FileText, HeldText, Passage, Position, Utf8Text

BETWEEN = "\n\n"  # packed documents
MOST_KEPT = 64  # documents read last
COLUMN_FIX = "Name the column of the text with --text-column"


class TextSource(Protocol):
    """A text to take passages from: a file, or a list of documents.

    Attributes:
        has_documents: whether it is known where its documents begin.
    """

    has_documents: bool

    @property
    def path(self) -> Path | str:
        """Where it is, for what errors say."""
        ...

    def described(self) -> dict[str, Any]:
        """What a record says of it."""
        ...

    def count(self) -> int:
        """Number of documents, which may take reading all of a file, but no parsing."""
        ...

    def document(self, number: int) -> Utf8Text:
        """One of its documents."""
        ...

    def size_of(self, number: int) -> int:
        """Bytes of a document."""
        ...

    def is_larger(self, size: int) -> bool:
        """Whether it has more bytes than these; no more of it is read than that takes."""
        ...

    def passage_at(self, place: Position, *, before: int, after: int) -> Passage:
        """The characters around a place, as far as its document goes; see `Utf8Text.passage`."""
        ...

    def each(self) -> Iterator[Utf8Text]:
        """Its documents, in order; a text without known borders is one."""
        ...


class Documents(ABC):
    """A list of documents.

    Attributes:
        path: where it is.
    """

    path: Path | str
    has_documents = True

    @abstractmethod
    def described(self) -> dict[str, Any]:
        """See `TextSource`."""

    @abstractmethod
    def count(self) -> int:
        """See `TextSource`."""

    @abstractmethod
    def read(self, number: int) -> Utf8Text:
        """Read a document; numbers that grow are read quickest."""

    @abstractmethod
    def each(self) -> Iterator[Utf8Text]:
        """See `TextSource`."""

    def document(self, number: int) -> Utf8Text:
        """A document; the last ones are kept."""
        kept = self.__dict__.setdefault("_kept", OrderedDict[int, Utf8Text]())
        if number not in kept:
            kept[number] = self.read(number)
            if len(kept) > MOST_KEPT:
                kept.popitem(last=False)
        text: Utf8Text = kept[number]
        return text

    def held(self) -> dict[int, Utf8Text]:
        """The documents read last, by number; reads nothing."""
        return dict(self.__dict__.get("_kept", {}))

    def size_of(self, number: int) -> int:
        """See `TextSource`."""
        return self.document(number).size

    def is_larger(self, size: int) -> bool:
        """See `TextSource`."""
        return any(total > size for total in accumulate(document.size for document in self.each()))

    def is_blank(self) -> bool:
        """Whether no document holds more than white space."""
        return not any(document.whole().strip() for document in self.each())

    def passage_at(self, place: Position, *, before: int, after: int) -> Passage:
        """See `TextSource`."""
        return self.document(place.document).passage(place.byte, before=before, after=after)


class Shards(Documents):
    """Lists of documents one after the other, as the files of one dataset are.

    Args:
        parts: the lists.
        path: what they are together.
        description: what a record says of them.
    """

    def __init__(self, parts: Sequence[Documents], *, path: Path | str, description: dict[str, Any]) -> None:
        self.parts, self.path, self.description = parts, path, description
        self._ends: list[int] | None = None

    def described(self) -> dict[str, Any]:
        """See `TextSource`."""
        return self.description

    def count(self) -> int:
        """See `TextSource`."""
        return self._counted()[-1]

    def read(self, number: int) -> Utf8Text:
        """See `Documents`."""
        ends = self._counted()
        part = bisect_right(ends, number)
        return self.parts[part].document(number - (ends[part - 1] if part else 0))

    def each(self) -> Iterator[Utf8Text]:
        """See `TextSource`."""
        for part in self.parts:
            yield from part.each()

    def _counted(self) -> list[int]:
        if self._ends is None:
            self._ends = list(accumulate(part.count() for part in self.parts))
        return self._ends


class Packed:
    """The documents of a corpus as one text.

    Args:
        corpus: what holds them.
    """

    has_documents = False

    def __init__(self, corpus: Documents) -> None:
        self.corpus, self.path = corpus, corpus.path

    def described(self) -> dict[str, Any]:
        """See `TextSource`."""
        return {**self.corpus.described(), "packed": True}

    def count(self) -> int:
        """See `TextSource`."""
        return self.corpus.count()

    def document(self, number: int) -> Utf8Text:
        """See `TextSource`."""
        return self.corpus.document(number)

    def size_of(self, number: int) -> int:
        """See `TextSource`."""
        return self.corpus.size_of(number)

    def is_larger(self, size: int) -> bool:
        """See `TextSource`."""
        return self.corpus.is_larger(size)

    def passage_at(self, place: Position, *, before: int, after: int) -> Passage:
        """The characters around a place, over the borders of documents behind it."""
        found = self.corpus.passage_at(place, before=before, after=after)
        text, line_ends, number = found.text, found.line_ends, place.document + 1
        further = list[tuple[int, int, int]]()
        while found.ends and number < self.count() and len(text) - found.at < after:
            more = self.corpus.passage_at(Position(number, 0), before=0, after=after)
            further.append((len(text) + len(BETWEEN), number, more.size))
            text, line_ends, number = text + BETWEEN + more.text, line_ends + more.line_ends, number + 1
            found = replace(found, ends=more.ends)
        ends = found.ends and number >= self.count()
        return replace(found, text=text, line_ends=line_ends, ends=ends, joined=tuple(further))

    def each(self) -> Iterator[Utf8Text]:
        """All documents as one text."""
        yield HeldText(self.whole(), name=str(self.path))

    def whole(self, most_bytes: int | None = None) -> FileText:
        """All documents as one text, or so many of the first that they have this many characters."""
        taken, size = list[FileText](), 0
        for document in self.corpus.each():
            taken.append(document.whole())
            size += len(taken[-1])
            if most_bytes is not None and size >= most_bytes:
                break
        text = FileText(BETWEEN.join(taken))
        text.line_ends = sum(each.line_ends for each in taken)
        return text


def held(value: object, *, name: str, column: str) -> HeldText:
    """A document out of a column of a table.

    Args:
        value: what the column holds.
        name: of the row, for what errors say.
        column: of the text.

    Raises:
        RunError: no text.
    """
    if not isinstance(value, str):
        what = "nothing" if value is None else f"{type(value).__name__}, not text,"
        raise RunError(f"{name} has {what} under {column!r}", fix=f"{COLUMN_FIX}, or leave the row out")
    return HeldText(value, name=name)
