"""Files that cannot be read, and why: what a tool or a copy made of them is named where it can be recognized."""

from __future__ import annotations

import json
import os
from pathlib import Path

from sparsity_lab.reading.texts.text_file import other_kind

_LOOKED_AT = 1 << 22  # bytes of a file that are searched for a reason
_BEGINNING = 512
_STAND_INS = (
    (b"version https://git-lfs", "It is a pointer of Git LFS; `git lfs pull` fetches the file itself"),
    (b"<!doctype html", "It is an HTML page"),
    (b"<html", "It is an HTML page"),
)
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def why_unread(path: Path, error: Exception) -> str:
    """Why a file could not be read: a conflict of git, a pointer, another format; else what the error says."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(_LOOKED_AT)
    except OSError:
        return str(error)
    if not raw.strip(b"\0 \r\n\t"):
        return "It is empty"
    if why := _other_format(raw):
        return why
    if why := conflict(raw):
        return why
    if isinstance(error, RecursionError):
        return "It is nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return (
            f"It is no longer JSON at line {error.lineno}, column {error.colno}"
            if error.pos
            else "It is not JSON"
        )
    if isinstance(error, (OSError, ValueError)):
        return str(error)
    return f"It is in another shape: {type(error).__name__}: {error}"


def instead(path: Path) -> str:
    """What lies in place of a binary file: a link to nowhere, a pointer of Git LFS, a page; empty if nothing such."""
    if path.is_symlink() and not path.exists():
        return f"It is a link to {os.readlink(path)}, which is not there"
    try:
        with path.open("rb") as stream:
            return _other_format(stream.read(_BEGINNING))
    except OSError as error:
        return error.strerror or str(error)


def _other_format(raw: bytes) -> str:
    if raw.startswith(_UTF_16):
        return "It is UTF-16, not UTF-8"
    kind = other_kind(raw[:_BEGINNING], name="", table=False)
    return stand_in(raw) if kind is None else f"It is {kind[0]}"


def stand_in(raw: bytes) -> str:
    """What lies in a file's place, by its first bytes: a pointer of Git LFS, an HTML page; empty if nothing such."""
    begins = raw[:_BEGINNING].lstrip().lower()
    return next((why for beginning, why in _STAND_INS if begins.startswith(beginning)), "")


def conflict(raw: bytes) -> str:
    """Where a file has a conflict of git that nobody has resolved; empty where it has none."""
    lines = raw.splitlines()
    if not any(line.startswith(b">>>>>>> ") for line in lines):
        return ""
    first = next((number for number, line in enumerate(lines, 1) if line.startswith(b"<<<<<<< ")), None)
    return f"Line {first} begins a conflict of git that nobody has resolved" if first else ""
