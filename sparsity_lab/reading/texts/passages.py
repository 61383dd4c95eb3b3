"""A text in UTF-8 and the passages taken from it, wherever its bytes lie: in a file, or in memory.

Places are bytes of the text as it was written, without a byte order mark: the same in every form of the same document.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from sparsity_lab.errors import RunError

_LINE_END = re.compile("\r\n?")
_INNER_BYTES = bytes(range(0x80, 0xC0))  # of a letter of several bytes, all but its first
BYTE_ORDER_MARK = "\ufeff"


class FileText(str):
    """The text of a file, or a part of it.

    Attributes:
        line_ends: how many were CR LF or CR.
    """

    line_ends: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What reading it changed, in words."""
        return line_end_notes(self.line_ends)


class Position(NamedTuple):
    """A place in a text: the number of a document, from 0, and a byte of it."""

    document: int
    byte: int


@dataclass(frozen=True)
class Passage:
    """A part of a text around a place in it.

    Attributes:
        text: its characters, line ends as LF.
        at: index in `text` of the first character at or behind the place.
        line_ends: how many were CR LF or CR.
        ends: whether its document ends with it; where documents are packed, whether the last of them does.
        size: bytes of the document that the place is in.
        joined: of each further document in it, where packed: its first character, its number and its size in bytes.
    """

    text: str
    at: int
    line_ends: int
    ends: bool
    size: int
    joined: tuple[tuple[int, int, int], ...] = ()

    def place_of(self, character: int, place: Position) -> Position:
        """The place at or behind a character, the one that the passage was taken around being known."""
        own = (self.at, place.document, self.size)
        begin, document, size = [own, *(each for each in self.joined if each[0] <= character)][-1]
        read = self.text[begin:character]
        taken = len((read.replace("\n", "\r\n") if self.line_ends else read).encode())
        return Position(document, min((place.byte if begin == self.at else 0) + math.ceil(taken), size))


class Utf8Text(ABC):
    """One text, of which passages are read.

    Attributes:
        size: bytes, without a byte order mark.
    """

    size: int

    @abstractmethod
    def bytes_of(self, begin: int, end: int) -> bytes:
        """The bytes from one place to another."""

    @abstractmethod
    def decoded(self, raw: bytes, begin: int, *, cut: bool) -> FileText:
        """Bytes from a place on as text; where they were cut, half a letter at the end is left out."""

    @abstractmethod
    def whole(self, most_bytes: int | None = None) -> FileText:
        """All of it, or its first bytes."""

    def passage(self, place: int, *, before: int, after: int) -> Passage:
        """The characters from `before` bytes ahead of a place to `after` bytes behind it, as far as the text goes.

        Raises:
            OSError: the file cannot be read.
            RunError: these bytes are not UTF-8, or hold NUL.
        """
        begin, end = max(0, place - before), min(self.size, place + after)
        raw = self.bytes_of(begin, end)
        ahead, behind = raw[: place - begin], raw[place - begin :]
        if begin:
            ahead = ahead.lstrip(_INNER_BYTES)
        # What a letter or a line end that began ahead still needs.
        rest = len(behind) - len(behind.lstrip(_INNER_BYTES)) if place else 0
        rest += ahead.endswith(b"\r") and behind.startswith(b"\n")
        first = self.decoded(ahead + behind[:rest], begin, cut=False)
        text = self.decoded(behind[rest:], place + rest, cut=end < self.size)
        return Passage(
            first + text, len(first), first.line_ends + text.line_ends, end >= self.size, self.size
        )


class HeldText(Utf8Text):
    """A text in memory.

    Args:
        text: its characters as they were written.
        name: of its document, for what errors say.

    Raises:
        RunError: it holds half of a character.
    """

    def __init__(self, text: str, *, name: str) -> None:
        try:
            self.raw = text.removeprefix(BYTE_ORDER_MARK).encode()
        except UnicodeEncodeError as error:
            raise RunError(
                f"{name} is not Unicode text", why=f"It holds half of a character at {error.start:,}",
                fix="Correct its escapes, or leave the document out",
            ) from error  # fmt: skip
        self.size = len(self.raw)

    def bytes_of(self, begin: int, end: int) -> bytes:
        """See `Utf8Text`."""
        return self.raw[begin:end]

    def decoded(self, raw: bytes, begin: int, *, cut: bool) -> FileText:
        """See `Utf8Text`."""
        return normalised(raw.decode(errors="ignore" if cut else "strict"))

    def whole(self, most_bytes: int | None = None) -> FileText:
        """See `Utf8Text`."""
        raw = self.raw[:most_bytes]
        return self.decoded(raw, 0, cut=len(raw) < self.size)


def normalised(text: str) -> FileText:
    """A text with line ends as LF."""
    plain, count = _LINE_END.subn("\n", text) if "\r" in text else (text, 0)
    text_read = FileText(plain)
    text_read.line_ends = count
    return text_read


def line_end_notes(count: int) -> tuple[str, ...]:
    """What is said of so many line ends of other systems."""
    return (f"The text has {count:,} line ends CR LF or CR: each is read as LF",) if count else ()
