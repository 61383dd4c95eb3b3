"""Texts of users as files: UTF-8 as a person sees it, or refused with the command that makes such a text of the file.

Line ends CR LF and CR are read as LF, as Python and `datasets` read text files. Files of documents (JSON lines,
parquet, CSV) and compressed ones are not texts: their braces, commas and bytes would be measured.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sparsity_lab.errors import RunError
from sparsity_lab.reading.texts.passages import FileText, Passage, Position, Utf8Text, normalised

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
FIRST_BYTES = 1024 * 1024  # read to see whether a text holds anything


def other_kind(first_bytes: bytes, *, name: str, table: bool) -> tuple[str, str] | None:
    """What a file that is neither text nor a table is, and what makes one of it; None where it may be one."""
    for begins, what, for_table, for_text in _KINDS:
        if first_bytes.startswith(begins):
            if for_text in ("parquet", "feather"):
                for_text = _written_by_pandas(name, for_text, "")
            return what, for_table if table else for_text
    return None


class TextFile(Utf8Text):
    """A UTF-8 file of which passages are read, so that a large file costs no more than these.

    Args:
        path: which file.
        more: what a record says of it besides its form, path and size.

    Raises:
        OSError: it cannot be read.
        RunError: it holds something other than text; see `read_text_file`.
    """

    has_documents = False

    def __init__(self, path: Path, **more: str) -> None:
        self.path, self.more = path, more
        with path.open("rb") as stream:
            first = stream.read(8)
        _refuse_other_kinds(path, first, otherwise="")
        self.mark = len(codecs.BOM_UTF8) if first.startswith(codecs.BOM_UTF8) else 0
        self.size = path.stat().st_size - self.mark

    def described(self) -> dict[str, Any]:
        """What a record says of it."""
        return {"form": "text", "path": str(self.path), "bytes": self.size, **self.more}

    def is_blank(self) -> bool:
        """Whether it holds nothing but white space; raises as `read_text_file` does."""
        return not self.whole(FIRST_BYTES).strip() and not self.whole().strip()

    def is_larger(self, size: int) -> bool:
        """Whether it has more bytes than these."""
        return self.size > size

    def count(self) -> int:
        """It is one document."""
        return 1

    def document(self, number: int) -> TextFile:
        """It is the one document."""
        return self

    def size_of(self, number: int) -> int:
        """Its bytes."""
        return self.size

    def each(self) -> Iterator[Utf8Text]:
        """All of it, as the one document."""
        yield self

    def passage_at(self, place: Position, *, before: int, after: int) -> Passage:
        """See `passage`."""
        return self.passage(place.byte, before=before, after=after)

    def whole(self, most_bytes: int | None = None) -> FileText:
        """All of it, or its first bytes; raises as `read_text_file` does."""
        return read_text_file(self.path, most_bytes=most_bytes)

    def bytes_of(self, begin: int, end: int) -> bytes:
        """See `Utf8Text`."""
        with self.path.open("rb") as stream:
            stream.seek(begin + self.mark)
            return stream.read(end - begin)

    def decoded(self, raw: bytes, begin: int, *, cut: bool) -> FileText:
        """See `Utf8Text`."""
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
            "It is not text, or it is UTF-16 without a byte order mark",
            f"Convert it: {_iconv(path, 'utf-16le')}",
            otherwise,
        )
    return normalised(text)


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
