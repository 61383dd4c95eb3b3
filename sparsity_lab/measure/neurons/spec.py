"""What to watch: models, texts, and which record's thresholds go with which checkpoint."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from sparsity_lab import ranges
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.pinning import pinned
from sparsity_lab.measure.checkpoint.source import Source
from sparsity_lab.measure.sources.named import NamedText
from sparsity_lab.measure.spec import Checkpoint, MeasureSpec
from sparsity_lab.reading.json_file import json_or_none
from sparsity_lab.reading.texts.dataset_name import TextPlace
from sparsity_lab.settings import TOKENS, RecordSettings, WeightSettings, WindowSettings, WritingSettings
from sparsity_lab.store import records


@dataclass(frozen=True)
class NeuronSpec(WritingSettings, RecordSettings, WindowSettings):
    """Everything the numbers depend on other than checkpoints and thresholds.

    Attributes:
        texts: one or more, each a domain.
        tokens: valid tokens of each text.
    The others are those of the classes that it inherits.
    """

    texts: tuple[NamedText, ...]
    tokens: int = TOKENS

    def check(self) -> None:
        """Refuse numbers that nothing could be counted with.

        Raises:
            SparsityLabError: one of them is not positive, or a seed that no generator takes.
        """
        ranges.check_fields(self)

    def measure_spec(self, text: TextPlace) -> MeasureSpec:
        """The spec under which `measure` would read one text."""
        shared = {field.name: getattr(self, field.name) for field in fields(WindowSettings)}
        return MeasureSpec(text=text, tokens=self.tokens, **shared)


def thresholds_of(
    paths: Sequence[Path], checkpoints: Sequence[Checkpoint], settings: WeightSettings
) -> list[Path | SparsityLabError]:
    """The record whose thresholds go with each checkpoint, or why a folder has none for it.

    Args:
        paths: one record for all checkpoints; or one each, in their order; or a folder that `measure` wrote, with one
            record of each checkpoint.
        checkpoints: in order.
        settings: what is allowed and said of their weights.

    Raises:
        SparsityLabError: another number of records.
    """
    if len(paths) == 1 and paths[0].is_dir():
        by_path = _records_in(paths[0])
        sources = [checkpoint.source.read_as(settings) for checkpoint in checkpoints]
        return [_one_of(by_path, source, folder=paths[0]) for source in sources]
    if any(path.is_dir() for path in paths):
        raise SparsityLabError("A folder of records goes alone", fix="Give --thresholds FOLDER once")
    if len(paths) == 1:
        return [paths[0]] * len(checkpoints)
    if len(paths) != len(checkpoints):
        raise SparsityLabError(
            f"{len(paths)} records of thresholds for {len(checkpoints)} checkpoints",
            fix="Give one for all, one for each in their order, or the folder that `measure` wrote",
        )
    return list(paths)


def record_of_each(
    paths: Sequence[Path], checkpoints: Sequence[Checkpoint], settings: WeightSettings
) -> list[Path]:
    """The same where every checkpoint must have a record.

    Raises:
        SparsityLabError: as `thresholds_of`, or a folder has none for one of them.
    """
    chosen = []
    for path in thresholds_of(paths, checkpoints, settings):
        if isinstance(path, SparsityLabError):
            raise path
        chosen.append(path)
    return chosen


def _records_in(folder: Path) -> dict[Path, dict[str, Any]]:
    inner = folder / "records"
    where = inner if inner.is_dir() else folder
    by_path: dict[Path, dict[str, Any]] = {}
    for path in sorted(where.glob("*.json")):
        raw = json_or_none(path)
        if isinstance(raw, dict) and raw.get("thresholds") and "content_key" in raw:
            record = records.read_record(path)
            if record not in by_path.values():  # a copy under another name is the same record
                by_path[path] = record
    if not by_path:
        raise SparsityLabError(
            f"There is no record with thresholds in {where}",
            fix="Name the folder given to `measure` as --output",
        )
    return by_path


def _one_of(by_path: dict[Path, dict[str, Any]], source: Source, *, folder: Path) -> Path | SparsityLabError:
    """The record of a checkpoint; of a Hub id, the one of the commit that it means now, under whatever revision."""
    of_model = {
        path: record
        for path, record in by_path.items()
        if _same_place(str(record.get("model")), source.model)
    }
    paths = [path for path, record in of_model.items() if record.get("revision") == source.revision]
    if source.folder is None and any(record.get("commit") for record in of_model.values()):
        try:
            now = pinned(replace(source, tokenizer=None))
        except SparsityLabError as error:
            return error
        commits = now.commit, None if now.base is None else now.base.commit
        paths, before = [path for path, record in of_model.items() if _commits_in(record) == commits], paths
        if before and not paths:
            there = _commits_in(of_model[before[0]])
            return SparsityLabError(
                f"{folder} holds no record of {source} as it is now, {_in_words(*commits)}",
                why=f"The record there, {before[0].name}, is of {_in_words(*there)}",
                fix="Measure it again, or name that record with --thresholds if its thresholds are meant",
            )
    if len(paths) == 1:
        return paths[0]
    if not paths:
        return SparsityLabError(
            f"{folder} holds no record of {source} with thresholds",
            fix="Measure it first, or name its record",
        )
    rules = [f"{path.name} ({_rule(by_path[path])})" for path in paths]
    return SparsityLabError(
        f"{folder} holds {len(paths)} records of {source}: {', '.join(rules)}",
        fix="Name one of these files with --thresholds for each checkpoint",
    )


def _commits_in(record: dict[str, Any]) -> tuple[str | None, str | None]:
    """The commit of a record's model, and of the base model of an adapter; None where there is none."""
    base = (record.get("weights_from") or {}).get("base") or {}
    return record.get("commit"), base.get("commit")


def _in_words(commit: str | None, base: str | None) -> str:
    return f"commit {commit}" + (f" with the base model at commit {base}" if base else "")


def _rule(record: dict[str, Any]) -> str:
    """How a record's thresholds were set; there need not be a knob."""
    knob = record.get("knob")
    words = f"{knob:.4g}" if isinstance(knob, (int, float)) else "none"
    return f"{record.get('criterion')}, {record.get('rule')}, knob {words}"


def _same_place(place: str, other: str) -> bool:
    return place == other or (Path(place).exists() and os.path.realpath(place) == os.path.realpath(other))
