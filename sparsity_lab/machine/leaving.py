"""The program from its first moment to its end: signals are heeded, and all that is buffered is written.

Once torch and transformers are imported, Python takes their modules apart for more than a second before it ends.
Nobody waits for that memory: the process ends without, and the system takes it back whole.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from types import NoneType
from typing import NoReturn

from sparsity_lab.machine import signals
from sparsity_lab.machine.collecting import spare_imports

_code: list[int] = []


def run(work: Callable[[], object]) -> NoReturn:
    """Be a program that does this work; call it before anything else is registered to run at the end.

    Args:
        work: may end with `sys.exit`; imports what takes long.
    """
    atexit.register(_end)
    code: object = None
    try:
        signals.heed()
        spare_imports()
        work()
    except SystemExit as end:
        code = end.code
    except BaseException:  # an interrupt, and what libraries make of it
        if signals.received() is None:
            raise
    if (number := signals.received()) is not None:
        sys.stderr.write(signals.message(number))
        code = signals.exit_code(number)
    leave(code)


def leave(code: object) -> NoReturn:
    """End the process with an exit code as `sys.exit` takes it.

    Threads that still work are waited for, and what was registered to run at the end runs. Where a stream cannot be
    flushed, Python ends in its own way.
    """
    if isinstance(code, (int, NoneType)):
        _code[:] = [(code or 0) & 0xFF]
    sys.exit(code)  # type: ignore[arg-type]


def _end() -> None:
    """Run last of all that is registered: it was registered first."""
    if not _code:
        return
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):
        return
    os._exit(_code[0])
