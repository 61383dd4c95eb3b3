"""TensorBoard: one folder of event files a series, `OUTPUT/tensorboard/SERIES/`; the step is the trained tokens.

Event files are only ever added. Where a run is taken up again, the new file begins by taking back what the older ones
of its series hold (TensorBoard's own mark of a restart), and holds all points itself.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from sparsity_lab.loggers import Job
from sparsity_lab.loggers._host import Say
from sparsity_lab.store.file_names import file_name

LIBRARY = "tensorboard"
CONFIG_TAG = "config"


def start(job: Job, *, say: Say) -> TensorBoard:
    """A writer of event files under the run's output."""
    return TensorBoard(job, say=say)


class TensorBoard:
    """Writes event files, each point flushed as it comes."""

    def __init__(self, job: Job, *, say: Say) -> None:
        self.folder = job.folder / "tensorboard"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.files: dict[str, Any] = {}
        say(f"points go to {self.folder}; see them with: tensorboard --logdir {self.folder}")

    def begin(self, series: str, config: Mapping[str, Any]) -> None:
        """Open the series' file, take back what older ones say, and write its config as text."""
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.plugins.text.summary_v2 import text_pb
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder = self.folder / file_name(series)
        folder.mkdir(exist_ok=True)
        name = f"events.out.tfevents.{time.time():017.6f}.{socket.gethostname()}.{os.getpid()}"
        self.files[series] = RecordWriter((folder / name).open("wb"))
        self._write(series, file_version="brain.Event:2")
        self._write(series, session_log=SessionLog(status=SessionLog.START), step=0)
        self._write(series, summary=text_pb(CONFIG_TAG, _table(config)), step=0)

    def point(self, series: str, values: Mapping[str, float], *, step: int) -> None:
        """One scalar a value, in float32 as TensorBoard keeps them."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(series, summary=Summary(value=scalars), step=step)

    def close(self, *, finished: bool) -> None:
        """Close all files."""
        for file in self.files.values():
            file.close()

    def _write(self, series: str, **what: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self.files[series].write(Event(wall_time=time.time(), **what).SerializeToString())
        self.files[series].flush()


def _table(config: Mapping[str, Any]) -> str:
    """A Markdown table, as TensorBoard shows texts."""
    rows = (f"| {key} | {str(value).replace('|', '&#124;')} |" for key, value in config.items())
    return "\n".join(["| | |", "|---|---|", *rows])
