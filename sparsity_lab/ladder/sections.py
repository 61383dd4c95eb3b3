"""Turns a section of a config into a dataclass: unknown keys and wrong types are refused by name."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError

Section = TypeVar("Section")
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
_WRITTEN = {
    int: "Write digits alone, as 128 or 4e6",
    float: "Write digits with a decimal point, as 0.03 or 3e-3",
    bool: "Write one of the two, without quotes",
    str: "Write one, in quotes where it looks like a number",
}


def mapping(value: object, *, where: str) -> dict[str, Any]:
    """The value as a mapping with text keys.

    Raises:
        SparsityLabError: it is something else.
    """
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise SparsityLabError(
            f"`{where}` must be a mapping of keys to values, not {value!r}"[:300],
            fix="Write it as indented lines of `key: value`, each key a word",
        )
    return dict(value)


def check_keys(section: Mapping[str, Any], known: Sequence[str], *, where: str) -> None:
    """Refuse the first unknown key, naming the nearest known one.

    Raises:
        SparsityLabError: a key is unknown.
    """
    for key in section:
        if key not in known:
            raise registry.unknown(key, kind=f"key of {where}", known=sorted(known))


def build(kind: type[Section], section: object, *, where: str) -> Section:
    """A dataclass out of a section.

    Raises:
        SparsityLabError: an unknown or missing key, or a value of the wrong type.
    """
    values, hints = mapping(section, where=where), get_type_hints(kind)
    declared = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    check_keys(values, list(declared), where=f"`{where}`")
    required = [n for n, f in declared.items() if f.default is MISSING and f.default_factory is MISSING]
    if missing := [name for name in required if name not in values]:
        raise SparsityLabError(
            f"`{where}` lacks {', '.join(missing)}", fix=f"Add the line `{missing[0]}: ...` under {where}"
        )
    return kind(**{key: coerce(value, hints[key], f"{where}.{key}") for key, value in values.items()})


def coerce(value: object, hint: Any, where: str) -> Any:
    """The value as the annotated type; `4e6` and `3e-3`, which YAML reads as words, are numbers.

    Raises:
        SparsityLabError: it is of another type.
    """
    if get_origin(hint) in (Union, types.UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        return coerce(value, next(arg for arg in get_args(hint) if arg is not type(None)), where)
    if get_origin(hint) is tuple:
        items = value if isinstance(value, (list, tuple)) else [value]
        return tuple(coerce(item, get_args(hint)[0], where) for item in items)
    fitting = _scalar(value, hint)
    if fitting is None:
        raise SparsityLabError(
            f"`{where}` is {value!r}", why=f"It must be {_WORDS[hint]}", fix=_WRITTEN[hint]
        )
    return fitting


def _scalar(value: object, hint: type) -> Any:
    if hint in (bool, str):
        return value if isinstance(value, hint) else None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    if hint is float:
        return number
    whole = value if isinstance(value, int) else number
    return int(whole) if number == number and number.is_integer() else None
