"""What locks of every kind are made of: tolerances, values as TOML holds them, and the tables they speak of."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsity_lab import bundled
from sparsity_lab.errors import SparsityLabError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LOCK_ANEW = "Take it from version control, or write it anew with `sparsity-lab fit TABLE --lock REASON`"
UNREADABLE = (OSError, UnicodeDecodeError, RecursionError, tomllib.TOMLDecodeError)
INCOMPLETE = (KeyError, TypeError, ValueError, AttributeError)
BUNDLED = "bundled:"


@dataclass(frozen=True)
class Tolerance:
    """How far a number may move: the largest of the three parts."""

    absolute: float
    relative: float
    standard_errors: float

    def of(self, value: float, se: float) -> float:
        """The tolerated difference from a locked value."""
        by_error = self.standard_errors * se if math.isfinite(se) else 0.0
        return max(self.absolute, self.relative * abs(value), by_error)


# A refit of the same points differs by rounding alone; one of a table that is measured anew differs by noise.
PINNED = (Tolerance(1e-7, 1e-5, 0.01), Tolerance(0.0, 1e-3, 0.02))
FOLLOWED = (Tolerance(0.0, 0.0, 2.0), Tolerance(0.0, 0.0, 3.0))


def source_of(table: str, path: Path) -> Path:
    """The table a lock of that path was made from; it may not be there."""
    if table.startswith(BUNDLED):
        return bundled.path(table.removeprefix(BUNDLED))
    return (path.parent.parent / table).resolve()


def table_entry(source: Path | str, study: Path) -> str:
    """How a lock in a study's folder names its table."""
    if isinstance(source, str) and source in bundled.names():
        return BUNDLED + source
    return Path(os.path.relpath(Path(source).resolve(), study.resolve())).as_posix()


def differing(
    locked: Mapping[str, tuple[float, float]], tolerance: Tolerance, values: Mapping[str, float | None],
    where: str,
) -> list[str]:  # fmt: skip
    """Sentences on the coefficients that left their tolerance."""
    details = []
    for name, (value, se) in locked.items():
        found, allowed = values.get(name), tolerance.of(value, se)
        if found is None or not abs(found - value) <= allowed:
            shown = "nothing" if found is None else f"{found:.6g}"
            details.append(f"{name} {where} is {shown}, locked {value:.6g} (+- {allowed:.2g})")
    return details


def find(paths: Sequence[Path]) -> list[Path]:
    """Lock files among files and folders; a folder gives all `locks/*.toml` below it.

    Raises:
        SparsityLabError: a path is not there, or there is no lock at all.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise SparsityLabError(f"There is no lock or folder {path}", fix="Check its path")
        found += sorted(path.rglob("locks/*.toml")) if path.is_dir() else [path]
        if path.is_dir() and path.name == "locks":
            found += sorted(path.glob("*.toml"))
    if not found:
        where = ", ".join(map(str, paths))
        raise SparsityLabError(
            f"No locks under {where}", fix="Make them with `sparsity-lab fit TABLE --lock REASON`"
        )
    return list(dict.fromkeys(found))


def parsed(path: Path) -> dict[str, Any]:
    """A lock's file as TOML holds it; what it raises is among `UNREADABLE`."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def toml_value(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "nan" if math.isnan(value) else "inf" if value == math.inf else repr(value)
    return json.dumps(value, ensure_ascii=False)


def typed(section: Mapping[str, Any], key: str, kind: type) -> Any:
    """A value of a lock that must be of a type; whole numbers are numbers, `true` is none.

    Raises:
        KeyError: it is not there.
        TypeError: it is of another type.
    """
    value = section[key]
    fits = isinstance(value, (int, float) if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{key} is {str(value)[:80]!r}, not of type {kind.__name__}")
    return float(value) if kind is float else value


def counted(section: Mapping[str, Any], key: str) -> int:
    """A whole number from 0 on; raises as `typed`, or ValueError below 0."""
    value = int(typed(section, key, int))
    if value < 0:
        raise ValueError(f"{key} is {value}, below 0")
    return value


def coefficients_in(raw: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Values and standard errors by the coefficients' names; raises as `typed`."""
    return {
        name: (typed(one, "value", float), typed(one, "se", float))
        for name, one in raw["coefficients"].items()
    }


def tolerance_in(raw: Mapping[str, Any], key: str) -> Tolerance:
    """A tolerance; raises as `typed`."""
    return Tolerance(
        **{part: typed(raw[key], part, float) for part in ("absolute", "relative", "standard_errors")}
    )
