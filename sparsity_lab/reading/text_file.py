"""Texts of users as files: UTF-8 as a person sees it, or refused with the command that makes such a text of the file.

Line ends CR LF and CR are read as LF, as Python and `datasets` read text files. Files of documents (JSON lines,
parquet, CSV) and compressed ones are not texts: their braces, commas and bytes would be measured.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from sparsity_lab.errors import SparsityLabError

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


class FileText(str):
    """The text of a file.

    Attributes:
        notes: what reading it changed, in words.
    """

    notes: tuple[str, ...] = ()


def other_kind(first_bytes: bytes, *, name: str, table: bool) -> tuple[str, str] | None:
    """What a file that is neither text nor a table is, and what makes one of it; None where it may be one."""
    for begins, what, for_table, for_text in _KINDS:
        if first_bytes.startswith(begins):
            if for_text in ("parquet", "feather"):
                for_text = _written_by_pandas(name, for_text, "")
            return what, for_table if table else for_text
    return None


def read_text_file(path: Path, *, most_bytes: int | None = None, otherwise: str = "") -> FileText:
    """The text of a UTF-8 file without its byte order mark, line ends as LF.

    Args:
        path: which file; a pipe or device is read to its end.
        most_bytes: of a longer file only so much is read.
        otherwise: what else to do where it is no text, behind what makes a text of it.

    Raises:
        OSError: it cannot be read.
        SparsityLabError: it is not UTF-8, holds NUL bytes, or holds documents of another format; names the change.
    """
    if (documents := _OF_DOCUMENTS.get(path.suffix.lower())) is not None and path.is_file():
        what, reader, more = documents
        raise _refused(
            f"{path} holds documents as {what}, not a text",
            "Its braces, quotes or separators would be read as text",
            f"{_written_by_pandas(str(path), reader, more)}; or name it .txt if all of it is the text",
            otherwise,
        )
    with path.open("rb") as stream:
        raw = stream.read() if most_bytes is None else stream.read(most_bytes)
    if (kind := other_kind(raw[:8], name=str(path), table=False)) is not None:
        raise _refused(f"{path} is {kind[0]}, not UTF-8 text", "", kind[1], otherwise)
    for mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        if raw.startswith(mark):
            wide = "utf-32" if raw.startswith(codecs.BOM_UTF32_LE) else "utf-16"
            raise _refused(
                f"The text {path} is {wide.upper()}, not UTF-8",
                "",
                f"Convert it: {_iconv(path, wide)}",
                otherwise,
            )
    return _decoded(
        raw, path, cut=most_bytes is not None and path.stat().st_size > most_bytes, otherwise=otherwise
    )


def _decoded(raw: bytes, path: Path, *, cut: bool, otherwise: str) -> FileText:
    """Bytes as text; where the file was cut, half a letter at the end is left out."""
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")("strict").decode(raw, final=not cut)
    except UnicodeDecodeError as error:
        row = error.object[: error.start].count(b"\n") + 1
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
    plain, count = _LINE_END.subn("\n", text) if "\r" in text else (text, 0)
    text_read = FileText(plain)
    if count:
        text_read.notes = (f"The text has {count:,} line ends CR LF or CR: each is read as LF",)
    return text_read


def _iconv(path: Path, encoding: str) -> str:
    return f"`iconv -f {encoding} -t utf-8 {path} > text.txt`"


def _written_by_pandas(name: str, reader: str, more: str) -> str:
    return f"{_WRITE_TEXT}: `{_DOCUMENTS.format(kind=reader, name=name, more=more)}`"


def _refused(what: str, why: str, fix: str, otherwise: str) -> SparsityLabError:
    return SparsityLabError(what, why=why, fix=f"{fix}{otherwise}")


def is_text(value: str) -> bool:
    """Whether every character can be written as UTF-8; bytes of a path that are not UTF-8 cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in value)
