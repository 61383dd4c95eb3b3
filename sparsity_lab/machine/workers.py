"""Worker processes on this machine: each with its share of the cores, none that outlives the one that started it.

Each worker hangs on a pipe of its own, through which it is given calls and sends back what they return. Signals of
a terminal (Ctrl-C, hanging up) reach the workers too, which leave them to their parent: it ends them with SIGTERM,
at which a call is broken off with its `finally` clauses, and with SIGKILL where that takes long.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import connection, get_context, parent_process
from traceback import format_exc, print_exc
from typing import Any, NoReturn, TypeVar

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.machine.cores import available_cores
from sparsity_lab.machine.environment import threads_asked

UNWIND_S = 1.0  # for a call that is broken off to release its claims and remove its temporary files
AGAIN_S = 0.05
_TO_THE_PARENT = [getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)]

Result = TypeVar("Result")


class Workers:
    """Processes that perform calls.

    Args:
        jobs: processes at most; they start with the first calls.
        torch_too: they will use torch, whose number of threads is then set.
    """

    def __init__(self, jobs: int, *, torch_too: bool = True) -> None:
        self.jobs = jobs
        threads = threads_asked() or max(1, available_cores() // jobs)
        self.settings = (threads, logging.getLogger("sparsity_lab").level, torch_too, gc.get_threshold())
        self.processes: list[Any] = []
        self.idle: list[connection.Connection] = []

    def perform(self, calls: Sequence[Callable[[], Result]]) -> Iterator[tuple[int, Result]]:
        """Place and result of each call, as they end.

        Args:
            calls: functions without arguments that can be pickled, as their results can.

        Raises:
            SparsityLabError: a worker process was killed.
            Exception: of the first call that failed; those begun by then are finished before, the others are left.
        """
        left, at = deque(enumerate(calls)), dict[connection.Connection, int]()
        failed: Exception | None = None
        while at or (left and failed is None):
            while left and failed is None and (self.idle or len(self.processes) < self.jobs):
                number, call = left.popleft()
                pipe = self.idle.pop() if self.idle else self._start()
                at[pipe] = number
                with suppress(OSError):  # it ended: the pipe's other end reports it
                    pipe.send(call)
            ready = connection.wait(list(at))
            for pipe in [one for one in at if one in ready]:
                succeeded, value = self._answer(pipe)
                number = at.pop(pipe)
                self.idle.append(pipe)
                if succeeded:
                    yield number, value
                else:
                    failed = failed or value
        if failed is not None:
            raise failed

    def close(self) -> None:
        """End all processes; a call that one is at is broken off."""
        begun = [process for process in self.processes if process.pid is not None]
        for process in begun:
            process.terminate()
        until = time.monotonic() + UNWIND_S
        for process in begun:
            process.join(max(0.0, until - time.monotonic()))
        for process in begun:
            process.kill()
            process.join()
        self.processes, self.idle = [], []

    def _start(self) -> connection.Connection:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, *self.settings), daemon=True)
        self.processes.append(process)
        with _unsignalled():
            process.start()
        theirs.close()  # theirs alone now: it closes when the process ends
        return ours

    def _answer(self, pipe: connection.Connection) -> tuple[bool, Any]:
        try:
            return pipe.recv()
        except (EOFError, OSError) as error:
            raise SparsityLabError(
                "A worker process was killed",
                why="The system may be short of memory; what was finished is kept",
                fix="Run the same command again, with fewer --jobs",
            ) from error


@contextmanager
def side_by_side(jobs: int, *, torch_too: bool = True) -> Iterator[Workers]:
    """Workers while the work inside lasts; see `Workers`. Each takes the threads that `OMP_NUM_THREADS` says, or its
    share of the cores.

    Raises:
        SparsityLabError: `OMP_NUM_THREADS` is not a number of threads.
    """
    workers = Workers(jobs, torch_too=torch_too)
    try:
        yield workers
    finally:
        workers.close()


@contextmanager
def _unsignalled() -> Iterator[None]:
    """Start processes in which the terminal's signals are blocked from their first moment."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _TO_THE_PARENT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _BrokenOff(BaseException):
    """SIGTERM in a worker."""


class _InWorkerError(Exception):
    """The traceback of an exception that was raised in a worker."""


def _work(
    pipe: connection.Connection, threads: int, level: int, torch_too: bool, garbage: tuple[int, int, int]
) -> NoReturn:
    """One worker, to its end. It is not taken apart by Python then, which needs more than a second with torch."""
    status = 1
    try:
        signal.signal(signal.SIGTERM, _break_off)
        sys.unraisablehook = _unraisable
        gc.set_threshold(*garbage)  # as seldom as the parent searches
        _begin(threads, level, torch_too)
        while True:
            _send(pipe, _outcome(pipe.recv()))
    except (_BrokenOff, EOFError, BrokenPipeError):  # the parent ends us, or has ended
        status = 128 + signal.SIGTERM
    except Exception:
        print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(status)


def _send(pipe: connection.Connection, outcome: tuple[bool, Any]) -> None:
    try:
        pipe.send(outcome)
    except OSError:
        raise
    except Exception as error:  # of pickling, which has several
        pipe.send((False, RuntimeError(f"What a worker found cannot be sent: {error}. {outcome[1]!r}")))


def _outcome(call: Callable[[], Any]) -> tuple[bool, Any]:
    try:
        return True, call()
    except SparsityLabError as error:
        return False, error
    except Exception as error:  # a fault of ours: reported with the lines that led to it
        return False, _WithCause(error, format_exc())


class _WithCause:
    """An exception on its way to another process; pickle by itself forgets its traceback."""

    def __init__(self, error: Exception, trace: str) -> None:
        self.error, self.trace = error, trace

    def __reduce__(self) -> tuple[object, ...]:
        return _caused, (self.error, self.trace)


def _caused(error: Exception, trace: str) -> Exception:
    error.__cause__ = _InWorkerError(f"\n{trace}")
    return error


def _break_off(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _BrokenOff


def _unraisable(told: Any) -> None:
    """Break off once more where it came in the midst of a `__del__`, which Python lets nothing out of."""
    if not issubclass(told.exc_type, _BrokenOff):
        sys.__unraisablehook__(told)
        return
    signal.signal(signal.SIGTERM, _break_off)
    threading.Timer(AGAIN_S, os.kill, (os.getpid(), signal.SIGTERM)).start()


def _begin(threads: int, level: int, torch_too: bool) -> None:
    """One worker's share of the cores, and no life after its parent's, whose successor does the same work."""
    parent = parent_process()
    assert parent is not None, "workers are started by `Workers`"
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    for number in _TO_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    if threads_asked() is None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    logging.getLogger("sparsity_lab").setLevel(level)
    if torch_too:
        import torch

        torch.set_num_threads(threads)


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
