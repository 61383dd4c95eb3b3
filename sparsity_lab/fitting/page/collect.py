"""Which files under a folder the other commands wrote, by their names; what cannot be read is said, not fatal.

records/KEY.json       measure                fits.json, locks/*.toml   fit
density.json           density                eval.json                 eval
neurons.json           neurons                structure.json            structure
predictors.json        predict                affinity.json             affinity
transfer.csv           measure --transfer     sweep.csv                 measure --sweep
study.json, report.md  study, demo            token_heat.json           heat
families.json          fit of several runs
*.csv                  tables of all          *.svg, *.png              figures of all
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.reading.json_file import read_json, read_object
from sparsity_lab.reading.walking import LeftOut, Walk
from sparsity_lab.store.records import read_record

logger = logging.getLogger(__name__)

PROGRAMS = {"node_modules", "__pycache__"}
WANDB_RUNS = ("offline-run-", "run-", "latest-run")
WRITE_AGAIN = "Run the command that wrote it again, or move it away"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


@dataclass
class Contents:
    """What lies under a folder.

    Attributes:
        root: the folder.
        records: whole records by content key, and `record_folders` where they lie.
        documents: parsed JSON of a known name, by path.
        csvs: tables. figures: pictures, the vector one where there are both. texts: reports written for readers.
        unread: (path, why) of files that should have been readable.
        left_out: folders that were not entered on purpose, and why.
    """

    root: Path
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    record_folders: dict[Path, list[str]] = field(default_factory=dict)
    documents: dict[Path, Any] = field(default_factory=dict)
    csvs: list[Path] = field(default_factory=list)
    figures: list[Path] = field(default_factory=list)
    texts: list[Path] = field(default_factory=list)
    unread: list[tuple[Path, str]] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def named(self, name: str) -> Iterator[tuple[Path, Any]]:
        """Paths and contents of the JSON files of one name."""
        return ((path, value) for path, value in self.documents.items() if path.name == name)

    def files(self) -> list[Path]:
        """The records, documents and tables, by path."""
        records = (folder / f"{key}.json" for folder, keys in self.record_folders.items() for key in keys)
        return [*dict.fromkeys(records), *self.documents, *self.csvs]

    def of(self, paths: Collection[Path]) -> Contents:
        """The same with some of the records, documents and tables alone."""
        folders = {
            folder: [key for key in keys if folder / f"{key}.json" in paths]
            for folder, keys in self.record_folders.items()
        }
        kept = {key for keys in folders.values() for key in keys}
        return replace(
            self,
            records={key: record for key, record in self.records.items() if key in kept},
            record_folders={folder: keys for folder, keys in folders.items() if keys},
            documents={path: value for path, value in self.documents.items() if path in paths},
            csvs=[path for path in self.csvs if path in paths],
            unread=list(self.unread),
        )

    def relative(self, path: Path) -> str:
        """A path as readers of this folder know it."""
        return path.relative_to(self.root).as_posix()

    def place(self, folder: Path) -> str:
        """A folder's name in headings; the root by its own."""
        return self.root.resolve().name if folder == self.root else self.relative(folder)


DOCUMENTS = ("fits.json", "density.json", "eval.json", "neurons.json", "structure.json", "predictors.json",
             "affinity.json", "study.json", "families.json", "provenance.json", "token_heat.json")  # fmt: skip


def find(root: Path) -> Contents:
    """Everything under a folder, in the order of names.

    Raises:
        SparsityLabError: no such folder, or nothing in it that a report could show.
    """
    if not os.path.isdir(root):
        raise SparsityLabError(
            f"{root} is a file, and a report is of a folder"
            if os.path.isfile(root)
            else f"There is no folder {root}",
            fix="Name one that measure, fit, study or density wrote",
        )
    contents = Contents(root)
    walk = Walk(root, skip=_not_ours)
    for folder, names in walk:
        _sort_in(contents, folder, names)
    walk.tell()
    contents.unread += [(entry.path, entry.why) for entry in walk.left_out if entry.lost]
    contents.left_out = [entry for entry in walk.left_out if not entry.lost]
    contents.figures = _best(contents.figures)
    if not any((contents.records, contents.documents, contents.csvs, contents.figures, contents.unread)):
        raise SparsityLabError(
            f"There is nothing to report under {root}",
            why="It holds no record, fit, table or figure of a sparsity-lab command",
            fix="Name the folder given to such a command as --output",
        )
    return contents


def _not_ours(folder: Path) -> str | None:
    """Why a report does not look into a folder, or None."""
    if folder.name.startswith("."):
        return "hidden folders are not read"
    if folder.name in PROGRAMS:
        return "a folder of a program"
    if folder.parent.name == "wandb" and folder.name.startswith(WANDB_RUNS):
        return "files of W&B"
    return None


def _sort_in(contents: Contents, folder: Path, names: Sequence[str]) -> None:
    """Sort the files of a folder; in a checkpoint's, tables and figures are the model's."""
    checkpoint = "config.json" in names and any(name in names for name in WEIGHTS)
    for name in names:
        path = folder / name
        if folder.name == "records" and name.endswith(".json"):
            _take(contents, path, record=True)
        elif name in DOCUMENTS:
            _take(contents, path, record=False)
        elif checkpoint:
            continue
        elif name.endswith(".csv"):
            contents.csvs.append(path)
        elif name.endswith((".svg", ".png")):
            contents.figures.append(path)
        elif name == "report.md" or (name == "README.md" and "study.json" in names):
            contents.texts.append(path)
        elif name.endswith(".damaged"):
            contents.unread.append((path, "set aside by measure as damaged"))


def _take(contents: Contents, path: Path, *, record: bool) -> None:
    try:
        if record:
            measurement = read_record(path)
            contents.records[measurement["content_key"]] = measurement
            contents.record_folders.setdefault(path.parent, []).append(measurement["content_key"])
        else:
            contents.documents[path] = _document(path)
    except SparsityLabError as error:
        why = error.why or error.what
        logger.warning("%s left out: %s", path, why)
        contents.unread.append((path, why))


def _document(path: Path) -> object:
    """What a file of a command holds.

    Raises:
        SparsityLabError: it is not JSON, or not in the shape in which a command writes it.
    """
    if path.name != "fits.json":
        return read_object(path, fix=WRITE_AGAIN)
    entries = read_json(path, fix=WRITE_AGAIN, finite=False)
    if not (isinstance(entries, list) and all(map(_is_fit, entries))):
        raise SparsityLabError(f"Cannot read {path}", why="it is not a list of fits", fix=WRITE_AGAIN)
    return entries


def _is_fit(entry: object) -> bool:
    coefficients = entry.get("coefficients") if isinstance(entry, dict) else None
    return isinstance(coefficients, dict) and all(isinstance(value, dict) for value in coefficients.values())


def _best(figures: Sequence[Path]) -> list[Path]:
    """One file a figure: the SVG before the PNG of its name."""
    stems = {path.with_suffix(""): path for path in figures if path.suffix == ".png"}
    stems |= {path.with_suffix(""): path for path in figures if path.suffix == ".svg"}
    return sorted(stems.values())
