"""JSON of a user's, strictly: no key twice, no nesting without end, no NaN where a program writes none."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.reading.unreadable import why_unread


def read_json(path: Path, *, kind: str, fix: str, finite: bool = True) -> Any:
    """The value of a JSON file.

    Args:
        path: which.
        kind: what it is called in messages.
        fix: what to try where it cannot be read.
        finite: refuse NaN, Infinity and -Infinity, which Python writes though JSON does not have them.

    Raises:
        SparsityLabError: unreadable, not UTF-8, no JSON, a key twice, NaN or infinity, or nested too deeply.
    """
    try:
        return json.loads(
            path.read_text(encoding="utf-8-sig"),
            object_pairs_hook=_once,
            parse_constant=_no_constant if finite else float,
            parse_float=_finite if finite else float,
        )
    except (OSError, ValueError, RecursionError) as error:
        raise SparsityLabError(
            f"Cannot read the {kind} {path}", why=why_unread(path, error), fix=fix
        ) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"The key {next(key for key in keys if keys.count(key) > 1)!r} stands twice")
    return found


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:40]} is too large a number")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
