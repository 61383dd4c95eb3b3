"""What every run must keep to, whatever it was given: how it may end, what it may say and what it may leave."""

from __future__ import annotations

import csv
import json
import os
import re
import sys
from pathlib import Path

from tests.faults.zygote import Ended
from tests.hostile.fuzzing.invocation import Invocation

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LONGEST = 1500  # letters of a paragraph that one still reads
BROKEN = (
    "Traceback (most recent call last)",
    "Exception ignored",
    "Fatal Python error",
    "Segmentation fault",
)
WARNED = re.compile(r"^.*\.py:\d+: \w*Warning.*$", re.MULTILINE)
FINDING = re.compile(
    r"drift|stale|missing|unidentified|unsearched|not identified|outside|could not be read|fail|not measured",
    re.IGNORECASE,
)
Snapshot = dict[str, tuple[object, ...]]


def snapshot(folder: Path) -> Snapshot:
    """Every path below a folder with what tells whether it was changed; of a folder only that it is there."""
    found: Snapshot = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        is_folder = path.is_dir() and not path.is_symlink()
        found[path.relative_to(folder).as_posix()] = (
            ("folder",) if is_folder else (status.st_ino, status.st_size, status.st_mtime_ns)
        )
    return found


def complaints(
    made: Invocation, ended: Ended, folder: Path, before: Snapshot, *, cut_short: bool
) -> list[str]:
    """What is wrong with a run; of one that was cut short for time only what it said until then."""
    found = [f"said {word!r}" for word in BROKEN if word in f"{ended.said}\n{ended.printed}"]
    if cut_short:
        return found
    after = snapshot(folder)
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    found += [f"left a process: {line}" for line in ended.left]
    found += [f"wrote {name}" for name in changed if not _may_write(made, name)]
    found += [f"half-written {name}: {why}" for name in changed if (why := _half_written(folder / name))]
    return [*found, *_warned(made, ended), *_ended(made, ended)]


def _warned(made: Invocation, ended: Ended):
    """Warnings of the interpreter, which are for programmers, where nobody asked for them."""
    if not {"PYTHONDEVMODE", "PYTHONWARNDEFAULTENCODING"} & set(made.around.variables):
        yield from (f"warned: {line}" for line in WARNED.findall(f"{ended.said}\n{ended.printed}"))


def _ended(made: Invocation, ended: Ended):
    """The exit code, and what must have been said with it."""
    lines = [line for line in ended.said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("Error: ")]
    if ended.killed or ended.code not in (0, 1, 2):
        yield f"ended with {ended.code}"
    elif ended.code == 1 and not FINDING.search(ended.said + ended.printed):
        yield "ended with 1, and said of no finding"
    elif ended.code == 2 and not (
        made.command.group and not errors and "Usage" in ended.said + ended.printed
    ):
        if len(errors) != 1 or not lines[-1].startswith("Error: "):
            yield "ended with 2, and the last line is not its one error"
        elif len(errors[0]) > LONGEST:
            yield f"told an error in {len(errors[0])} letters"
    elif ended.code != 2 and errors:
        yield f"ended with {ended.code} and an error"


def _may_write(made: Invocation, name: str) -> bool:
    """Whether a path below the run's folder is one that it was asked to write, or a cache."""
    parts = Path(name).parts
    if (
        parts[:2] in {("home", ".cache"), ("home", ".config"), ("home", ".triton"), ("home", ".local")}
        or name == "home"
    ):
        return True
    where = [os.path.normpath(Path("here", place)) for place in made.written]
    if any(name == place or name.startswith(place + "/") or place.startswith(name + "/") for place in where):
        return True
    if made.command.words == ("report",):
        return Path(name).name in ("report.html", "tables.md", "tables.tex")
    relative_home = (
        made.around.variables.get("HOME") in ("", "relative") or "XDG_CACHE_HOME" in made.around.variables
    )
    if relative_home and (".cache" in parts or "relative" in parts):
        return True
    return "--update" in made.words and name.endswith(".toml")


def _half_written(path: Path) -> str:
    """Why a file is not whole; empty where it is, or where nothing is known of its kind."""
    if path.name.endswith(".partial") or ".claim-" in path.name or path.name.startswith((".probe", "tmp")):
        return "a temporary name"
    if not path.is_file() or path.is_symlink():
        return ""
    data = path.read_bytes()
    try:
        if path.suffix == ".json":
            json.loads(data, parse_constant=_no_number)
        elif path.suffix == ".toml":
            tomllib.loads(data.decode())
        elif path.suffix == ".csv":
            rows = list(csv.reader(data.decode().splitlines()))
            if not rows or len({len(row) for row in rows}) != 1 or not data.endswith(b"\n"):
                return "rows of unequal length"
    except (ValueError, csv.Error) as error:
        return str(error)
    ends = {".png": b"IEND\xaeB`\x82", ".svg": b"</svg>\n", ".html": b"</html>\n"}
    end = ends.get(path.suffix, b"")
    return "" if data.rstrip(b"\n").endswith(end.rstrip(b"\n")) else f"does not end in {end!r}"


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is not JSON")
