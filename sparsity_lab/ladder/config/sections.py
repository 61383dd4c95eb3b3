"""Turns a section of a config into a dataclass: unknown keys, wrong types and ranges are refused by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_args, get_origin

from sparsity_lab import ranges, registry
from sparsity_lab.errors import SparsityLabError

Section = TypeVar("Section")
LADDER = "ladder"  # whose ranges these are
_PLACES = {"": "the config", "runs": "an entry of runs"}
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
_WRITTEN = {
    int: "Write digits alone, as 128 or 4e6",
    float: "Write digits with a decimal point, as 0.03 or 3e-3",
    bool: "Write one of the two, without quotes",
    str: "Write one, in quotes where it looks like a number",
}


class MistakenKeyError(SparsityLabError):
    """A mistake about one key of a config, which is called by its section and its name: `training.tokens`."""

    def __init__(self, what: str, *, key: str, why: str = "", fix: str = "") -> None:
        self.key = key
        super().__init__(what, why=why, fix=fix)


def mapping(value: object, *, where: str) -> dict[str, Any]:
    """The value as a mapping with text keys.

    Raises:
        SparsityLabError: it is something else.
    """
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise MistakenKeyError(
            f"`{where}` must be a mapping of keys to values, not {value!r}"[:300],
            key=where,
            fix="Write it as indented lines of `key: value`, each key a word",
        )
    return dict(value)


def check_keys(section: Mapping[str, Any], known: Sequence[str], *, name: str = "") -> None:
    """Refuse the first unknown key of a section, naming the nearest known one; without a name, of the whole config.

    Raises:
        SparsityLabError: a key is unknown.
    """
    for key in section:
        if key not in known:
            place = _PLACES.get(name, f"`{name}`")
            unknown = registry.unknown(key, kind=f"key of {place}", known=sorted(known))
            raise MistakenKeyError(unknown.what, fix=unknown.fix, key=f"{name}.{key}".lstrip("."))


def build(kind: type[Section], section: object, *, where: str) -> Section:
    """A dataclass out of a section; the range of a number goes by its key.

    Raises:
        SparsityLabError: an unknown or missing key, or a value of the wrong type or outside its range.
    """
    values, hints = mapping(section, where=where), ranges.hints(kind)
    check_keys(values, list(hints), name=where)
    required = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]  # type: ignore[arg-type]
    if missing := [name for name in required if name not in values]:
        raise MistakenKeyError(
            f"`{where}` lacks {', '.join(missing)}",
            key=where,
            fix=f"Add the line `{missing[0]}: ...` under {where}",
        )
    return kind(**{key: coerce(value, hints[key], f"{where}.{key}") for key, value in values.items()})


def coerce(value: object, hint: Any, where: str) -> Any:
    """The value as the annotated type, in its range; `4e6` and `3e-3`, which YAML reads as words, are numbers.

    Raises:
        SparsityLabError: it is of another type, or outside the range.
    """
    if value is None and ranges.takes_none(hint):
        return None
    kind = ranges.bare(hint)
    if get_origin(kind) is tuple:
        items = value if isinstance(value, (list, tuple)) else [value]
        return tuple(coerce(item, get_args(kind)[0], where) for item in items)
    allowed = ranges.range_of(where.rpartition(".")[2], command=LADDER)
    read = _scalar(value, kind)
    if read is None:
        raise outside(where, value, kind, allowed, fix=_WRITTEN[kind])
    if allowed is not None and read not in allowed:
        raise outside(where, value, kind, allowed)
    return read


def outside(
    where: str, value: object, kind: type, allowed: ranges.Range | None, *, fix: str = ""
) -> MistakenKeyError:
    """The refusal of a value that is not what its key takes."""
    must = f"It must be {_WORDS[kind]}" + (f" {allowed}" if allowed is not None else "")
    section, _, key = where.rpartition(".")
    under = f" under {section}" if section else ""
    return MistakenKeyError(
        f"`{where}` is {value!r}"[:200], key=where, why=must, fix=fix or f"Correct `{key}`{under}"
    )


def _scalar(value: object, kind: type) -> Any:
    if kind in (bool, str):
        return value if isinstance(value, kind) else None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = int(value) if kind is int and isinstance(value, str) and value.isdecimal() else float(value)
    except (ValueError, OverflowError):
        return float("inf") if isinstance(value, int) else None
    if kind is float or not math.isfinite(number):
        return number
    whole = value if isinstance(value, int) else number
    return int(whole) if number == int(number) else None
