"""Runs `sparsity-lab` in forks of one process that has everything imported, and kills them when told to.

A kill comes after a time, or just before the n-th operation on a file below the output directory, which the
interpreter's own audit events count: so every step of writing can be the last one. Started as a script it answers
one line of JSON on stdin with one on stdout; nothing of the package is replaced.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

OPERATIONS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.utime")


@dataclass(frozen=True)
class Ended:
    """How a run ended: killed, or with an exit code; the file operations it made and the seconds it took."""

    killed: bool
    code: int
    operations: int
    seconds: float
    said: str


class Zygote:
    """The process that forks."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def run(
        self, *words: object, output: Path, kill_after_s: float | None = None, kill_at: int | None = None
    ) -> Ended:
        """Run a command whose `--output` is `output`; kill it after a time or before a file operation."""
        asked = {"words": [*map(str, words), "--output", str(output)], "output": str(output)}
        line = json.dumps({**asked, "kill_after_s": kill_after_s, "kill_at": kill_at})
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return Ended(**json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def _serve() -> None:
    from sparsity_lab.cli.main import main

    _import_all()
    for line in sys.stdin:
        asked = json.loads(line)
        said_read, said_write = os.pipe()
        count_read, count_write = os.pipe()
        start = time.monotonic()
        child = os.fork()
        if child == 0:
            os.dup2(said_write, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            _count(asked["output"], count_write, kill_at=asked["kill_at"])
            main(asked["words"])
        os.close(said_write)
        os.close(count_write)
        timer = threading.Timer(asked["kill_after_s"] or 0, os.kill, (child, signal.SIGKILL))
        if asked["kill_after_s"] is not None:
            timer.start()
        with os.fdopen(said_read, errors="replace") as said, os.fdopen(count_read, "rb") as counted:
            text, operations = said.read(), len(counted.read())
        _, status = os.waitpid(child, 0)
        timer.cancel()
        ended = Ended(
            os.WIFSIGNALED(status),
            os.waitstatus_to_exitcode(status),
            operations,
            time.monotonic() - start,
            text,
        )
        sys.stdout.write(json.dumps(ended.__dict__) + "\n")
        sys.stdout.flush()


def _count(output: str, pipe: int, *, kill_at: int | None) -> None:
    """Count operations on files of the output; a byte down the pipe for each, for it outlives a kill."""
    seen = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event not in OPERATIONS and not (event == "open" and _writes(arguments)):
            return
        if output in str(arguments[0]):
            seen += 1
            if seen == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            os.write(pipe, b".")

    sys.addaudithook(hook)


def _writes(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


def _import_all() -> None:
    """What the commands import on their way, so that a fork begins with its work."""
    import matplotlib.pyplot  # noqa: F401
    import pandas  # noqa: F401
    import scipy.optimize  # noqa: F401
    from transformers import AutoTokenizer, LlamaForCausalLM, Trainer  # noqa: F401

    import sparsity_lab.cli.train
    import sparsity_lab.fitting.batch
    import sparsity_lab.fitting.page.write
    import sparsity_lab.fitting.plots.fits
    import sparsity_lab.fitting.plots.measured
    import sparsity_lab.ladder.ladder
    import sparsity_lab.ladder.trainer
    import sparsity_lab.measure.criteria.cett
    import sparsity_lab.measure.run  # noqa: F401


if __name__ == "__main__":
    _serve()
