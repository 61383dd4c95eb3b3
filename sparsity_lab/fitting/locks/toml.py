"""What locks of every kind are made of: tolerances, values as TOML holds them, and the tables they speak of."""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.reading.json_file import read_object
from sparsity_lab.reading.toml_file import toml_or_none
from sparsity_lab.reading.walking import LeftOut, Walk
from sparsity_lab.store import bundled
from sparsity_lab.store.file_names import file_name, refuse_undecodable
from sparsity_lab.store.records import write_json

LOCK_ANEW = "Take it from version control, or write it again with `sparsity-lab fit TABLE --lock REASON`"
INCOMPLETE = (KeyError, TypeError, ValueError, AttributeError)
BUNDLED = "bundled:"
LOCKS = "locks"
SUBJECT = ("table", "x", "y", "group", "se", "exclude", "by")
MANIFEST = "manifest.json"

logger = logging.getLogger(__name__)


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

    def __str__(self) -> str:
        return (
            f"{self.absolute:g}, {self.relative:g} of the value or {self.standard_errors:g} standard errors"
        )


# A refit of the same points differs by rounding alone; one of a table that is measured again by the noise of both. Of
# two independent tables the largest difference of all predictions and coefficients is beyond 5 standard errors in 1 to
# 6 of 100 (power law, 12 to 40 points, noise correlated up to 0.3).
PINNED = (Tolerance(1e-7, 1e-5, 0.01), Tolerance(0.0, 1e-3, 0.02))
FOLLOWED = (Tolerance(0.0, 0.0, 5.0), Tolerance(0.0, 0.0, 5.0))


def source_of(table: str, path: Path) -> Path:
    """The table a lock of that path was made from; it may not be there."""
    if table.startswith(BUNDLED):
        return bundled.path(table.removeprefix(BUNDLED))
    return Path(os.path.realpath(path.parent.parent / table))


def table_entry(source: Path | str, study: Path) -> str:
    """How a lock in a study's folder names its table.

    Raises:
        SparsityLabError: the path from the folder to the table is not UTF-8, as TOML must be.
    """
    if isinstance(source, str) and source in bundled.names():
        return BUNDLED + source
    relative = Path(os.path.relpath(os.path.realpath(source), os.path.realpath(study))).as_posix()
    refuse_undecodable(relative)
    return relative


@dataclass(frozen=True)
class Locks:
    """The lock files among paths, those that a manifest names and that are gone, and the folders that could not be
    searched for them."""

    paths: tuple[Path, ...]
    gone: tuple[Path, ...]
    unsearched: tuple[LeftOut, ...]


def find(paths: Sequence[Path]) -> Locks:
    """Lock files among files and folders; a folder gives all `locks/*.toml` below it, links followed.

    Raises:
        SparsityLabError: a path does not exist, or there are no locks at all.
    """
    found: dict[Path, None] = {}
    gone: list[Path] = []
    unsearched: list[LeftOut] = []
    for path in paths:
        if not os.path.exists(path):
            raise SparsityLabError(f"There is no lock or folder {path}", fix="Check its path")
        if not path.is_dir():
            if path.suffix.lower() != ".toml":
                raise SparsityLabError(
                    f"{path} is not a lock",
                    why="Locks are TOML files",
                    fix="Name a lock, or the folder of the fits",
                )
            found[path] = None
            continue
        walk = Walk(path)
        inside = [file for file in walk.files() if _holds_locks(file.parent)]
        found |= dict.fromkeys(file for file in inside if file.suffix.lower() == ".toml")
        for manifest in [file for file in inside if file.name == MANIFEST]:
            gone += _gone(manifest)
        walk.tell()
        unsearched += [entry for entry in walk.left_out if entry.lost]
    if not found and not gone:
        where = ", ".join(map(str, paths))
        why = "; ".join(f"{entry.path} was left out: {entry.why}" for entry in unsearched)[:400]
        fix = "Make them with `sparsity-lab fit TABLE --lock REASON`"
        raise SparsityLabError(f"No locks under {where}", why=why, fix=fix)
    return Locks(tuple(found), tuple(gone), tuple(unsearched))


