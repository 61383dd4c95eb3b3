"""Template: a pool of processes of this machine, from the standard library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.work.cells import Desk
from sparsity_lab.measure.work.dispatch import Crew, Group, Task, WorkOutcome, perform_with
from sparsity_lab.measure.work.launchers import Options

OPTIONS = ("jobs",)


@contextmanager
def crew(options: Options) -> Iterator[Crew]:
    """A pool of `jobs` processes, which end with the run."""
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        yield Pool(pool)


class Pool:
    """Workers that each take one group after another."""

    device, alone = None, False

    def __init__(self, pool: Executor) -> None:
        self.pool = pool

    def perform(self, desk: Desk, groups: Sequence[Group]) -> Iterator[WorkOutcome]:
        """See `dispatch.Crew`."""
        pending = [self.pool.submit(perform_with, Task.of(desk, group), threads=1) for group in groups]
        for done in as_completed(pending):
            outcome = done.result()
            if isinstance(outcome, SparsityLabError):
                raise outcome
            yield outcome
