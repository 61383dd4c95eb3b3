"""Ctrl-C, SIGTERM and the end of a terminal: the program ends within two seconds, whatever it is at.

The first signal is a KeyboardInterrupt in the main thread: claims are released, temporary files removed, workers
ended. Where that takes longer than `GRACE_S`, in a long call of a library or because a library swallowed the
interrupt, a thread ends the process and its workers; a second signal does so at once, and so does the first while a
module is imported. All files are written so that a process may be killed at any moment.

The process ends without the teardown of its modules. With torch that takes about a second, which frees memory that the
system frees anyway, is not part of the grace, and could not be cut short by a thread. Only where an exception ends the
process, or a debugger or a profiler looks on, does Python take its modules apart.
"""

from __future__ import annotations

import atexit
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

GRACE_S = 1.5
AT_ONCE_S = 0.25  # `timeout` and some terminals send a signal twice
STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_LOOKING_ON = frozenset(
    {"LD_PRELOAD", "CUDA_INJECTION64_PATH"}
)  # variables of profilers that write at the very end
_received: list[int] = []
_exit_codes: list[int] = []
_SHOW_CURSOR = b"\x1b[?25h"  # progress bars hide it


def run(work: Callable[[], object]) -> None:
    """Be a program that does this work, and that signals end; call it before anything is registered with `atexit`.

    Args:
        work: may end with `sys.exit`; imports what takes long.

    Raises:
        SystemExit: as `work` does, or with a signal's exit code.
    """
    atexit.register(_end)  # the first to be registered runs last
    try:
        heed()
        work()
        _exit_codes.append(0)
    except BaseException as error:  # an interrupt, and what libraries make of it
        if not _received:
            if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
                _exit_codes.append((error.code or 0) & 0xFF)
            raise
    if _received:
        sys.exit(exit_code(_received[0]))


def heed() -> None:
    """Take those signals that whoever started this process does not have ignored, as `nohup` does."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in STOPPING:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            signal.signal(number, _interrupt)
    sys.unraisablehook = _unraisable
    threading.Thread(target=_watch, args=(reading,), daemon=True).start()


def received() -> signal.Signals | None:
    """The signal that ends this process, None where there was none."""
    return signal.Signals(_received[0]) if _received else None


def exit_code(number: int) -> int:
    """What a shell says of a process that a signal ended: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + number


def message(number: int) -> str:
    """What the program says last."""
    return f"Interrupted by {signal.Signals(number).name}.\n"


def _interrupt(number: int, frame: FrameType | None) -> None:
    first = not _received
    _received.append(number)
    if first and _is_importing(frame):
        _end_now(number)
    if first:
        raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported: extension modules of C++ abort when an exception comes in between."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _watch(reading: int) -> None:
    """Read the signals' numbers; the time that is left runs from the first of them."""
    while (number := os.read(reading, 1)[0]) not in STOPPING:
        pass
    since = time.monotonic()
    while (left := since + GRACE_S - time.monotonic()) > 0:
        if not select.select([reading], [], [], left)[0]:
            break
        if os.read(reading, 1)[0] in STOPPING and time.monotonic() - since > AT_ONCE_S:
            break
    _end_now(number)


def _end() -> None:
    """End the process once everything registered to run at its end has run; Python does it where output is stuck."""
    if not _received and (not _exit_codes or _is_observed()):
        return
    logging.shutdown()
    stuck = False
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # full, closed, or none at all
            stuck = True
    if _received:
        _end_now(_received[0])
    if not stuck:
        os._exit(_exit_codes[0])


def _is_observed() -> bool:
    """Whether a debugger, a profiler or a measure of coverage may still have work after all else has ended."""
    monitoring = getattr(sys, "monitoring", None)  # since Python 3.12
    tools = () if monitoring is None else [monitoring.get_tool(number) for number in range(6)]
    hooks = (sys.gettrace(), sys.getprofile(), *tools)
    return (
        any(hook is not None for hook in hooks)
        or sys.flags.inspect > 0
        or bool(_LOOKING_ON & os.environ.keys())
    )


def _end_now(number: int) -> None:
    if "multiprocessing" in sys.modules:
        from multiprocessing import active_children

        for child in active_children():
            child.kill()
    with suppress(OSError):
        os.write(2, (_SHOW_CURSOR if os.isatty(2) else b"") + message(number).encode())
    os._exit(exit_code(number))


def _unraisable(told: Any) -> None:
    """Say nothing of an interrupt that came where Python cannot raise it; the time that is left runs all the same."""
    if not (_received and issubclass(told.exc_type, KeyboardInterrupt)):
        sys.__unraisablehook__(told)
