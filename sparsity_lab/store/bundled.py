"""The published figures carried in the package, by name; `data/README.md` gives the source of each."""

from __future__ import annotations

import csv
from pathlib import Path

from sparsity_lab import registry

FOLDER = Path(__file__).parents[1] / "data"


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


def rows(name: str) -> list[dict[str, str]]:
    """The rows of a bundled table, every cell as it is written there.

    Raises:
        SparsityLabError: as `path`.
    """
    with path(name).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
