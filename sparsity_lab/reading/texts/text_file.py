"""Texts of users as files: UTF-8 as a person sees it, or refused with the command that makes such a text of the file.

Line ends CR LF and CR are read as LF, as Python and `datasets` read text files. Files of documents (JSON lines,
parquet, CSV) and compressed ones are not texts: their braces, commas and bytes would be measured.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sparsity_lab.errors import RunError

_DOCUMENTS = (
    "python -c \"import pandas; print(*pandas.read_{kind}('{name}'{more})['text'], sep='\\n')\" > text.txt"
)
_WRITE_TEXT = "Write its column of text to a file of its own"
# First bytes of a file, what it is, what makes a table of it, and what a text.
_KINDS = (
    (b"PK\x03\x04", "a workbook, a document or another zip archive", "Save the sheet as CSV", "Save it as plain text"),
    (b"\xd0\xcf\x11\xe0", "a workbook or document of an old Office", "Save the sheet as CSV", "Save it as plain text"),
    (b"%PDF-", "a PDF", "Save the table as CSV", "Save it as plain text, for example with `pdftotext`"),
    (b"\x1f\x8b", "compressed by gzip", "Decompress it with `gunzip`", "Decompress it with `gunzip`"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "Decompress it with `unzstd`", "Decompress it with `unzstd`"),
    (b"BZh", "compressed by bzip2", "Decompress it with `bunzip2`", "Decompress it with `bunzip2`"),
    (b"\xfd7zXZ", "compressed by xz", "Decompress it with `unxz`", "Decompress it with `unxz`"),
    (b"PAR1", "a parquet file", "Write it as CSV with pandas: `to_csv(index=False)`", "parquet"),
    (b"ARROW1", "an Arrow file", "Write it as CSV with pandas: `to_csv(index=False)`", "feather"),
)  # fmt: skip
# By the end of its name, since its bytes are text: what it is and pandas' reader of it.
_OF_DOCUMENTS = {
    ".jsonl": ("JSON lines", "json", ", lines=True"),
    ".ndjson": ("JSON lines", "json", ", lines=True"),
    ".json": ("JSON", "json", ""),
    ".csv": ("CSV", "csv", ""),
    ".tsv": ("CSV", "csv", ", sep='\\t'"),
    ".parquet": ("parquet", "parquet", ""),
    ".arrow": ("Arrow", "feather", ""),
}
_LINE_END = re.compile("\r\n?")
FIRST_BYTES = 1024 * 1024  # read to see whether a text holds anything
_INNER_BYTES = bytes(range(0x80, 0xC0))  # of a letter of several bytes, all but its first


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


def other_kind(first_bytes: bytes, *, name: str, table: bool) -> tuple[str, str] | None:
    """What a file that is neither text nor a table is, and what makes one of it; None where it may be one."""
    for begins, what, for_table, for_text in _KINDS:
        if first_bytes.startswith(begins):
            if for_text in ("parquet", "feather"):
                for_text = _written_by_pandas(name, for_text, "")
            return what, for_table if table else for_text
    return None


@dataclass(frozen=True)
class Passage:
    """A part of a text around a place in it.

    Attributes:
        text: its characters, line ends as LF.
        at: index in `text` of the first character at or behind the place.
        line_ends: how many were CR LF or CR.
        ends: whether its document ends with it.
        document: first byte of the document, and the one behind its last.
        byte_share: bytes of the file for each of the text's, where it holds the text in another form.
        joined: of each further document in it, where packed: its first character and byte, and its `byte_share`.
    """

    text: str
    at: int
    line_ends: int
    ends: bool
    document: tuple[int, int]
    byte_share: float = 1.0
    joined: tuple[tuple[int, int, float], ...] = ()

    def byte_of(self, character: int, place: int) -> int:
        """The byte at or behind a character, those between it and the place of the passage being known."""
        own = (self.at, place, self.byte_share)
        begin, byte, share = [own, *(one for one in self.joined if one[0] <= character)][-1]
        read = self.text[begin:character]
        size = len((read.replace("\n", "\r\n") if self.line_ends else read).encode())
        return min(byte + math.ceil(size * share), self.document[1])


class TextFile:
    """A UTF-8 file of which passages are read, so that a large file costs no more than these.

    Args:
        path: which file.

    Raises:
        OSError: it cannot be read.
        RunError: it holds something other than text; see `read_text_file`.
    """

    has_documents = False

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as stream:
            _refuse_other_kinds(path, stream.read(8), otherwise="")
        self.size = path.stat().st_size

    def is_blank(self) -> bool:
        """Whether it holds nothing but white space; raises as `read_text_file` does."""
        return not self.whole(FIRST_BYTES).strip() and not self.whole().strip()

    def each(self) -> Iterator[FileText]:
        """All of it, as the one document."""
        yield self.whole()

    def whole(self, most_bytes: int | None = None) -> FileText:
        """All of it, or its first bytes; raises as `read_text_file` does."""
        return read_text_file(self.path, most_bytes=most_bytes)

    def passage(self, place: int, *, before: int, after: int) -> Passage:
        """The characters from `before` bytes ahead of a place to `after` bytes behind it, as far as the text goes.

        Raises:
            OSError: the file cannot be read.
            RunError: these bytes are not UTF-8, or hold NUL.
        """
        begin, end = max(0, place - before), min(self.size, place + after)
        with self.path.open("rb") as stream:
            stream.seek(begin)
            raw = stream.read(end - begin)
        ahead, behind = raw[: place - begin], raw[place - begin :]
        if begin:
            ahead = ahead.lstrip(_INNER_BYTES)
        # What a letter or a line end that began ahead still needs.
        rest = len(behind) - len(behind.lstrip(_INNER_BYTES)) if place else 0
        rest += ahead.endswith(b"\r") and behind.startswith(b"\n")
        first = self._decoded(ahead + behind[:rest], begin, cut=False)
        text = self._decoded(behind[rest:], place + rest, cut=end < self.size)
        return Passage(
            first + text, len(first), first.line_ends + text.line_ends, end >= self.size, (0, self.size)
        )

    def _decoded(self, raw: bytes, begin: int, *, cut: bool) -> FileText:
        return _decoded(raw, self.path, cut=cut, otherwise="", begin=begin)


def read_text_file(path: Path, *, most_bytes: int | None = None, otherwise: str = "") -> FileText:
    """The text of a UTF-8 file without its byte order mark, line ends as LF.

    Args:
        path: which file; a pipe or device is read to its end.
        most_bytes: of a longer file only so much is read.
        otherwise: what else to do where it is no text, behind what makes a text of it.

    Raises:
        OSError: it cannot be read.
        RunError: it is not UTF-8, holds NUL bytes, or holds documents of another format; names the change.
    """
    with path.open("rb") as stream:
        raw = stream.read() if most_bytes is None else stream.read(most_bytes)
    _refuse_other_kinds(path, raw[:8], otherwise=otherwise)
    cut = most_bytes is not None and path.stat().st_size > most_bytes
    return _decoded(raw, path, cut=cut, otherwise=otherwise)


def _refuse_other_kinds(path: Path, first_bytes: bytes, *, otherwise: str) -> None:
    """Refuse documents by the end of the file's name, and what is no UTF-8 text by its first bytes."""
    if (documents := _OF_DOCUMENTS.get(path.suffix.lower())) is not None and path.is_file():
        what, reader, more = documents
        raise _refused(
            f"{path} holds documents as {what}, not a text",
            "Its braces, quotes or separators would be read as text",
            f"{_written_by_pandas(str(path), reader, more)}; or name it .txt if all of it is the text",
            otherwise,
        )
    if (kind := other_kind(first_bytes, name=str(path), table=False)) is not None:
        raise _refused(f"{path} is {kind[0]}, not UTF-8 text", "", kind[1], otherwise)
    for mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        if first_bytes.startswith(mark):
            wide = "utf-32" if first_bytes.startswith(codecs.BOM_UTF32_LE) else "utf-16"
            raise _refused(
                f"The text {path} is {wide.upper()}, not UTF-8",
                "",
                f"Convert it: {_iconv(path, wide)}",
                otherwise,
            )


