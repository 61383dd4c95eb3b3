"""Whether what a study publishes still says what was locked: fits.json, fits.csv and fits.md next to the locks.

fits.json has to be there; the other two are compared where they are. Numbers of fits.md are rounded for readers, and
compared to that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.judge.verdict import NOT
from sparsity_lab.fitting.locks.lock import Lock
from sparsity_lab.fitting.locks.toml import INCOMPLETE, Tolerance, typed
from sparsity_lab.reading.csv_file import read_csv
from sparsity_lab.reading.json_file import read_json
from sparsity_lab.reading.unreadable import why_unread

COUNTS = ("points", "dropped points")
FIT_AGAIN = "Fit again, or take it from version control"
ROUNDED = 5.1e-3  # three digits: half a unit of the third, at most
_CELL = re.compile(r"(?P<value>\S+)(?: \[(?P<low>\S+), (?P<high>\S+)\])?")


@dataclass(frozen=True)
class Said:
    """What a file says of a fit; a key that it does not have is absent, an open end None.

    Attributes:
        numbers: name of a number -> it, such as A0, A0 low, sse.
        texts: verdict, bound and the like.
    """

    numbers: Mapping[str, float | None]
    texts: Mapping[str, str]


def disagreements(lock: Lock, study: Path) -> list[str]:
    """Sentences on what the files of a study's folder say otherwise than the lock.

    Raises:
        SparsityLabError: one of them cannot be read, or is not in the shape in which fits are written.
    """
    if not (study / "fits.json").exists():
        return ["there is no fits.json next to the locks"]
    details = []
    for name, read, rounded in (
        ("fits.json", _json, 0.0),
        ("fits.csv", _csv, 0.0),
        ("fits.md", _md, ROUNDED),
    ):
        path = study / name
        if not path.exists():
            continue
        try:
            said = read(path, lock)
        except (OSError, *INCOMPLETE) as error:
            raise SparsityLabError(
                f"Cannot read {path}", why=why_unread(path, error)[:400], fix=FIT_AGAIN
            ) from error
        if said is None:
            details.append(f"{name} has no fit of {lock.series} by {lock.law}")
        else:
            details += _differences(lock, said, name, rounded)
    return details


def _differences(lock: Lock, said: Said, file: str, rounded: float) -> Iterator[str]:
    for key, locked in {"verdict": lock.verdict, "bound": lock.bound or ""}.items():
        if key in said.texts and said.texts[key] != locked and (key == "verdict" or lock.says_all):
            shown = said.texts[key] or "none"
            yield f"{file} says {shown}, locked {locked or 'no bound'}"
    for key, number in _numbers(lock).items():
        if key not in said.numbers:
            continue
        value, allowed = said.numbers[key], _allowed(lock, key, number)
        if key not in COUNTS and math.isfinite(number):
            allowed = max(allowed, rounded * abs(number))
        if value is None and not math.isfinite(number):
            continue
        if value is None or not abs(value - number) <= allowed:
            shown = "nothing" if value is None else f"{value:.6g}"
            yield f"{key} in {file} is {shown}, locked {number:.6g} (+- {allowed:.2g})"


def _numbers(lock: Lock) -> dict[str, float]:
    """What a lock says of the numbers of a fit, NaN for an open end."""
    numbers = {}
    if (
        lock.says_all or lock.verdict != NOT
    ):  # format 1 locked no coefficients of a fit that is not identified
        for name, each in lock.numbers.items():
            numbers[name] = each.value
            ends = {f"{name} low": each.low, f"{name} high": each.high}
            numbers |= {key: end for key, end in ends.items() if end is not None}
    numbers["points"] = float(lock.points)
    if lock.says_all:
        numbers |= {"dropped points": float(lock.dropped_points), "sse": lock.sse, "limit": lock.limit}
    return numbers


def _allowed(lock: Lock, key: str, number: float) -> float:
    name = key.removesuffix(" low").removesuffix(" high")
    if name in lock.numbers:
        locked = lock.numbers[name]
        # What points hardly tell has a standard error of any size; what was written of it is held to its interval.
        ends = [abs(end - locked.value) for end in (locked.low, locked.high) if end is not None]
        nearest = min([locked.se, *(half for half in ends if half > 0)])
        return lock.coefficient_tolerance.of(number, nearest)
    return Tolerance(0.0, 1e-3, 0.0).of(number, math.nan) if key in ("sse", "limit") else 0.0


def _json(path: Path, lock: Lock) -> Said | None:
    """Locks of several inputs of format 1 have a name that fits.json did not: one law was fitted to one table."""
    for entry in read_json(path, fix=FIT_AGAIN, finite=False):
        if entry["law"] == lock.law and entry.get("series", lock.series) == lock.series:
            break
    else:
        return None
    numbers: dict[str, float | None] = {}
    for name, each in {**entry["coefficients"], **entry.get("derived", {})}.items():
        numbers[name] = _number(each, "value")
        numbers |= {f"{name} {end}": _number(each, end) for end in ("low", "high") if end in each}
    keys = {"points": "points", "dropped_points": "dropped points", "sse": "sse", "limit": "limit"}
    numbers |= {called: _number(entry, key) for key, called in keys.items() if key in entry}
    return Said(numbers, {"verdict": typed(entry, "verdict", str), "bound": entry.get("bound") or ""})


def _number(section: Mapping[str, Any], key: str) -> float | None:
    return None if section[key] is None else float(typed(section, key, float))


def _csv(path: Path, lock: Lock) -> Said | None:
    """One line a fit; of several inputs in format 1, one a coefficient."""
    rows = [row for _, row in read_csv(path, fix=FIT_AGAIN, as_written=True)[1]]
    if rows and "coefficient" in rows[0]:
        return Said({row["coefficient"]: float(row["value"]) for row in rows}, {})
    row = next((row for row in rows if (row["series"], row["law"]) == (lock.series, lock.law)), None)
    if row is None:
        return None
    columns = {name: name for name in lock.numbers}
    columns |= {f"{name}_{end}": f"{name} {end}" for name in lock.numbers for end in ("low", "high")}
    columns |= {"points": "points", "dropped_points": "dropped points", "sse": "sse"}
    numbers = {called: float(row[key]) if row[key] else None for key, called in columns.items() if key in row}
    return Said(numbers, {"verdict": row["verdict"], "bound": row["bound"]})


def _md(path: Path, lock: Lock) -> Said | None:
    """The summary, a line a fit; of several inputs in format 1, a table of coefficients."""
    for table in _tables(path.read_text(encoding="utf-8")):
        if "coefficient" in table[0] and "value" in table[0] and "series" not in table[0]:
            return Said({row["coefficient"]: _read(row["value"]) for row in table}, {})
        if "series" in table[0] and "verdict" in table[0]:
            wanted = tuple(" ".join(word.split()) for word in (lock.series, lock.law))
            found = [
                row
                for row in table
                if tuple(" ".join(row[key].split()) for key in ("series", "law")) == wanted
            ]
            return _summary(found[0], lock) if found else None
    return None


def _summary(row: Mapping[str, str], lock: Lock) -> Said:
    numbers: dict[str, float | None] = {
        "points": _read(row["points"]),
        "dropped points": _read(row["dropped"]),
    }
    for name in lock.numbers:
        cell = _CELL.fullmatch(row.get(name, ""))
        numbers[name] = _read(cell["value"]) if cell else None
        if cell and cell["low"]:
            numbers |= {f"{name} {end}": _read(cell[end]) for end in ("low", "high")}
    return Said(numbers, {"verdict": row["verdict"], "bound": row.get("bound", "")})


def _read(cell: str) -> float | None:
    """A number as readers see it; None where the side is open."""
    return None if cell == "open" else float(cell.replace(",", ""))


def _tables(text: str) -> Iterator[list[dict[str, str]]]:
    """The Markdown tables of a text, their rows by heading."""
    lines: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            lines.append([cell.strip().replace("\\|", "|") for cell in cells])
        elif lines:
            heading, _, *rows = lines if len(lines) > 1 else [*lines, []]
            if rows:
                yield [dict(zip(heading, row, strict=False)) for row in rows]
            lines = []
