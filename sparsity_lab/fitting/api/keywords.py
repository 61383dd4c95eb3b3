"""The fields of specifications as keywords of a function: known names only, and values in the form of the field."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from sparsity_lab import ranges, registry
from sparsity_lab.errors import SparsityLabError

Function = TypeVar("Function", bound=Callable[..., Any])


def names_of(*kinds: type, without: Collection[str] = ()) -> list[str]:
    """Names of the fields of some dataclasses, in their order."""
    return [field.name for kind in kinds for field in fields(kind) if field.name not in without]


def taking(*kinds: type, without: Collection[str] = ()) -> Callable[[Function], Function]:
    """Show the fields of dataclasses as keywords in place of a function's `**settings`, for editors and `help`."""

    def shown(function: Function) -> Function:
        signature = inspect.signature(function)
        own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
        others = [
            inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=_default(field), annotation=field.type
            )
            for kind in kinds
            for field in fields(kind)
            if field.name not in {*without, *signature.parameters}
        ]
        positional = [each for each in own if each.kind is each.POSITIONAL_OR_KEYWORD]
        keywords = [each for each in own if each.kind is each.KEYWORD_ONLY]
        function.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*positional, *others, *keywords]
        )
        return function

    return shown


def _default(field: Any) -> Any:
    if field.default is not MISSING:
        return field.default
    return inspect.Parameter.empty if field.default_factory is MISSING else field.default_factory()


def refuse_unknown(settings: Mapping[str, Any], known: Sequence[str], *, function: str) -> None:
    """Refuse a keyword that is no setting.

    Raises:
        UnknownNameError: names the nearest setting.
    """
    for name in settings:
        if name not in known:
            raise registry.unknown(name, kind=f"setting of {function}", known=known)


def filled(kind: type, settings: Mapping[str, Any]) -> Any:
    """A dataclass out of those settings that are its fields; the others are left alone.

    Raises:
        SparsityLabError: a date that is none, or what the dataclass refuses.
    """
    hints = ranges.hints(kind)
    made = kind(**{name: _as(hints[name], value, name) for name, value in settings.items() if name in hints})
    ranges.check_fields(made)
    return made


def _as(hint: Any, value: Any, name: str) -> Any:
    """A value in the form of an annotation: one value for a tuple, a list for a tuple, a text for a path or a date."""
    kind = ranges.bare(hint)
    if value is None:
        return None
    if get_origin(kind) is tuple:
        items = value if isinstance(value, (tuple, list)) else [value]
        return tuple(_as(get_args(kind)[0], item, name) for item in items)
    if kind is date:
        return _day(value, name)
    if isinstance(kind, type) and is_dataclass(kind) and not isinstance(value, kind):
        raise SparsityLabError(
            f"{name} is {str(value)[:80]!r}",
            why=f"It must be a {kind.__name__}",
            fix=f"Import it from {kind.__module__}",
        )
    return Path(value) if kind is Path and isinstance(value, str) else value


def _day(value: Any, name: str) -> date:
    if isinstance(value, datetime):  # pandas has such
        return value.date()
    try:
        return value if isinstance(value, date) else date.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise SparsityLabError(
            f"{name} is {str(value)[:80]!r}, not a date",
            fix="Give a datetime.date, or a text such as 2026-03-01",
        ) from error
