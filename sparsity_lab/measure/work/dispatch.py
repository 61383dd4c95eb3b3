"""The unit of work that launchers hand out: the open cells of one checkpoint, so that its model loads once.

A task travels to another process as paths and settings. The worker prepares the checkpoint again, and refuses
where its content keys are not those of the driver: then the two see different files or different software.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import torch

from sparsity_lab.errors import InapplicableError, SparsityLabError
from sparsity_lab.measure.spec import Checkpoint
from sparsity_lab.measure.work.cells import Cell, Desk, Kept, Recipe, RunTerms
from sparsity_lab.measure.work.claims import Sign, claimed
from sparsity_lab.measure.work.failures import failure
from sparsity_lab.settings import ModelSettings


@dataclass(frozen=True)
class OpenCell:
    """A cell without a record, free to be made.

    Attributes:
        cell: which one; it may be a part of another.
        whole: content key of the cell that fails where this one does.
        expired: claims on it that have run out.
    """

    cell: Cell[Any]
    whole: str
    expired: frozenset[Sign] = frozenset()


Group = tuple[OpenCell, ...]  # of one checkpoint


@dataclass(frozen=True)
class WorkOutcome:
    """What became of a group; everything by content keys.

    Attributes:
        made: those that have records now.
        found: those that had got records before.
        failed: why, of each that cannot be made.
    """

    made: frozenset[str] = frozenset()
    found: frozenset[str] = frozenset()
    failed: Mapping[str, SparsityLabError] = field(default_factory=dict)

    def __or__(self, other: WorkOutcome) -> WorkOutcome:
        """Both together."""
        return WorkOutcome(self.made | other.made, self.found | other.found, {**self.failed, **other.failed})


class Crew(Protocol):
    """Whoever makes cells; see `launchers`."""

    @property
    def device(self) -> str | None:
        """What the device `auto` means where the work is done; None where that is this machine."""
        ...

    @property
    def alone(self) -> bool:
        """Whether the work is done in this process, which keeps one model at a time."""
        ...

    def perform(self, desk: Desk, groups: Sequence[Group]) -> Iterator[WorkOutcome]:
        """Make the cells of groups and write their records; outcomes as they come, in any order.

        Raises:
            SparsityLabError: of the first cell that failed, where that is to end the run; or no worker is left.
                Records written stay.
        """
        ...


@dataclass(frozen=True)
class Parcel:
    """An open cell on its way: its recipe, and how its checkpoint and text were prepared."""

    recipe: Recipe[Any, Any]
    reading: ModelSettings
    key: str
    whole: str
    expired: frozenset[Sign]


@dataclass(frozen=True)
class Task:
    """A group on its way to another process.

    Attributes:
        terms: of the run.
        checkpoint: which one.
        parcels: what to make of it.
        place: the driver's working directory, which relative paths are seen from.
    """

    terms: RunTerms
    checkpoint: Checkpoint
    parcels: tuple[Parcel, ...]
    place: Path

    @classmethod
    def of(cls, desk: Desk, group: Group) -> Task:
        """The task of a group."""
        parcels = (
            Parcel(o.cell.recipe, o.cell.prepared.reading, o.cell.key, o.whole, o.expired) for o in group
        )
        return cls(desk.terms, group[0].cell.checkpoint, tuple(parcels), Path.cwd())


def perform_here(desk: Desk, group: Group) -> WorkOutcome:
    """Make the cells of a group that nobody else is at, in this process.

    Raises:
        Exception: of the first cell that failed, where that is to end the run; see `failures.failure`.
    """
    outcome = WorkOutcome()
    for open_cell in group:
        outcome |= _attempt(desk, open_cell)
    return outcome


def _attempt(desk: Desk, open_cell: OpenCell) -> WorkOutcome:
    """What becomes of one cell; nothing while somebody else is at it."""
    cell, terms = open_cell.cell, desk.terms
    try:
        with claimed(terms.folder, cell.key, expired=open_cell.expired) as ours:
            if not ours:
                return WorkOutcome()
            # Its last holder may have written it before letting go.
            if not terms.again and cell.find(terms.folder) is not None:
                return WorkOutcome(found=frozenset({cell.key}))
            cell.make(desk)
            return WorkOutcome(made=frozenset({cell.key}))
    except Exception as error:
        if terms.leave_out and isinstance(error, InapplicableError):
            return WorkOutcome(failed={open_cell.whole: error.copy()})
        return WorkOutcome(
            failed={open_cell.whole: failure(error, cell.checkpoint, fail_fast=terms.fail_fast)}
        )


def perform_task(task: Task) -> WorkOutcome:
    """Make a task's cells in a worker process, which keeps texts and its last model for the next one."""
    desk = Desk(task.terms, kept=_kept())
    try:
        group = _unpacked(desk.kept, task)
    except Exception as error:
        why = failure(error, task.checkpoint, fail_fast=task.terms.fail_fast)
        return WorkOutcome(failed={parcel.whole: why for parcel in task.parcels})
    return perform_here(desk, group)


def _unpacked(kept: Kept, task: Task) -> Group:
    """A task's cells as this process sees them, which must be as the driver does."""
    readings = dict.fromkeys(parcel.reading for parcel in task.parcels)
    prepared = {reading: kept.prepare(reading, task.checkpoint) for reading in readings}
    group = []
    for parcel in task.parcels:
        cell = Cell(parcel.recipe, prepared[parcel.reading])
        if cell.key != parcel.key:
            raise SparsityLabError(
                f"A worker finds another checkpoint, text or dtype than the driver at {task.checkpoint.source}",
                fix="Leave checkpoints alone while they are measured, and give all machines the same files",
            )
        group.append(OpenCell(cell, parcel.whole, parcel.expired))
    return tuple(group)


def perform_with(task: Task, *, threads: int) -> WorkOutcome | SparsityLabError:
    """Make a task's cells in a process of another machine; an error of ours comes back as a value, whole.

    Args:
        task: what to make.
        threads: of the forward pass.
    """
    torch.set_num_threads(threads)
    try:
        os.chdir(task.place)
    except OSError as error:
        return SparsityLabError(
            f"A worker does not see the directory {task.place}", why=error.strerror or str(error),
            fix="Work in a directory that all machines share",
        )  # fmt: skip
    try:
        return perform_task(task)
    except SparsityLabError as error:
        return error


@cache
def _kept() -> Kept:
    """What this worker process keeps."""
    return Kept()
