"""On this machine: in this process, or in several of its own that share the cores and die with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.cells import Bench
from sparsity_lab.measure.launchers import Options
from sparsity_lab.measure.tasks import Crew, Group, Outcome, Task, perform_here, perform_task
from sparsity_lab.workers import side_by_side

OPTIONS = ("jobs",)


@contextmanager
def crew(options: Options) -> Iterator[Crew]:
    """Whoever measures: this process where `jobs` is 1, else so many others."""
    if options.jobs == 1:
        yield Here()
        return
    with side_by_side(options.jobs) as pool:
        yield Pool(pool)


class Here:
    """This process, group by group."""

    device = None

    def perform(self, bench: Bench, groups: Sequence[Group]) -> Iterator[Outcome]:
        """See `tasks.Crew`."""
        for group in groups:
            yield perform_here(bench, group)


class Pool:
    """Processes of this machine.

    Args:
        pool: runs functions in them.
    """

    device = None

    def __init__(self, pool: Executor) -> None:
        self.pool = pool

    def perform(self, bench: Bench, groups: Sequence[Group]) -> Iterator[Outcome]:
        """See `tasks.Crew`."""
        running: list[Future[Outcome]] = []
        try:
            running += [self.pool.submit(perform_task, Task.of(bench, group)) for group in groups]
            for done in as_completed(running):
                yield done.result()
        except BrokenProcessPool as error:
            raise SparsityLabError(
                "A worker process was killed",
                why="The system may have been short of memory; records written stay",
                fix="Run the same command again, with fewer --jobs",
            ) from error
        except Exception:
            wait([one for one in running if not one.cancel()])  # what was begun is finished and kept
            raise
