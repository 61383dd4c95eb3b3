"""Files that are there whole or not at all, whatever is killed when.

A file is written under a temporary name in its own folder, flushed to the disk and renamed. A process killed in
between leaves the temporary one behind. Its writer holds a lock on it (`flock`), which ends with the process; so
whoever next writes into the folder removes those that nobody holds. Where a file system knows no locks they stay.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from sparsity_lab.errors import RunError

try:
    import fcntl
except ImportError:  # not on Windows: nothing is locked there, and nothing removed
    fcntl = None  # type: ignore[assignment]

DISK_FIX = "Free space, check the folder's permissions, and run the same command again"
_FIXES = {
    errno.EISDIR: "Move away the folder that lies there, and run the same command again",
    errno.ENOTDIR: "A file lies where a folder is needed: move it away, or name another folder with --output",
    errno.EEXIST: "A file lies where a folder is needed: move it away, or name another folder with --output",
    errno.EFBIG: "Raise the limit on the size of a file (`ulimit -f`), and run the same command again",
}
SUFFIX = ".partial"
READ_WRITE = 0o666  # less what the umask or the folder's access list takes away
_TEMPORARY = re.compile(r"\..*-[a-z0-9_]{8}" + re.escape(SUFFIX))
_TRIES = 3
_cleared: set[Path] = set()


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 so that it is there whole or not at all; `encoded` says how."""
    write_bytes(path, encoded(text))


def encoded(text: str) -> bytes:
    r"""Text in UTF-8; a byte of a file's name that is not UTF-8 becomes an escape such as `\udce9`, as in JSON."""
    return text.encode("utf-8", "backslashreplace")


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all.

    Raises:
        SparsityLabError: the disk is full or the folder cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.parent.absolute() not in _cleared:
            clear_left_behind(path.parent)
        for _ in range(_TRIES - 1):
            # Between the making of the temporary file and its locking somebody may have thought it left behind.
            with contextlib.suppress(FileNotFoundError):
                return _put(path, data)
        _put(path, data)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Whatever the disk refuses inside is reported as a failure to write a path.

    Raises:
        SparsityLabError: the disk is full, or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise RunError(
            f"Cannot write {path}", why=error.strerror or str(error), fix=disk_fix(error)
        ) from error


def disk_fix(error: OSError, otherwise: str = DISK_FIX) -> str:
    """What to do where a file or folder could not be written; `otherwise` where the error does not say."""
    return _FIXES.get(error.errno or 0, otherwise)


def probe(folder: Path) -> None:
    """Make a folder, prove that files can be written into it, and clear what killed processes left there.

    Raises:
        OSError: it cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clear_left_behind(folder)
    handle, name = _temporary(folder, "probe")
    try:
        _hold(handle)
        os.write(handle, b"\0")
    finally:
        os.close(handle)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def clear_left_behind(folder: Path) -> None:
    """Remove the temporary files of a folder that no process holds."""
    _cleared.add(folder.absolute())
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if _TEMPORARY.fullmatch(name):
                _remove_unheld(folder / name)


def _put(path: Path, data: bytes) -> None:
    handle, temporary = _temporary(path.parent, path.name[:40])
    try:
        with os.fdopen(handle, "wb") as stream:
            _hold(handle)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _temporary(folder: Path, name: str) -> tuple[int, Path]:
    """A new file, open for writing, that others may read as the umask and the folder let them."""
    while True:
        path = folder / f".{name}-{secrets.token_hex(4)}{SUFFIX}"
        with contextlib.suppress(FileExistsError):
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, READ_WRITE), path


def _hold(handle: int) -> None:
    """Lock a file until it is closed, where the file system knows locks."""
    if fcntl is not None:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)


def _remove_unheld(path: Path) -> None:
    if fcntl is None:
        return
    with contextlib.suppress(OSError):  # held, gone meanwhile, or no locks here
        handle = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(handle)
