"""The published figures and the text carried in the package, by name; `data/README.md` gives the source of each."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from sparsity_lab import registry
from sparsity_lab.errors import UnknownNameError

FOLDER = Path(__file__).parents[1] / "data"
TEXT = "news-from-nowhere"  # what a command reads that was given no text


def names() -> list[str]:
    """Names of the bundled tables, `-` for `_`."""
    return sorted(path.stem.replace("_", "-") for path in FOLDER.glob("*.csv"))


def path(name: str) -> Path:
    """Where the CSV of a bundled table lies.

    Raises:
        SparsityLabError: no such table; names the nearest one.
    """
    if name not in names():
        raise registry.unknown(name, kind="bundled table", known=names())
    return FOLDER / f"{name.replace('-', '_')}.csv"


def table(name: str | Path) -> Path:
    """The table that a user names: what lies at that path, else the bundled table of that name.

    Raises:
        UnknownNameError: neither; names the bundled tables.
    """
    if isinstance(name, Path) and name.is_file():  # a data frame among them
        return name
    if os.path.lexists(name):
        return Path(name)
    if str(name) in names():
        return path(str(name))
    if (file := _near_file(Path(name))) is not None:
        raise UnknownNameError(
            f"Cannot read the table {name}",
            why="No such file is there",
            fix=f"Did you mean {str(file)!r}? Bundled tables are {', '.join(names())}",
            nearest=str(file),
        )
    among = registry.unknown(str(name), kind="bundled table", known=names())
    raise UnknownNameError(
        f"Cannot read the table {name}",
        why="No such file is there, and no bundled table has that name",
        fix=f"Give a CSV in UTF-8 with a header, or the name of a bundled table. {among.fix}",
        nearest=among.nearest,
    )


def _near_file(path: Path) -> Path | None:
    """A file next to where one was sought, of nearly its name."""
    if not path.suffix or not path.parent.is_dir():
        return None
    near = registry.near(path.name, [each.name for each in path.parent.iterdir() if each.is_file()])
    return None if near is None else path.parent / near


def texts() -> list[str]:
    """Names of the bundled texts, `-` for `_`."""
    return sorted(path.stem.replace("_", "-") for path in FOLDER.glob("*.txt"))


def text(place: Path) -> Path | None:
    """The file of the bundled text of that name; None where a file has it, or no text does."""
    if os.path.lexists(place) or str(place) not in texts():
        return None
    return FOLDER / f"{str(place).replace('-', '_')}.txt"


def rows(name: str) -> list[dict[str, str]]:
    """The rows of a bundled table, every cell as it is written there.

    Raises:
        SparsityLabError: as `path`.
    """
    with path(name).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
