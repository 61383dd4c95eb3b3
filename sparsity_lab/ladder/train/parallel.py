"""Several runs of a ladder at once, each in a process of its own with its share of the cores.

A small model cannot keep many threads busy: one run a core trains a ladder sooner than all cores on one run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sparsity_lab.ladder.train.training import TrainedRun
from sparsity_lab.machine.workers import side_by_side
from sparsity_lab.progress import Progress


def train_side_by_side(
    calls: Sequence[Callable[[], TrainedRun]], *, jobs: int, progress: Progress
) -> list[TrainedRun]:
    """Train runs in `jobs` processes; in the order given, whichever ends first.

    Args:
        calls: one `train_run` each, without progress of its own.
        jobs: processes, 2 or more.
        progress: told runs finished.

    Raises:
        SparsityLabError: as for `train_run`; runs that are not begun by then are left.
    """
    with progress.track("train runs", len(calls)) as advance, side_by_side(min(jobs, len(calls))) as workers:
        trained: dict[int, TrainedRun] = {}
        for number, run in workers.perform(calls):
            trained[number] = run
            advance(1)
    return [trained[number] for number in range(len(calls))]