def note_locks(study: Path, renamed: Collection[str]) -> None:
    """Name all locks of a study's folder in its manifest, so that one that is deleted is missed.

    Args:
        study: the folder. renamed: files that are gone for good.

    Raises:
        SparsityLabError: the manifest cannot be read.
    """
    folder = study / LOCKS
    there = {path.name for path in folder.glob("*.toml")} if os.path.isdir(folder) else set()
    if there:
        manifest = folder / MANIFEST
        known = set(_named(manifest)) if manifest.exists() else set()
        write_json(manifest, {"locks": sorted(there | known - set(renamed))})


def _gone(manifest: Path) -> list[Path]:
    """Locks that a manifest names and that are not there."""
    there = {path.name.lower() for path in manifest.parent.iterdir()}
    return [manifest.parent / name for name in _named(manifest) if name.lower() not in there]


def _named(manifest: Path) -> list[str]:
    """The files that a manifest names.

    Raises:
        SparsityLabError: it cannot be read.
    """
    names: list[str] = read_object(manifest, fix=LOCK_ANEW, shape={"locks": list})["locks"]
    if not all(isinstance(name, str) for name in names):
        raise SparsityLabError(f"{manifest} is damaged", why="`locks` lists more than names", fix=LOCK_ANEW)
    return names


def _holds_locks(folder: Path) -> bool:
    return LOCKS in (folder.name.lower(), Path(os.path.realpath(folder)).name.lower())


def path_of(study: Path, series: str) -> Path:
    """Where the lock of a series is in a study's folder."""
    return study / LOCKS / f"{file_name(series)}.toml"


def refuse_others(study: Path, series: Sequence[str], *, subject: Mapping[str, Any], law: str | None) -> None:
    """Refuse to replace a lock that is about something else: another table, other columns, another law.

    Args:
        study: the folder written to.
        series: names of those to be locked.
        subject: the table and columns they are fitted from, as `[input]` of a lock has them.
        law: id of the law, or None where the data choose it.

    Raises:
        SparsityLabError: there is such a lock; names it and what differs.
    """
    for path, raw in _locked(study, series):
        there = raw["input"] if isinstance(raw.get("input"), dict) else {}
        wanted = {key: _plain(value) for key, value in subject.items()}
        differing = [key for key in SUBJECT if _listed(there.get(key)) != _listed(wanted.get(key))]
        if law is not None and raw.get("law") != law:
            there, wanted = {**there, "law": raw.get("law")}, {**wanted, "law": law}
            differing.append("law")
        if differing:
            key = differing[0]
            raise SparsityLabError(
                f"{path} locks another fit of {raw.get('series')}",
                why=f"Its {key} is {there.get(key) or 'not named'}, not {wanted.get(key) or 'left out'}",
                fix="Name another --output, or remove that lock if it no longer holds",
            )


def remove_renamed(study: Path, series: Sequence[str]) -> list[str]:
    """Remove the locks of series that are written again under another name now; the names of the files."""
    removed = []
    for path, raw in _locked(study, series):
        if path != (now := path_of(study, raw["series"])) and now.exists():
            path.unlink(missing_ok=True)
            removed.append(path.name)
            logger.info("The lock of %s is now %s, no longer %s.", raw["series"], now.name, path.name)
    return removed


def _locked(study: Path, series: Sequence[str]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The locks of some series in a study's folder; `check` judges those that cannot be read."""
    folder = study / LOCKS
    for path in sorted(folder.glob("*.toml")) if os.path.isdir(folder) else ():
        if (raw := toml_or_none(path)) is not None and raw.get("series") in series:
            yield path, raw


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _listed(value: object) -> object:
    """One column and a list of it alike, and none for an empty list."""
    return [value] if isinstance(value, str) else value or None


def toml_value(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "nan" if math.isnan(value) else "inf" if value == math.inf else repr(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML takes it escaped only


def toml_key(name: str) -> str:
    """A key as TOML writes it: bare where that is allowed, else in quotes, such as a Greek letter."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_value(name)


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


def optional(section: Mapping[str, Any], key: str, kind: type, otherwise: Any = None) -> Any:
    """A value of a lock that may be left out; raises as `typed` where it is of another type."""
    return typed(section, key, kind) if key in section else otherwise


def tolerance_in(raw: Mapping[str, Any], key: str) -> Tolerance:
    """A tolerance; raises as `typed`."""
    return Tolerance(
        **{part: typed(raw[key], part, float) for part in ("absolute", "relative", "standard_errors")}
    )
