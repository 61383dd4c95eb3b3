"""One process at a time writes a folder of results, where two would replace each other's files.

The writer holds a lock (`flock`) on the file `.writing` in the folder, which says who it is. The lock ends with the
process, however it ends. Where a file system knows no locks, nobody is kept out.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.store.records import prepare_output
from sparsity_lab.store.whole_files import READ_WRITE

try:
    import fcntl
except ImportError:  # not on Windows: nobody is kept out there
    fcntl = None  # type: ignore[assignment]

NAME = ".writing"


@contextlib.contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Make an output folder, prove that it can be written, and keep other processes out of it for the work inside.

    Raises:
        SparsityLabError: it cannot be written, or another process writes to it.
    """
    prepare_output(folder)
    path = folder / NAME
    handle = _locked(path)
    try:
        yield
    finally:
        if handle is not None:
            with contextlib.suppress(OSError):
                path.unlink()
            os.close(handle)


def _locked(path: Path) -> int | None:
    """The locked file, signed; None where there are no locks.

    Raises:
        SparsityLabError: another process has locked it.
    """
    while fcntl is not None:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, READ_WRITE)
        except OSError:  # somebody else's, left behind
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with os.fdopen(handle, encoding="utf-8", errors="replace") as stream:
                raise _taken(path.parent, stream.read(1000)) from None
        except OSError:
            os.close(handle)
            return None
        if _is_still(path, handle):
            os.truncate(handle, 0)
            os.write(handle, json.dumps({"host": socket.gethostname(), "process": os.getpid()}).encode())
            return handle
        os.close(handle)  # its holder ended and removed it meanwhile
    return None


def _is_still(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except OSError:
        return False


def _taken(folder: Path, said: str) -> SparsityLabError:
    try:
        told = json.loads(said)
        who = f"It is process {told['process']} on {told['host']}"
    except (ValueError, KeyError, TypeError):  # it has not signed yet
        who = ""
    return SparsityLabError(
        f"Another process is writing to {folder}",
        why=who,
        fix="Wait until it has ended, or name another folder with --output",
    )
