"""TOML files: strictly, or where they can be had."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.reading.unreadable import why_unread

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_UNREAD = (OSError, UnicodeDecodeError, RecursionError, tomllib.TOMLDecodeError)


def read_toml(path: Path, *, kind: str, fix: str) -> dict[str, Any]:
    """The values of a TOML file.

    Args:
        path: which.
        kind: what it is called in messages.
        fix: what to try where it cannot be read.

    Raises:
        SparsityLabError: unreadable, not UTF-8, not TOML, or nested too deeply.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except _UNREAD as error:
        raise SparsityLabError(
            f"Cannot read the {kind} {path}", why=why_unread(path, error), fix=fix
        ) from error


def toml_or_none(path: Path) -> dict[str, Any] | None:
    """The values of a TOML file, or None where there is no such file, it cannot be read, or it is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except _UNREAD:
        return None
