"""Several runs of a ladder at once, each in a process of its own with its share of the cores.

A small model cannot keep many threads busy: one run a core trains a ladder sooner than all cores on one run.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from sparsity_lab.ladder.config.spec import RunSpec
from sparsity_lab.ladder.corpus.data import PreparedData
from sparsity_lab.ladder.train.training import TrainedRun, train_run
from sparsity_lab.machine.workers import side_by_side
from sparsity_lab.progress import Progress


def train_side_by_side(
    runs: tuple[RunSpec, ...],
    *,
    data: PreparedData,
    folder: Path,
    jobs: int,
    progress: Progress,
    log: Sequence[str] = (),
    log_folder: Path | None = None,
) -> list[TrainedRun]:
    """Train runs in `jobs` processes; in the order given, whichever ends first.

    Args:
        runs: what to train.
        data: tokenizer and token files.
        folder: holds one directory a run.
        jobs: processes, 2 or more.
        progress: told runs finished.
        log: loggers, each run's its own. log_folder: they write below it.

    Raises:
        SparsityLabError: as for `train_run`; runs that are not begun by then are left.
    """
    with progress.track("train runs", len(runs)) as advance, side_by_side(min(jobs, len(runs))) as workers:
        calls = [
            partial(train_run, run, data=data, output=folder / run.name, log=log, log_folder=log_folder)
            for run in runs
        ]
        trained: dict[int, TrainedRun] = {}
        for number, run in workers.perform(calls):
            trained[number] = run
            advance(1)
    return [trained[number] for number in range(len(runs))]
