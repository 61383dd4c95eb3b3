"""Standard streams whose reader may leave: `sparsity-lab measure ... 2>&1 | head -1` measures to its end.

The printed text is only for readers; the results are on disk. So when a pipe's reader or the terminal is gone, the
stream discards what it is given: the descriptor itself does, which worker processes and libraries share. The same
happens when the stream is a file on a full disk; the command then reports at its end that its output was lost.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
from typing import TextIO

_lost: dict[int, str] = {}
GONE = (errno.EPIPE, errno.EIO)  # no reader; no terminal


class Unbroken(io.FileIO):
    """The raw end of a stream that discards its input when nobody is left to read it, or it cannot be written."""

    def write(self, data: object) -> int:
        """Write, or discard what cannot be written; `lost_output` reports it if somebody would have read it."""
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            if error.errno not in GONE:
                _lost[self.fileno()] = error.strerror or str(error)
            _into_nothing(self.fileno())
            return memoryview(data).nbytes  # type: ignore[arg-type]


class NoteStream(logging.StreamHandler):
    """Log to whatever stderr is at the time: a progress bar replaces it, so that log lines do not mix with the bar."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        """Where notes go."""
        return sys.stderr


def lost_output() -> str | None:
    """Why standard output could not be written, None where it could, or where nobody was left to read it."""
    sys.stdout.flush()
    return _lost.get(1)


def settle() -> None:
    """Make stdout and stderr such streams; one that was closed goes into nothing, and its number to no other file."""
    if sys.stdin is None:
        _into_nothing(0)
    for name, number in (("stdout", 1), ("stderr", 2)):
        own: TextIO | None = getattr(sys, name)
        if own is None:
            _into_nothing(number)
        elif own is not getattr(sys, f"__{name}__") or not _is_plain(own, number):
            continue  # a test's, a notebook's
        else:
            own.flush()
        encoding, errors = (own.encoding, own.errors) if own is not None else ("utf-8", "replace")
        errors = "backslashreplace" if errors == "strict" else errors  # names of files may not be UTF-8
        raw = io.BufferedWriter(Unbroken(number, "w", closefd=False))
        made = io.TextIOWrapper(
            raw,
            encoding=encoding,
            errors=errors,
            line_buffering=own is None or own.line_buffering or number == 2,
        )
        setattr(sys, name, made)


def _is_plain(stream: TextIO, number: int) -> bool:
    try:
        return stream.fileno() == number and not stream.closed
    except (OSError, ValueError):
        return False


def _into_nothing(number: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    if nothing != number:
        os.dup2(nothing, number)
        os.close(nothing)
