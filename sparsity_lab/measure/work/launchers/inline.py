"""On this machine: in this process, or in several of its own that share the cores and die with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from sparsity_lab.machine.workers import Workers, side_by_side
from sparsity_lab.measure.work.cells import Desk
from sparsity_lab.measure.work.dispatch import Crew, Group, Task, WorkOutcome, perform_here, perform_task
from sparsity_lab.measure.work.launchers import Options

OPTIONS = ("jobs",)


@contextmanager
def crew(options: Options) -> Iterator[Crew]:
    """Whoever measures: this process where `jobs` is 1, else so many others."""
    if options.jobs == 1:
        yield Here()
        return
    with side_by_side(options.jobs) as workers:
        yield Pool(workers)


class Here:
    """This process, group by group."""

    device, alone = None, True

    def perform(self, desk: Desk, groups: Sequence[Group]) -> Iterator[WorkOutcome]:
        """See `dispatch.Crew`."""
        for group in groups:
            yield perform_here(desk, group)


class Pool:
    """Processes of this machine.

    Args:
        workers: these processes.
    """

    device, alone = None, False

    def __init__(self, workers: Workers) -> None:
        self.workers = workers

    def perform(self, desk: Desk, groups: Sequence[Group]) -> Iterator[WorkOutcome]:
        """See `dispatch.Crew`."""
        calls = [partial(perform_task, Task.of(desk, group)) for group in groups]
        for _, outcome in self.workers.perform(calls):
            yield outcome
