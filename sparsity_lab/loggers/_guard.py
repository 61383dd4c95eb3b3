"""One logger in its own process: it gets points and is watched; a failure is reported once, and no wait for it is long.

The libraries write in threads of their own, which is not enough: they may hang while they start or close, end the whole
process, or die with a run that is killed before its points are written. Only a process of its own keeps these from
the run. It is started as a program, because one of multiprocessing's would import the user's own script once more.

Nothing here raises. Points go into a queue that a thread empties into the process's pipe, so that a logger that
hangs holds up that thread alone; at the end it is given some seconds and then killed with all it started.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from queue import SimpleQueue
from typing import IO, Any

from sparsity_lab.loggers._job import Job

logger = logging.getLogger(__name__)

CLOSE_S = 30.0  # an upload may take some; what is left then lies in the logger's files
HOST = "import sys; sys.path[:] = sys.argv[1:]; from sparsity_lab.loggers._host import main; main()"
END = "end"
NOTED: set[str] = set()  # the runs of a ladder have one logger each, which all say the same


class Guard:
    """A logger that cannot fail the run.

    Args:
        name: its id.
        job: the run, for the logger to know.
    """

    def __init__(self, name: str, job: Job) -> None:
        self.name, self.job, self.told, self.ending = name, job, False, False
        self.queue: SimpleQueue[str | None] = SimpleQueue()
        self.process: subprocess.Popen[str] | None = None
        self.said: IO[bytes] | None = None
        self.threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the process, where it is not yet."""
        if self.process is not None or self.told:
            return
        try:
            self.said = tempfile.TemporaryFile()  # noqa: SIM115 - the process writes to it
            self.process = _started(self.said)
            self.threads = [threading.Thread(target=work, daemon=True) for work in (self._feed, self._listen)]
            for thread in self.threads:
                thread.start()
        except Exception as error:
            self._tell(f"{type(error).__name__}: {error}")
        self.send({"name": self.name, "kind": self.job.kind, "folder": str(self.job.folder.absolute()),
                   "about": dict(self.job.about), "offline": self.job.offline, "close_s": CLOSE_S})  # fmt: skip

    def send(self, message: Mapping[str, Any]) -> None:
        """Put a message into the queue, the process started with the first; nothing where the logger is gone."""
        self.start()
        if not self.told:
            try:
                self.queue.put(json.dumps(message, default=str))
            except (TypeError, ValueError, RecursionError) as error:
                self._tell(str(error))

    def end(self, *, finished: bool) -> None:
        """No more points."""
        self.ending = True
        if self.process is not None and finished:
            self.send({END: True})
        self.queue.put(None)

    def wait(self) -> None:
        """Let it close, for `CLOSE_S`, then kill it and whatever it started."""
        if self.process is None:
            return
        try:
            self.process.wait(CLOSE_S)
            for thread in self.threads:
                thread.join(1.0)  # its last words
        except subprocess.TimeoutExpired:
            self._tell(f"It did not close within {CLOSE_S:g} seconds; its files stay")
        finally:
            _kill(self.process)

    def _feed(self) -> None:
        """The queue into the pipe; the end of the pipe is the end of the run."""
        assert self.process is not None, "started"
        assert self.process.stdin is not None, "it is a pipe"
        with (
            contextlib.suppress(OSError, ValueError),
            self.process.stdin as pipe,
        ):  # `_listen` says why it is gone
            while (line := self.queue.get()) is not None:
                pipe.write(line + "\n")
                pipe.flush()

    def _listen(self) -> None:
        """What the process says, and how it ends."""
        assert self.process is not None, "started"
        assert self.process.stdout is not None, "it is a pipe"
        with contextlib.suppress(OSError, ValueError):
            for line in self.process.stdout:
                said = json.loads(line)
                if "failed" in said:
                    self._tell(said["failed"])
                elif said["note"] not in NOTED:
                    NOTED.add(said["note"])
                    logger.info("%s: %s", self.name, said["note"])
        with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
            code = self.process.wait(CLOSE_S)
            if code and not (self.ending and code == -signal.SIGKILL):
                self._tell(f"It ended with exit status {code}. {self._last_words()}")
        if not self.ending:
            self._tell("It ended before the run did")

    def _last_words(self) -> str:
        assert self.said is not None, "opened before the process was started"
        with contextlib.suppress(OSError, ValueError), self.said:
            self.said.seek(0)
            lines = self.said.read().decode(errors="replace").split("\n")
            return next((line.strip() for line in reversed(lines) if line.strip()), "")
        return ""

    def _tell(self, why: str) -> None:
        if not self.told:
            self.told = True
            said = " ".join(why.split())  # libraries say some things in many lines
            logger.warning("Logging to %s failed and is left out, the run goes on. %s", self.name, said)


def _started(said: Any) -> subprocess.Popen[str]:
    """The process: the same Python with the same paths; a session of its own, so that Ctrl-C leaves it its end."""
    return subprocess.Popen(
        [sys.executable, "-c", HOST, *sys.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said,
        text=True, encoding="utf-8", start_new_session=True,
    )  # fmt: skip


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1.0)
