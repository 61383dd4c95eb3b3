"""Who measures a cell: a claim next to the place of its record, so that two drivers on one output share the work.

A claim is a file `<key>.claim-<n>`, made with O_EXCL, which exactly one process can do, and touched every few
seconds while the work lasts. It has run out where its process is gone (seen from the same machine), or where an
observer saw it unchanged for a while by the observer's own steady clock; then whoever makes the file of the next n
holds the cell. No two clocks are compared, so one that jumps, or differs from the file server's, does no harm.

No lock of the system would do, nor a library on top of one: shared file systems are often mounted without locks, or
with locks that other machines do not see. Lock files with a lifetime, the other kind of library, compare clocks.

A claim saves work, it does not guard numbers: records are written whole, and whoever measures a cell finds the same.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sparsity_lab.errors import RunError
from sparsity_lab.reading.json_file import json_or_none
from sparsity_lab.store.whole_files import DISK_FIX

HEARTBEAT_S = 5.0
LIMIT_S = 60.0


@dataclass(frozen=True)
class Sign:
    """What an observer sees of a claim; a heartbeat changes it.

    Attributes:
        name: of the file.
        inode, mtime_ns: of the file, as its file system says.
    """

    name: str
    inode: int
    mtime_ns: int


class ClaimWatch:
    """Finds which claims have expired, by watching them.

    Args:
        limit_s: how long a claim may go without a heartbeat.
    """

    def __init__(self, limit_s: float | None = None) -> None:
        self.limit_s = LIMIT_S if limit_s is None else limit_s
        self._seen: dict[str, tuple[Sign, float]] = {}

    def expired(self, folder: Path, key: str) -> frozenset[Sign] | None:
        """The claims on a cell that have run out; None while somebody holds it."""
        signs = _signs(folder, key)
        over = [self._still(sign) or _gone(folder / sign.name) for sign in signs]
        return frozenset(signs) if all(over) else None

    def _still(self, sign: Sign) -> bool:
        now = time.monotonic()
        before, since = self._seen.get(sign.name, (sign, now))
        self._seen[sign.name] = (sign, since if before == sign else now)
        return now - self._seen[sign.name][1] >= self.limit_s


@contextmanager
def claimed(folder: Path, key: str, *, expired: frozenset[Sign] = frozenset()) -> Iterator[bool]:
    """Whether this process holds the cell while the work inside lasts.

    Args:
        folder: of the records.
        key: content key of the cell.
        expired: claims that a `ClaimWatch` found to have run out.

    Raises:
        SparsityLabError: the folder cannot be written.
    """
    claim = None
    try:
        claim = _take(folder, key, expired)
        if claim is None:
            yield False
        else:
            with _beating(claim):
                yield True
    finally:
        if claim is not None:
            _release_whole(claim, key)


def sweep(folder: Path, key: str) -> None:
    """Remove what a killed process left of its claim on a cell that has its record by now."""
    left = _signs(folder, key)
    if left and all(_gone(folder / sign.name) for sign in left):
        _release(folder / left[-1].name, key)


def _signs(folder: Path, key: str) -> list[Sign]:
    """The claims on a cell, the last one made at the end: n goes up from 0 without a gap."""
    signs: list[Sign] = []
    while (sign := _look(folder / _name(key, len(signs)))) is not None:
        signs.append(sign)
    return signs


def _look(path: Path) -> Sign | None:
    """The file as it is now; opened, because a network file system answers a bare stat from its cache."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
    except OSError:
        return None
    return Sign(path.name, status.st_ino, status.st_mtime_ns)


def _name(key: str, number: int) -> str:
    return f"{key}.claim-{number}"


def _take(folder: Path, key: str, expired: frozenset[Sign]) -> Path | None:
    """The claim made, or None where somebody else holds the cell."""
    before = _signs(folder, key)
    if any(sign not in expired and not _gone(folder / sign.name) for sign in before):
        return None
    claim = folder / _name(key, len(before))
    process = os.getpid()
    holder = {"host": socket.gethostname(), "place": _place(), "process": process, "begun": _begun(process)}
    ours = False
    try:
        with claim.open("x", encoding="utf-8") as file:
            ours = True
            json.dump(holder, file)
    except FileExistsError:
        return None
    except BaseException as error:  # an interrupt among them
        if ours:
            with suppress(OSError):
                claim.unlink()
        if not isinstance(error, OSError):
            raise
        raise RunError(f"Cannot write {claim}", why=error.strerror or str(error), fix=DISK_FIX) from error
    # Between the look and the making, a holder thought gone may have let go and another have begun at 0.
    if [sign.name for sign in _signs(folder, key)] != [*(sign.name for sign in before), claim.name]:
        claim.unlink(missing_ok=True)
        return None
    return claim


def _release_whole(claim: Path, key: str) -> None:
    """Release a claim, once more where an interrupt comes in between."""
    try:
        _release(claim, key)
    except BaseException:
        _release(claim, key)
        raise


def _release(claim: Path, key: str) -> None:
    """Remove a claim and those before it; if there is a later one, its holder removes them all.

    It first replaces the claim at 0, and that one is removed last: so a kill at any moment leaves claims without a gap.
    A claim after a gap would go unseen, and nobody could claim the cell.
    """
    folder, number = claim.parent, int(claim.name.rpartition("-")[2])
    if _look(folder / _name(key, number + 1)) is None:
        with suppress(OSError):
            os.replace(claim, folder / _name(key, 0))
        for earlier in reversed(range(number or 1)):
            with suppress(OSError):
                (folder / _name(key, earlier)).unlink()


@contextmanager
def _beating(path: Path) -> Iterator[None]:
    """Touch a file every few seconds, with its file system's own time."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(HEARTBEAT_S):
            with suppress(OSError):
                os.utime(path)

    thread = threading.Thread(target=beat, name=f"claim {path.name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _gone(path: Path) -> bool:
    """Whether a claim's process is known to have ended: one of this machine that runs no more."""
    try:
        holder = json_or_none(path)
        place, process, begun = holder["place"], int(holder["process"]), holder["begun"]
    except (ValueError, KeyError, TypeError):
        return False
    return place is not None and place == _place() and _begun(process) != begun


@cache
def _place() -> str | None:
    """This boot of this machine and the space its process ids hold in; None where the system does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _begun(process: int) -> str | None:
    """When a process was started, in ticks since boot; None where there is none or it has ended."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *rest = status.rpartition(")")[2].split()  # the name before it may hold spaces
    return None if state in "ZX" else rest[18]
