"""CSV with a header as rows of text, checked at the door: no column twice, no row longer or shorter than the header.

Of two columns with one name a reader would take the last in silence, and a number with a decimal comma makes a row
longer; both are refused here, for every table that is fitted.
"""

from __future__ import annotations

import csv
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from sparsity_lab.errors import SparsityLabError

logger = logging.getLogger(__name__)

Rows = list[tuple[int, dict[str, str]]]
MEASURED = "content_key"  # only a table of `measure` has it; its units are known
FAILED, FLAGS = "failed", "flags"  # its columns of why a row has no number, and of findings about the number


def read_csv(path: Path) -> tuple[list[str], Rows]:
    """The header, and each row with the number of its last line; empty lines are left out.

    Rows of a table of `measure` whose checkpoint failed are left out as well; that, and flags, are noted.

    Raises:
        SparsityLabError: unreadable, not UTF-8, empty, a column twice, or a row of another length; names the row.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            lines = [(reader.line_num, cells) for cells in reader if any(cells)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SparsityLabError(
            f"Cannot read the table {path}", why=str(error), fix="Give a CSV in UTF-8 with a header"
        ) from error
    if not lines:
        raise SparsityLabError(f"The table {path} is empty", fix="Give a CSV with a header and rows")
    header = lines[0][1]
    refuse_twice(path, header)
    rows = [(line, _row(path, line, cells, header)) for line, cells in lines[1:]]
    return header, _noted(path, rows) if MEASURED in header else rows


def has_failed(row: Mapping[str, object]) -> bool:
    """Whether a row is one of `measure` whose checkpoint failed."""
    return MEASURED in row and bool(row.get(FAILED))


def _noted(path: Path, rows: Rows) -> Rows:
    """The rows that hold numbers; notes count those that do not, and those with flags."""
    kept = [(line, row) for line, row in rows if not has_failed(row)]
    if left_out := [line for line, row in rows if has_failed(row)]:
        logger.warning(
            "%s: %d row(s) of checkpoints that failed are left out (line %s).",
            path.name, len(left_out), ", ".join(map(str, left_out)),
        )  # fmt: skip
    flagged = [row[FLAGS].split() for _, row in kept if row.get(FLAGS)]
    if flagged:
        counts = Counter(flag for flags in flagged for flag in flags)
        logger.warning(
            "%s: %d of %d row(s) have flags, and their numbers are used: %s.",
            path.name, len(flagged), len(kept), ", ".join(f"{n} {flag}" for flag, n in sorted(counts.items())),
        )  # fmt: skip
    return kept


def refuse_twice(path: Path, header: Sequence[str]) -> None:
    """Refuse a header that names a column twice.

    Raises:
        SparsityLabError: it does; empty names do not count.
    """
    twice = [name for name in header if name and list(header).count(name) > 1]
    if twice:
        raise SparsityLabError(
            f"{path}: row 1 (the header) has the column {twice[0]!r} twice",
            fix="Rename or remove one of them",
        )


def _row(path: Path, line: int, cells: list[str], header: list[str]) -> dict[str, str]:
    if len(cells) < len(header) or any(cells[len(header) :]):
        begins = f", column {header[len(cells)]!r}" if len(cells) < len(header) else ""
        raise SparsityLabError(
            f"{path}: row {line}{begins}: the row has {len(cells)} cells, the header has {len(header)}",
            fix="Put commas between all cells, and write numbers with a decimal point",
        )
    return dict(zip(header, cells, strict=False))
