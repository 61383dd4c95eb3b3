"""Records of `neurons` and `predict`, read as JSON: their arrays are not needed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.source import Source
from sparsity_lab.measure.neurons.affinity.needed import refuse_unlike
from sparsity_lab.measure.neurons.frequency.record import KIND as NEURONS
from sparsity_lab.reading.json_file import json_or_none
from sparsity_lab.store import records
from sparsity_lab.store.arrays import Kind

SAME_RUN = ("tokenizer", "criterion", "thresholds", "text_sha256")
Body = dict[str, Any]


def read_bodies(paths: Sequence[Path], *, kind: Kind = NEURONS) -> list[tuple[Path, Body]]:
    """Every record of a command, each once, with where it lies.

    Args:
        paths: records, folders of records, or outputs of the command.
        kind: whose records.

    Raises:
        SparsityLabError: a file that is none, was changed or is of another version, or a folder without any.
    """
    bodies: dict[str, tuple[Path, Body]] = {}
    for path in paths:
        for file in _files(path, kind) if path.is_dir() else [path]:
            body = _read(file, kind)
            bodies.setdefault(body["content_key"], (file, body))
    return list(bodies.values())


def _files(folder: Path, kind: Kind) -> list[Path]:
    inner = folder / kind.folder
    where = inner if inner.is_dir() else folder
    files = [path for path in sorted(where.glob("*.json")) if inner.is_dir() or _marked(path, kind)]
    if not files:
        raise SparsityLabError(
            f"There is no record of `sparsity-lab {kind.command}` in {folder}",
            fix=f"Name the folder given to `{kind.command}` as --output",
        )
    return files


def _marked(path: Path, kind: Kind) -> bool:
    raw = json_or_none(path)
    return isinstance(raw, dict) and kind.mark in raw


def _read(path: Path, kind: Kind) -> Body:
    fix = f"Name a record of `sparsity-lab {kind.command}`, or its output"
    try:
        body = records.read_record(path)
    except SparsityLabError as error:
        raise SparsityLabError(error.what, why=error.why, fix=fix) from error
    if missing := [key for key in kind.keys if key not in body]:
        raise SparsityLabError(
            f"{path} is not a record of `sparsity-lab {kind.command}`",
            why=f"It has no {missing[0]!r}",
            fix=fix,
        )
    refuse_unlike(path, body, kind=kind)
    return body


def predictions_of(body: Mapping[str, Any], predictions: Sequence[tuple[Path, Body]]) -> Body | None:
    """The record of `predict` of the same thresholds on the same text, or None."""
    same = [
        prediction for _, prediction in predictions if all(prediction[key] == body[key] for key in SAME_RUN)
    ]
    return same[-1] if same else None


def source_of(body: Mapping[str, Any], given: Sequence[str], *, models: int) -> Source:
    """Where a record's model lies: a given place of the same last name, the only one given, or as recorded.

    Args:
        body: the record.
        given: places of models, by the user.
        models: how many models the records are of.
    """
    name, places = Path(body["model"]).name, [Source.of(word) for word in given]
    matching = [place for place in places if Path(place.model).name == name]
    if not matching and models == len(places) == 1:
        matching = places
    if not matching:
        return Source(body["model"], body["revision"], body.get("commit"))
    revision = matching[0].revision or (None if matching[0].is_local else body["revision"])
    return Source(matching[0].model, revision)
