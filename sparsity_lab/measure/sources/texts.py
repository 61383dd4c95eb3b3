"""Opens the text that a command names, and refuses what is no text before any model is loaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sparsity_lab.errors import RunError, SparsityLabError
from sparsity_lab.measure.model.windows import BYTES_PER_TOKEN, WHOLE_TEXT_BYTES
from sparsity_lab.measure.sources.datasets import SAVED, open_dataset
from sparsity_lab.reading.texts import json_lines, text_folder
from sparsity_lab.reading.texts.dataset_name import DatasetName, TextPlace
from sparsity_lab.reading.texts.documents import Documents, Packed, Shards, TextSource
from sparsity_lab.reading.texts.json_lines import JsonLines
from sparsity_lab.reading.texts.passages import FileText
from sparsity_lab.reading.texts.tables import ParquetFile
from sparsity_lab.reading.texts.text_file import TextFile
from sparsity_lab.reading.texts.text_folder import TextFolder, files_in, tell_left_out
from sparsity_lab.store import bundled

COLUMN = "text"
PARQUET = (".parquet",)


def open_text(text: TextPlace, *, column: str | None = None, pack: bool = False) -> TextSource:
    """A text to take windows from.

    Args:
        text: a UTF-8 file, JSON lines, a parquet file, a folder of one kind of these, the name of a bundled text (where
            no file has that name), or the name of a dataset.
        column: key or column of the text where it has several; by default `text`, or that of a short name.
        pack: take documents as one text.

    Raises:
        SparsityLabError: nothing there, a pipe or device, empty, not UTF-8, or documents of another form; of a dataset,
            as `open_dataset`.
    """
    if isinstance(text, DatasetName):
        found: TextFile | Documents = open_dataset(text, column=column)
    else:
        found = _file_or_folder(text, column or COLUMN)
    if found.is_blank():
        raise SparsityLabError(f"The text {text} is empty", fix="Name one with text in it")
    return Packed(found) if pack and isinstance(found, Documents) else found


def read_text(text: TextPlace, *, tokens: int, column: str | None = None) -> FileText:
    """The beginning of a text, line ends as LF: of a very large file the part that surely holds `tokens` tokens, of
    documents the first that is not blank.

    Raises:
        SparsityLabError: as `open_text`.
    """
    opened = open_text(text, column=column)
    if isinstance(opened, TextFile):
        return opened.whole(max(WHOLE_TEXT_BYTES, tokens * BYTES_PER_TOKEN))
    documents = (document.whole() for document in opened.each())
    return next(document for document in documents if document.strip())


def _file_or_folder(path: Path, column: str) -> TextFile | Documents:
    try:
        if path.exists() and not (path.is_file() or path.is_dir() or path.samefile(os.devnull)):
            raise SparsityLabError(
                f"The text {path} is not a regular file",
                why="A pipe or device has no end",
                fix="Name a UTF-8 file",
            )
        if (carried := bundled.text(path)) is not None:
            return TextFile(carried, bundled=str(path))
        return _folder(path, column) if path.is_dir() else _file(path, column)
    except OSError as error:
        carried_texts = ", ".join(bundled.texts())
        raise SparsityLabError(
            f"Cannot read the text {path}",
            why=error.strerror or str(error),
            fix=f"Name a UTF-8 file, or a bundled text: {carried_texts}",
        ) from error


def _file(path: Path, column: str) -> TextFile | Documents:
    reader = _reader(path)
    return TextFile(path) if reader is None else reader(path, column=column)


def _reader(path: Path) -> Any:
    """What reads a file of documents; None for one that is a text by itself."""
    endings = [suffix.lower() for suffix in path.suffixes[-2:]]
    if endings and endings[-1] in json_lines.COMPRESSED:
        endings.pop()
    kind = endings[-1] if endings else ""
    if kind in json_lines.ENDINGS:
        return JsonLines
    return ParquetFile if kind in PARQUET and path.suffix.lower() in PARQUET else None


def _folder(path: Path, column: str) -> Documents:
    """A folder of text files, or where it has none of JSON lines or parquet files."""
    if (saved := next((name for name in SAVED if (path / name).is_file()), None)) is not None:
        raise RunError(
            f"{path} is a dataset saved by the datasets library", why=f"It holds {saved}",
            fix=f"Name it with --dataset {path}, or --dataset {path}::SPLIT where it has several splits",
        )  # fmt: skip
    found = files_in(path)
    if any(file.suffix.lower() in text_folder.TEXTS for file in found):
        return TextFolder(path)
    kinds = {
        reader: [file for file in found if _reader(file) is reader] for reader in (JsonLines, ParquetFile)
    }
    (reader, files), other = sorted(kinds.items(), key=lambda kind: -len(kind[1]))
    if not files:
        return TextFolder(path)  # says what it looks for
    if other[1]:
        raise RunError(
            f"The folder {path} holds both JSON lines and parquet files",
            fix="Name one of the files, or a folder with one kind",
        )
    tell_left_out(path, found, files)
    parts = [reader(file, column=column) for file in files]
    described = parts[0].described()
    size = sum(file.stat().st_size for file in files)
    return Shards(
        parts, path=path, description={**described, "path": str(path), "bytes": size, "files": len(files)}
    )
