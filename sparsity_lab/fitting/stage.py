"""A fit that is not repeated: its folder says which table and settings it was made of, written last."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sparsity_lab import __version__
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.reading.json_file import read_json
from sparsity_lab.store import records

MARK = "made-of.json"


@contextmanager
def once(folder: Path, table: Path, settings: Mapping[str, object]) -> Iterator[bool]:
    """Yield whether the work inside is needed; once it is done without an error, say of what it was made.

    Raises:
        SparsityLabError: the table is not there.
    """
    if not table.exists():
        raise SparsityLabError(f"There is no {table}", fix="Run the stages before this one first")
    made_of = {
        "table_sha256": hashlib.sha256(table.read_bytes()).hexdigest(),
        "settings": dict(settings),
        "version": __version__,
    }
    needed = _read(folder / MARK) != made_of
    if needed:
        (folder / MARK).unlink(missing_ok=True)
    yield needed
    if needed:
        records.write_json(folder / MARK, made_of)


def entries(folder: Path) -> list[dict[str, Any]]:
    """The entries of a folder's fits.json; none where nothing could be fitted."""
    fits = _read(folder / "fits.json") or []
    if not (isinstance(fits, list) and all(isinstance(fit, dict) for fit in fits)):
        raise SparsityLabError(
            f"Cannot read {folder / 'fits.json'}", why="It is not a list of fits", fix="Remove it"
        )
    return fits


def _read(path: Path) -> Any:
    return read_json(path, fix="Remove it", finite=False) if path.exists() else None
