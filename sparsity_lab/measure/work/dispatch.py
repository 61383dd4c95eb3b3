"""The unit of work that launchers hand out: the open cells of one checkpoint, so that its model loads once.

A task travels to another process as paths and settings. The worker prepares the checkpoint again, and refuses
where its content keys are not those of the driver: then the two see different files or different software.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.prepared import Prepared
from sparsity_lab.measure.search.part import WindowSpan
from sparsity_lab.measure.search.settings import Setting
from sparsity_lab.measure.spec import Checkpoint, MeasureSpec
from sparsity_lab.measure.work.cells import Bench
from sparsity_lab.measure.work.claims import Sign
from sparsity_lab.measure.work.failures import failure


@dataclass(frozen=True)
class Open:
    """A cell without a record, free to be measured.

    Attributes:
        setting: how its knob is chosen.
        key: its content key.
        expired: claims on it that have run out.
        span: the part of it to measure, None for all of it, merged of its parts where there are any.
    """

    setting: Setting
    key: str
    expired: frozenset[Sign] = frozenset()
    span: WindowSpan | None = None


@dataclass(frozen=True)
class Group:
    """Open cells of one checkpoint.

    Attributes:
        prepared: the checkpoint.
        cells: what to measure of it.
    """

    prepared: Prepared
    cells: tuple[Open, ...]


@dataclass(frozen=True)
class WorkOutcome:
    """What became of a group.

    Attributes:
        measured: content keys measured now.
        done: cells that have a record.
        failed: why, of each content key that cannot be measured.
    """

    measured: frozenset[str]
    done: int
    failed: Mapping[str, SparsityLabError] = field(default_factory=dict)


class Crew(Protocol):
    """Whoever measures groups; see `launchers`."""

    @property
    def device(self) -> str | None:
        """What the device `auto` means where the work is done; None where that is this machine."""
        ...

    def perform(self, bench: Bench, groups: Sequence[Group]) -> Iterator[WorkOutcome]:
        """Measure groups and write their records; their outcomes as they complete, in any order.

        Raises:
            SparsityLabError: of the first cell that failed, where that is to end the run; or no worker is left.
                Records written stay.
        """
        ...


@dataclass(frozen=True)
class Task:
    """A group on its way to another process.

    Attributes:
        spec: the settings, its device resolved.
        folder: of the records.
        checkpoint: which one.
        cells: what to measure of it.
        place: the driver's working directory, which relative paths are seen from.
        command: words of the driver's command line, for the records' provenance.
    """

    spec: MeasureSpec
    folder: Path
    checkpoint: Checkpoint
    cells: tuple[Open, ...]
    place: Path
    command: tuple[str, ...]

    @classmethod
    def of(cls, bench: Bench, group: Group) -> Task:
        """The task of a group."""
        prepared = group.prepared
        spec = replace(bench.spec, device=prepared.device)
        words = tuple(sys.argv[1:])
        return cls(spec, bench.folder, prepared.checkpoint, group.cells, Path.cwd(), words)


def perform_here(bench: Bench, group: Group) -> WorkOutcome:
    """Measure the cells of a group that nobody else measures, in this process.

    Raises:
        Exception: of the first cell that failed, where that is to end the run; see `failures.failure`.
    """
    before, done = set(bench.measured), 0
    failed: dict[str, SparsityLabError] = {}
    for one in group.cells:
        try:
            done += _attempt(bench, group.prepared, one) is not None
        except Exception as error:
            failed[one.key] = failure(error, group.prepared.checkpoint, fail_fast=bench.spec.fail_fast)
    return WorkOutcome(frozenset(bench.measured - before), done, failed)


def _attempt(bench: Bench, prepared: Prepared, one: Open) -> dict[str, Any] | None:
    if one.span is None:
        return bench.attempt(prepared, one.setting, expired=one.expired)
    bench.attempt_part(prepared, one.setting, one.span, expired=one.expired)
    return None


def perform_task(task: Task) -> WorkOutcome:
    """Measure a task in a worker process, which keeps texts and its last model for the next one."""
    sys.argv[1:] = task.command
    try:
        os.chdir(task.place)
    except OSError as error:
        raise SparsityLabError(
            f"A worker does not see the directory {task.place}", why=error.strerror or str(error),
            fix="Work in a directory that all machines share",
        ) from error  # fmt: skip
    bench = _bench(task)
    try:
        prepared = _prepared(bench, task)
    except Exception as error:
        why = failure(error, task.checkpoint, fail_fast=bench.spec.fail_fast)
        return WorkOutcome(frozenset(), 0, {one.key: why for one in task.cells})
    return perform_here(bench, Group(prepared, task.cells))


def _prepared(bench: Bench, task: Task) -> Prepared:
    """A task's checkpoint as this process sees it, which must be as the driver does."""
    prepared = bench.prepare(task.checkpoint)
    for one in task.cells:
        if bench.key(prepared, one.setting) != one.key:
            raise SparsityLabError(
                f"A worker finds another checkpoint, text or dtype than the driver at {task.checkpoint.source}",
                fix="Leave checkpoints alone while they are measured, and give all machines the same files",
            )
    return prepared


def perform_with(task: Task, *, threads: int) -> WorkOutcome | SparsityLabError:
    """Measure a task in a process of another machine; an error of ours comes back as a value, whole.

    Args:
        task: what to measure.
        threads: of the forward pass.
    """
    torch.set_num_threads(threads)
    try:
        return perform_task(task)
    except SparsityLabError as error:
        return error


_held: list[Bench] = []


def _bench(task: Task) -> Bench:
    """This process's bench, a new one where the settings are others; the loaded model is kept."""
    held, spec = _held[0] if _held else None, task.spec
    if held is None or (held.spec, held.folder) != (spec, task.folder):
        shelf = held.shelf if held is not None and _loads_alike(held.spec, spec) else None
        _held[:] = [Bench(spec, folder=task.folder, shelf=shelf)]
    return _held[0]


def _loads_alike(one: MeasureSpec, other: MeasureSpec) -> bool:
    return all(
        getattr(one, name) == getattr(other, name) for name in ("architecture_file", "dtype", "device")
    )
