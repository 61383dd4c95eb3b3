"""Finds laws, criteria, architectures, kernels, launchers and loggers by name, without importing them to list them.

A file of a room is an entry of that room: its stem, with `-` for `_`, is the id. Stems with a leading
underscore are the room's own furniture. Third parties add entries by the entry-point groups
`sparsity_lab.laws`, `sparsity_lab.criteria`, `sparsity_lab.architectures`, `sparsity_lab.kernels`,
`sparsity_lab.launchers` and `sparsity_lab.loggers`; such an entry point names a module of the same form as ours.
"""

from __future__ import annotations

import ast
import difflib
import importlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from sparsity_lab.errors import SparsityLabError, UnknownNameError

ALIKE = 0.6  # share of letters in common from which on a name may have been meant
ROOMS = {
    "laws": "sparsity_lab.laws",
    "criteria": "sparsity_lab.measure.criteria",
    "architectures": "sparsity_lab.measure.architectures",
    "kernels": "sparsity_lab.kernels",
    "launchers": "sparsity_lab.measure.work.launchers",
    "loggers": "sparsity_lab.loggers",
}


def names(room: str) -> list[str]:
    """Sorted ids of a room, ours and third parties'; imports nothing."""
    return sorted({*_own_stems(room), *_third_party(room)})


def summary(room: str, name: str) -> str:
    """What an id is, the first line of its file's docstring; empty for one of a third party. Imports nothing."""
    if name not in _own_stems(room):
        return ""
    text = _folder(room).joinpath(f"{_own_stems(room)[name]}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def load(room: str, name: str) -> ModuleType:
    """The module behind an id.

    Raises:
        UnknownNameError: no such id; the message names the nearest one.
        SparsityLabError: the entry point of another package does not name a module.
    """
    own = _own_stems(room)
    if name in own:
        return importlib.import_module(f"{ROOMS[room]}.{own[name]}")
    foreign = _third_party(room)
    if name in foreign:
        loaded = foreign[name].load()
        if not isinstance(loaded, ModuleType):
            raise SparsityLabError(
                f"The entry point {name!r} of {room} does not name a module",
                fix="Write its value as package.module, without a colon behind it",
            )
        return loaded
    raise unknown(name, kind=f"{room.rstrip('s')}" if room != "criteria" else "criterion", known=names(room))


def near(name: str, known: Sequence[str]) -> str | None:
    """The known name that was meant, as far as its letters tell; None where none is like it."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=ALIKE)), None)


def unknown(name: str, *, kind: str, known: Sequence[str], what: str = "") -> UnknownNameError:
    """The error for an unknown name, with the nearest known one suggested; `what` replaces its first sentence."""
    nearest = near(name, known)
    hint = f"Did you mean {nearest!r}? " if nearest is not None else ""
    return UnknownNameError(
        what or f"There is no {kind} named {name!r}",
        fix=f"{hint}Known: {', '.join(known)}",
        nearest=nearest,
    )


@cache
def _own_stems(room: str) -> dict[str, str]:
    stems = (path.stem for path in _folder(room).glob("*.py") if not path.stem.startswith("_"))
    return {stem.replace("_", "-"): stem for stem in stems}


def _folder(room: str) -> Path:
    return Path(__file__).parent.joinpath(*ROOMS[room].split(".")[1:])


@cache
def _third_party(room: str) -> dict[str, Any]:
    from importlib import metadata  # slow to import, and not needed for --help

    return {point.name: point for point in metadata.entry_points(group=f"sparsity_lab.{room}")}
