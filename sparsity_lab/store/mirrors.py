"""An output behind a URL (s3://, gs://, sftp://, whatever fsspec knows): a folder of this machine that mirrors it.

Work goes on in the folder as it would in any other. Each record is sent as soon as it is written, and one that somebody
else sent is brought when it is asked for; tables follow at the end. What arrives damaged fails its hash, is set aside
and made anew, so a store that is no file system, or a transfer that was cut, can lose nothing. What was once in the
store and is there no more was deleted: it is removed from the folder too, and never sent again. No bucket is made.

Who is at a cell is told by an object `<key>.claim` beside the records, rewritten while the work lasts; it has run out
where an observer saw it unchanged for a while by the observer's own clock. Where a store cannot make an object only if
there is none, two drivers may both begin a cell: they then find the same record.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from sparsity_lab import extras
from sparsity_lab.errors import RunError, SparsityLabError
from sparsity_lab.machine.environment import cache_folder
from sparsity_lab.store import whole_files

RECORDS = "records"
STORED = ".stored"  # folder of empty files, one for each file known to have been in the store
# In a store with folders these have to be made; making one in a store of buckets may make a bucket of a mistyped name.
WITH_FOLDERS = frozenset(
    ("file", "local", "memory", "sftp", "ssh", "ftp", "smb", "hdfs", "arrow_hdfs", "webhdfs", "webHDFS", "dbfs")
)  # fmt: skip
WITH_BUCKETS = frozenset(
    ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "tos", "r2", "hf")
)
HEARTBEAT_S = 15.0
LIMIT_S = 90.0
LISTED_S = 1.0
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):", re.IGNORECASE)  # no drive letter
_NOT_SENT = (".damaged", whole_files.SUFFIX)
INSTALL_FIX = "Install the package it speaks of with pip, or write to a folder"
SCHEME_FIX = "Write a URL that fsspec takes, such as s3://BUCKET/FOLDER or file:///FOLDER, or a folder"
BUCKET_FIX = "Correct the bucket's name, or make the bucket: none is made here"
URL_FIX = (
    "Check the URL, its credentials and the network, and run the same command again: records written stay"
)


def url_of(output: Path) -> str | None:
    """The URL that was given as a path, which has lost a slash; None for a folder."""
    scheme = _SCHEME.fullmatch(output.parts[0]) if output.parts else None
    if scheme is None:
        return None
    name, rest = scheme[1].lower(), "/".join(output.parts[1:])
    return f"{name}:///{rest}" if name in ("file", "local") else f"{name}://{rest}"


def folder_of(url: str) -> Path:
    """Where this machine mirrors a URL: one folder a URL, below the user's cache."""
    return cache_folder() / "sparsity-lab" / "outputs" / hashlib.sha256(url.encode()).hexdigest()[:20]


