"""Several runs of a ladder at once, each in a process of its own with its share of the cores.

A small model cannot keep many threads busy: one run a core trains a ladder sooner than all cores on one run.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from sparsity_lab.ladder.cores import available_cores
from sparsity_lab.ladder.data import PreparedData
from sparsity_lab.ladder.spec import RunSpec
from sparsity_lab.ladder.training import TrainedRun, train_run
from sparsity_lab.progress import Progress

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl


def train_side_by_side(
    runs: tuple[RunSpec, ...], *, data: PreparedData, folder: Path, jobs: int, progress: Progress
) -> list[TrainedRun]:
    """Train runs in `jobs` processes; in the order given, whichever ends first.

    Args:
        runs: what to train.
        data: tokenizer and token files.
        folder: holds one directory a run.
        jobs: processes, 2 or more.
        progress: told runs finished.

    Raises:
        SparsityLabError: as for `train_run`; runs that are not begun by then are left.
    """
    threads = max(1, available_cores() // jobs)
    with (
        progress.track("train runs", len(runs)) as advance,
        ProcessPoolExecutor(
            min(jobs, len(runs)), mp_context=get_context("spawn"), initializer=_begin, initargs=(threads,)
        ) as pool,
    ):
        running = {pool.submit(train_run, run, data=data, output=folder / run.name): run for run in runs}
        try:
            for done in as_completed(running):
                done.result()
                advance(1)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [job.result() for job in running]


def _begin(threads: int) -> None:
    """One worker: its share of the cores, and no life after its parent's, whose successor trains the same runs."""
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and ends the workers
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
