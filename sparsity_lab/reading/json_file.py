"""JSON files, each read in the way its writer asks for.

Of a user's or of this program: `read_json` and `read_object`, strictly: no key twice, no nesting without end, no NaN
where a program writes none. Of another program's, line by line: `read_json_lines`. What may as well be missing, such
as a note beside a file: `json_or_none`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.reading.unreadable import why_unread

Shape = dict[str, Any]  # key -> a type, or a Shape
_UNREAD = (OSError, ValueError, RecursionError)


def read_json(path: Path, *, fix: str, kind: str = "", finite: bool = True) -> Any:
    """The value of a JSON file.

    Args:
        path: which.
        fix: what to try where it cannot be read.
        kind: what it is called in messages.
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
    except _UNREAD as error:
        name = f"the {kind} {path}" if kind else str(path)
        raise SparsityLabError(f"Cannot read {name}", why=why_unread(path, error), fix=fix) from error


def read_object(path: Path, *, fix: str, shape: Shape | None = None) -> dict[str, Any]:
    """The JSON object that this program or transformers wrote into a file; NaN and infinity are let pass.

    Args:
        path: of the file. fix: what to try where it is not one.
        shape: type of each key that it must have, or the shape of an object in it.

    Raises:
        SparsityLabError: as `read_json`; it is not a JSON object, or a key is missing or of another type.
    """
    value = read_json(path, fix=fix, finite=False)
    if not isinstance(value, dict):
        raise SparsityLabError(f"Cannot read {path}", why="It is not a JSON object", fix=fix)
    if key := _unlike(value, shape or {}):
        raise SparsityLabError(f"{path} is damaged", why=f"It has no usable {key!r}", fix=fix)
    return value


def read_json_lines(path: Path, *, kind: str, fix: str) -> Iterator[tuple[str, Any]]:
    """The values of a file of JSON lines, each with where it is; empty lines are left out, NaN is let pass.

    Raises:
        SparsityLabError: unreadable, not UTF-8, or a line that is not JSON; names the line.
    """
    number = 0
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield f"{path}, line {number}", json.loads(line)
    except _UNREAD as error:
        place = f", line {number}" if number else ""
        raise SparsityLabError(f"Cannot read the {kind} {path}{place}", why=str(error), fix=fix) from error


def json_or_none(path: Path) -> Any:
    """The value of a JSON file, or None where there is no such file, it cannot be read, or it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except _UNREAD:
        return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"The key {next(key for key in keys if keys.count(key) > 1)!r} is given twice")
    return mapping


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:40]} is too large a number")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _unlike(value: dict[str, Any], shape: Shape) -> str:
    """The first key, with dots, that is missing or not of its type; empty where there is none."""
    for key, kind in shape.items():
        inner = value.get(key)
        if isinstance(kind, dict):
            below = _unlike(inner, kind) if isinstance(inner, dict) else None
            if below != "":
                return f"{key}.{below}" if below else key
        elif not isinstance(inner, kind) or (isinstance(inner, bool) and kind is not bool):
            return key
    return ""
