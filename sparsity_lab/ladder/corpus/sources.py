"""Corpora out of the user's own files and out of `datasets`.

A text file is cut at blank lines into documents of some thousand characters; a row of a parquet file or of
a dataset is a document.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sparsity_lab import extras
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.config.spec import DataSpec
from sparsity_lab.ladder.corpus.corpus import Corpus, python_corpus
from sparsity_lab.ladder.corpus.identity import commit_of, described
from sparsity_lab.measure.checkpoint import hub
from sparsity_lab.reading.texts.text_file import read_text_file
from sparsity_lab.reading.walking import Walk, matching
from sparsity_lab.store.file_names import refuse_undecodable

_DOCUMENT_CHARACTERS = 8_000
_ROWS_AT_ONCE = 1_024
_LEAVE_OUT = "or leave it out of `files` under data"
_TEXTS = (".txt", ".md")


def open_corpus(data: DataSpec) -> Corpus:
    """The corpus a specification names; nothing is read yet but the names of files.

    Raises:
        SparsityLabError: a file is not there or is of an unknown kind.
    """
    if data.files:
        return file_corpus(data.files, text_column=data.text_column, license_note=data.license_note)
    if data.dataset is not None:
        return dataset_corpus(data)
    return python_corpus()


def file_corpus(patterns: tuple[str, ...], *, text_column: str, license_note: str) -> Corpus:
    """Text (`.txt`, `.md`) and parquet files, or patterns of them, in sorted order.

    Raises:
        SparsityLabError: a pattern matches nothing, or a file is neither text nor parquet.
    """
    paths: list[Path] = []
    for pattern in patterns:
        files = [path for path in matching(pattern) if not path.is_dir()]
        if not files:
            raise SparsityLabError(f"No file is named {pattern}", fix="Check `files` under data")
        paths.extend(files)
    for path in paths:
        refuse_undecodable(str(path))
        if path.suffix.lower() not in (*_TEXTS, ".parquet"):
            raise SparsityLabError(
                f"{path} is neither text (.txt, .md) nor parquet",
                fix=f"Write it as parquet with one document a row, for example with pandas, {_LEAVE_OUT}",
            )

    def read() -> Iterator[str]:
        """The documents of every file, in the order of the files."""
        for path in paths:
            yield from _text(path) if path.suffix.lower() in _TEXTS else _parquet(path, text_column)

    def fingerprint() -> dict[str, Any]:
        column = (
            {"text_column": text_column} if any(path.suffix.lower() == ".parquet" for path in paths) else {}
        )
        return {"kind": "files", **column, "files": described(paths)}

    return Corpus(f"files {', '.join(patterns)}", license_note, read, fingerprint)


def dataset_corpus(data: DataSpec) -> Corpus:
    """A dataset of the Hub or of a local directory, streamed.

    Raises:
        SparsityLabError: when read: it cannot be had, or lacks the text column.
    """

    def fingerprint() -> dict[str, Any]:
        chosen = {"dataset_config": data.dataset_config, "split": data.split, "text_column": data.text_column}
        return {"kind": "dataset", **chosen, **_dataset(str(data.dataset))}

    def read() -> Iterator[str]:
        """The documents of the dataset, as they are streamed."""
        extras.require("datasets", who=f"The dataset {data.dataset}")
        from datasets import load_dataset

        try:
            rows = load_dataset(data.dataset, data.dataset_config, split=data.split, streaming=True)
            for row in rows:
                yield _column(row, data.text_column, where=f"dataset {data.dataset}")
        except SparsityLabError:
            raise
        except Exception as error:  # datasets raises what its loaders, fsspec and the network raise
            raise SparsityLabError(
                f"Cannot read the dataset {data.dataset}",
                why=str(error).split("\n")[0],
                fix=hub.advice(error, f"datasets/{data.dataset}")
                or "Check its name, `dataset_config` and `split`, and the network",
            ) from error

    return Corpus(f"dataset {data.dataset}, split {data.split}", data.license_note, read, fingerprint)


def _dataset(name: str) -> dict[str, Any]:
    """What a dataset is known by: the files of a local one, the commit of one on the Hub."""
    folder = Path(name)
    if folder.is_dir():
        return {"files": described(Walk(folder).files(), root=folder)}
    return {"dataset": name, "commit": commit_of(name)}


def _text(path: Path) -> Iterator[str]:
    parts: list[str] = []
    length = 0
    for paragraph in _decoded(path).split("\n\n"):
        parts.append(paragraph)
        length += len(paragraph)
        if length >= _DOCUMENT_CHARACTERS:
            yield "\n\n".join(parts)
            parts, length = [], 0
    if any(part.strip() for part in parts):
        yield "\n\n".join(parts)


def _decoded(path: Path) -> str:
    try:
        return read_text_file(path, otherwise=f", {_LEAVE_OUT}")
    except OSError as error:
        raise SparsityLabError(
            f"Cannot read {path}",
            why=error.strerror or str(error),
            fix=f"Check its permissions, {_LEAVE_OUT}",
        ) from error


def _parquet(path: Path, column: str) -> Iterator[str]:
    import pyarrow as arrow  # type: ignore[import-untyped]
    import pyarrow.parquet as parquet  # type: ignore[import-untyped]

    try:
        file = parquet.ParquetFile(path)
        names = file.schema_arrow.names
        if column not in names:
            raise SparsityLabError(
                f"{path} has no column {column!r}",
                why=f"Its columns are {', '.join(names)}",
                fix="Set text_column under data",
            )
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=[column]):
            for row in batch.to_pylist():
                yield _column(row, column, where=str(path))
    except (OSError, arrow.ArrowException) as error:
        raise SparsityLabError(
            f"Cannot read {path}", why=str(error), fix=f"Write the file again, {_LEAVE_OUT}"
        ) from error


def _column(row: dict[str, Any], column: str, *, where: str) -> str:
    if column not in row:
        raise SparsityLabError(
            f"The {where} has no column {column!r}",
            why=f"Its columns are {', '.join(row)}",
            fix="Set text_column under data",
        )
    value = row[column]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise SparsityLabError(
            f"Column {column!r} of {where} holds {type(value).__name__}, not text",
            fix="Set text_column under data",
        )
    return value