def _decoded(raw: bytes, path: Path, *, cut: bool, otherwise: str, begin: int = 0) -> FileText:
    """Bytes from byte `begin` of a file as text; where the file was cut, half a letter at the end is left out."""
    try:
        encoding = "utf-8" if begin else "utf-8-sig"
        text = codecs.getincrementaldecoder(encoding)("strict").decode(raw, final=not cut)
    except UnicodeDecodeError as error:
        row = _lines_before(path, begin) + error.object[: error.start].count(b"\n") + 1
        raise _refused(
            f"The text {path} is not UTF-8",
            f"Line {row:,} has a byte that is not; which letter it is depends on the encoding it was written in",
            f"Convert it: {_iconv(path, 'latin1')} if it is Latin-1",
            otherwise,
        ) from error
    if "\0" in text:
        raise _refused(
            f"The text {path} holds NUL bytes",
            "It is no text, or UTF-16 without a byte order mark",
            f"Convert it: {_iconv(path, 'utf-16le')}",
            otherwise,
        )
    return normalised(text)


def normalised(text: str) -> FileText:
    """A text with line ends as LF."""
    plain, count = _LINE_END.subn("\n", text) if "\r" in text else (text, 0)
    text_read = FileText(plain)
    text_read.line_ends = count
    return text_read


def line_end_notes(count: int) -> tuple[str, ...]:
    """What is said of so many line ends of other systems."""
    return (f"The text has {count:,} line ends CR LF or CR: each is read as LF",) if count else ()


def _lines_before(path: Path, begin: int) -> int:
    """How many lines end in the first `begin` bytes of a file."""
    count, left = 0, begin
    with path.open("rb") as stream:
        while left and (part := stream.read(min(left, 1 << 20))):
            count, left = count + part.count(b"\n"), left - len(part)
    return count


def _iconv(path: Path, encoding: str) -> str:
    return f"`iconv -f {encoding} -t utf-8 {path} > text.txt`"


def _written_by_pandas(name: str, reader: str, more: str) -> str:
    return f"{_WRITE_TEXT}: `{_DOCUMENTS.format(kind=reader, name=name, more=more)}`"


def _refused(what: str, why: str, fix: str, otherwise: str) -> RunError:
    return RunError(what, why=why, fix=f"{fix}{otherwise}")


def is_text(value: str) -> bool:
    """Whether every character can be written as UTF-8; bytes of a path that are not UTF-8 cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in value)
