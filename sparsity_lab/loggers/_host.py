"""The process of one logger: reads what `_guard.py` writes, a JSON line each, and says what went wrong.

Lines: the job; then `{series, config}` where a series begins and `{series, values, step}` for a point; `{end}` where
the run is finished. A pipe that ends without it is of a run that broke off or was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sparsity_lab import registry
from sparsity_lab.loggers import Job
from sparsity_lab.loggers._guard import END

Say = Callable[[str], None]


def main() -> None:
    """Log what comes through standard input until it ends."""
    # What the library prints is none of ours: it goes to stderr, and standard output keeps to our lines.
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        _log(lambda note: _say(channel, note=note))
    except BaseException as error:
        if isinstance(error, SystemExit) and not error.code:
            raise
        _say(channel, failed=f"{type(error).__name__}: {error}".strip())
        os._exit(1)  # a library that failed may hang on its way out


def _log(say: Say) -> None:
    lines = iter(sys.stdin.readline, "")
    order: dict[str, Any] = json.loads(next(lines))
    job = Job(order["kind"], Path(order["folder"]), order["about"], order["offline"])
    logger = registry.load("loggers", order["name"]).start(job, say=say)
    finished = False
    for line in lines:
        message = json.loads(line)
        if END in message:
            finished = True
        elif "config" in message:
            logger.begin(message["series"], message["config"])
        else:
            logger.point(message["series"], message["values"], step=message["step"])
    _end_after(order["close_s"])
    logger.close(finished=finished)


def _end_after(seconds: float) -> None:
    """End this process and what it started where closing hangs and nobody is left to see to it."""
    timer = threading.Timer(2 * seconds, lambda: os.killpg(0, signal.SIGKILL))
    timer.daemon = True
    timer.start()


def _say(channel: Any, **words: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # the run is gone
        channel.write(json.dumps(words) + "\n")
        channel.flush()