class Mirror:
    """A folder of this machine and the URL it mirrors.

    Args:
        url: of the output; its scheme is one that fsspec knows and whose package is installed.

    Attributes:
        folder: of this machine.

    Raises:
        SparsityLabError: no such scheme, nothing behind it, or a package is missing.
    """

    def __init__(self, url: str) -> None:
        if not url.partition("://")[2].strip("/"):
            raise SparsityLabError(
                f"The output {url} names no place",
                fix="Write what lies behind the scheme: s3://BUCKET/FOLDER",
            )
        extras.require("fsspec", who=f"An output at {url}")
        from fsspec.core import url_to_fs

        self.url, self.folder = url, folder_of(url)
        try:
            with self._told("use"):
                self.store, self.root = url_to_fs(url)
        except SparsityLabError as error:
            fix = INSTALL_FIX if isinstance(error.__cause__, ImportError) else SCHEME_FIX
            raise SparsityLabError(error.what, why=error.why, fix=fix) from error
        self._made: list[str] = []
        self._listed: tuple[float, frozenset[str]] = (-LISTED_S, frozenset())
        self._watched: dict[str, tuple[bytes, float]] = {}

    def prepare(self) -> None:
        """Prove that files can be written there, before anything costly starts.

        Raises:
            SparsityLabError: they cannot.
        """
        name = f".probe-{uuid.uuid4().hex}"
        with self._told("write to"):
            if "file" in self.store.protocol:
                inside = [Path(self._at(RECORDS)), *Path(self._at(RECORDS)).parents]
                self._made = [str(one) for one in inside if not os.path.lexists(one)]
            self._put(f"{RECORDS}/{name}", b"\0")
            self.store.rm_file(self._at(f"{RECORDS}/{name}"))
        self.forget_deleted()

    @cached_property
    def _has_folders(self) -> bool:
        """Whether folders have to be made; in a store that is not known, not in a top one that is not there."""
        protocol = self.store.protocol
        names = {protocol} if isinstance(protocol, str) else set(protocol)
        if names & WITH_FOLDERS or names & WITH_BUCKETS:
            return bool(names & WITH_FOLDERS)
        try:
            self.store.info(self.root.strip("/").partition("/")[0])
        except FileNotFoundError:
            return False
        except Exception:  # what is written says why it cannot be
            return True
        return True

    def forget_deleted(self) -> None:
        """Remove from the folder what was once in the store and is there no more.

        Raises:
            SparsityLabError: the store cannot be read.
        """
        marks = [path for path in (self.folder / STORED).rglob("*") if path.is_file()]
        with self._told("read from"):
            self.store.invalidate_cache()
            there = set(map(str, self.store.find(self.root))) if marks else set()
            for mark in marks:
                name = mark.relative_to(self.folder / STORED).as_posix()
                if self._at(name) not in there and self._is_gone(name):
                    (self.folder / name).unlink(missing_ok=True)
                    mark.unlink(missing_ok=True)

    def _is_gone(self, name: str) -> bool:
        """Whether the store itself says so: a list may be short because something failed."""
        try:
            self.store.info(self._at(name))
        except FileNotFoundError:
            return True
        return False

    def leave_no_folders(self) -> None:
        """Remove the folders that were made for the output and are empty; only file systems have such."""
        for one in self._made:
            with suppress(OSError):
                os.rmdir(one)

    def bring(self, key: str) -> bool:
        """Bring what is there of a record and not here; whether the record was."""
        with self._told("read from"):
            there = [name for name in self._names() if name.partition(".")[0] == key]
            there = [name for name in there if name.endswith((".json", ".safetensors"))]
            for name in sorted(there, reverse=True):  # arrays before the record that speaks of them
                data = self.store.cat_file(self._at(f"{RECORDS}/{name}"))
                whole_files.write_bytes(self.folder / RECORDS / name, data)
                self._mark(f"{RECORDS}/{name}")
        return f"{key}.json" in there

    def send(self, key: str) -> None:
        """Send a record, its arrays first."""
        for suffix in (".safetensors", ".json"):
            path = self.folder / RECORDS / f"{key}{suffix}"
            if path.exists():
                self._send(path)

    def send_all(self) -> None:
        """Send every file but records that are there already."""
        with self._told("read from"):
            there = self._names(fresh=True)
        for path in sorted(self.folder.rglob("*")):
            left_out = path.name.startswith(".") or ".claim" in path.name or path.name.endswith(_NOT_SENT)
            if left_out or STORED in path.parts or not path.is_file():
                continue
            if path.parent == self.folder / RECORDS and path.name in there:
                self._mark(path.relative_to(self.folder).as_posix())
            else:
                self._send(path)

    @contextmanager
    def claimed(self, key: str) -> Iterator[bool]:
        """Whether this process holds a cell there while the work inside lasts."""
        name, own = f"{RECORDS}/{key}.claim", uuid.uuid4().hex
        with self._told("write to"):
            ours = self._claim(name, own)
        if not ours:
            yield False
            return
        done = threading.Event()
        thread = threading.Thread(target=self._beat, args=(name, own, done), name=f"claim {key}", daemon=True)
        thread.start()
        try:
            yield True
        finally:
            done.set()
            thread.join()
            with suppress(Exception):  # it runs out by itself
                self.store.rm_file(self._at(name))

    def _claim(self, name: str, own: str) -> bool:
        try:
            self.store.pipe_file(self._at(name), self._sign(own, 0), mode="create")
        except FileExistsError:
            if not self._run_out(name):
                return False
            self._put(name, self._sign(own, 0))
        return self._holder(name) == own

    def _run_out(self, name: str) -> bool:
        """Whether a claim has been seen unchanged for the limit by our own clock; a lost one has."""
        try:
            content = self.store.cat_file(self._at(name))
        except FileNotFoundError:
            return True
        now = time.monotonic()
        before, since = self._watched.get(name, (content, now))
        self._watched[name] = (content, since if before == content else now)
        return now - self._watched[name][1] >= LIMIT_S

    def _holder(self, name: str) -> str | None:
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            return str(json.loads(self.store.cat_file(self._at(name)))["claim"])
        return None

    def _beat(self, name: str, own: str, done: threading.Event) -> None:
        beat = 0
        while not done.wait(HEARTBEAT_S):
            beat += 1
            with suppress(Exception):
                self._put(name, self._sign(own, beat))

    @staticmethod
    def _sign(own: str, beat: int) -> bytes:
        told = {"claim": own, "host": socket.gethostname(), "process": os.getpid(), "beat": beat}
        return json.dumps(told).encode()

    def _names(self, *, fresh: bool = False) -> frozenset[str]:
        """Names of the objects beside the records; asked for once a second at most."""
        since, names = self._listed
        if fresh or time.monotonic() - since >= LISTED_S:
            self.store.invalidate_cache()
            with suppress(FileNotFoundError):
                found = self.store.ls(self._at(RECORDS), detail=False)
                names = frozenset(str(path).rstrip("/").rpartition("/")[2] for path in found)
            self._listed = (time.monotonic(), names)
        return names

    def _send(self, path: Path) -> None:
        name = path.relative_to(self.folder).as_posix()
        with self._told("write to"):
            self._put(name, path.read_bytes())
        self._mark(name)

    def _mark(self, name: str) -> None:
        """Note that a file is in the store, or was."""
        whole_files.write_bytes(self.folder / STORED / name, b"")

    def _put(self, name: str, data: bytes) -> None:
        if self._has_folders:
            self.store.makedirs(self._at(name).rpartition("/")[0], exist_ok=True)
        self.store.pipe_file(self._at(name), data)

    def _at(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"

    @contextmanager
    def _told(self, verb: str) -> Iterator[None]:
        """Whatever a store raises, as one sentence."""
        try:
            yield
        except SparsityLabError:
            raise
        except Exception as error:
            why: Any = str(error).strip().split("\n")[0] or type(error).__name__
            no_bucket = (
                isinstance(error, FileNotFoundError) and hasattr(self, "store") and not self._has_folders
            )
            fix = BUCKET_FIX if no_bucket else URL_FIX
            raise RunError(f"Cannot {verb} {self.url}", why=why[:400], fix=fix) from error


@contextmanager
def mirrored(output: Path) -> Iterator[tuple[Path, Mirror | None]]:
    """The folder to work in, and the mirror where the output is a URL; what was written is sent at the end.

    Raises:
        SparsityLabError: a URL that cannot be used.
    """
    url = url_of(output)
    if url is None:
        yield output, None
        return
    if url.startswith("memory:"):
        raise SparsityLabError(
            f"The output {url} would be gone with this process",
            fix="Write to a folder, or behind another URL",
        )
    mirror = Mirror(url)
    mirror.prepare()
    try:
        yield mirror.folder, mirror
    except BaseException:
        with suppress(SparsityLabError):  # what ended the work is told, not this
            mirror.send_all()
        mirror.leave_no_folders()
        raise
    mirror.send_all()
