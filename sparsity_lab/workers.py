"""Worker processes on this machine: each with its share of the cores, none that outlives the one that started it."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process

from sparsity_lab.collecting import spare_imports
from sparsity_lab.cores import available_cores

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl


@contextmanager
def side_by_side(jobs: int, *, torch_too: bool = True) -> Iterator[ProcessPoolExecutor]:
    """A pool of `jobs` fresh processes; where the work inside fails, what is not begun by then is left.

    Args:
        jobs: processes; each takes `OMP_NUM_THREADS` threads, or its share of the cores where that is not set.
        torch_too: they will use torch, which is then told its threads.
    """
    level = logging.getLogger("sparsity_lab").level
    threads = max(1, available_cores() // jobs)
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_begin, initargs=(threads, level, torch_too)
    ) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin(threads: int, level: int, torch_too: bool) -> None:
    """One worker: its share of the cores, and no life after its parent's, whose successor does the same work."""
    spare_imports()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    parent = parent_process()
    if parent is not None and os.getppid() != parent.pid:  # it died before it could be bound to us
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and ends the workers
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    logging.getLogger("sparsity_lab").setLevel(level)
    if torch_too:
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
