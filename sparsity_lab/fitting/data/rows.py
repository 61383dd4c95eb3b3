"""One row of a table as a point of a fit, checked cell by cell: file, row and column are named."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.data import magnitudes
from sparsity_lab.fitting.data.columns import ACTIVATIONS, QUANTITIES, Resolved, first
from sparsity_lab.labels import counted
from sparsity_lab.reading import csv_numbers
from sparsity_lab.reading.csv_file import MEASURED, Rows

logger = logging.getLogger(__name__)

TRUE, FALSE = ("true", "1", "1.0", "yes", "y", "t"), ("false", "0", "0.0", "no", "n", "f", "")
DRELU = "drelu"
OWN_KNOB = "ppl-increase"
FIXED_KNOB = "fixed"
NOMINAL = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s*([MB])(?![a-zA-Z])")
SHAPE = "width_depth_ratio"
IN_PERCENT = ", and read a ratio in percent with --unit activation_ratio=percent"
FROM_MEASURE = "measure supplies trained tokens by --trained-tokens CSV, or by --tokens-per-step N"
LINES_NAMED = 8


@dataclass(frozen=True)
class Needs:
    """Which numbers a fit can take.

    Attributes:
        positive_x: columns of inputs that have to be above 0. positive_y: why y has to; empty where it has not.
    """

    positive_x: tuple[str, ...]
    positive_y: str = ""


@dataclass(frozen=True)
class PointRow:
    """A point; `x` has one number for each input, `held` is that of the column whose largest are held out.

    `key` names the record it comes from; empty where the table is not one of `measure`.
    """

    line: int
    group: tuple[str, ...]
    run: str
    activation: str | None
    x: tuple[float, ...]
    y: float
    se: float | None
    parameters: float | None
    width_depth_ratio: float | None
    quantity: tuple[str, ...]
    held: float | None
    key: str


def sorted_out(raws: Rows, columns: Resolved, path: Path, needs: Needs) -> tuple[Rows, Rows]:
    """The rows that hold a point, and those left out: excluded, without an x, without a y in a column that was named,
    or with an x of 0 where the law begins above 0; the latter are noted.

    Raises:
        SparsityLabError: a cell of the column of exclusions says neither true nor false.
    """
    exclude = columns.asked.exclude
    excluded = [line for line, raw in raws if exclude and _is_true(raw, exclude, line, path)]
    candidates = [pair for pair in raws if pair[0] not in set(excluded)]
    bare = [
        (line, raw)
        for line, raw in candidates
        if any(_is_without(raw, column, columns, needs) for column in columns.x)
        or (columns.asked.y is not None and not raw[columns.y])
    ]
    if excluded:
        logger.info("%s: left out %s by the column %s.", path.name, counted(len(excluded), "row"), exclude)
    if bare:
        _note(bare, columns, path)
    gone = {line for line, _ in bare} | set(excluded)
    return [pair for pair in raws if pair[0] not in gone], [pair for pair in raws if pair[0] in gone]


def row_of(raw: Mapping[str, str], line: int, columns: Resolved, path: Path, needs: Needs) -> PointRow:
    """A row as a point.

    Raises:
        SparsityLabError: a cell is not a number, or not one that a fit can take.
    """
    group = tuple((raw.get(column) or "").strip() for column in columns.group)
    quantity = _quantity(raw, columns)
    if "rule" in columns.group:
        # One knob makes one curve, unless each checkpoint has a knob of its own by the rule.
        group += ("" if raw.get("rule") == OWN_KNOB else (raw.get("knob") or "").strip(),)
    run = columns.asked.group if len(columns.x) > 1 else None
    x = tuple(_input(raw, column, line, columns, path, needs) for column in columns.x)
    held = columns.asked.holdout
    return PointRow(
        line=line,
        group=group,
        run=raw[run] if run else str(line),
        activation=kind_of(raw),
        x=(x[0] / 1e9,) if columns.in_tokens else x,
        y=_output(raw, line, columns, path, needs),
        se=_error(raw, line, columns, path),
        parameters=_size(raw, line, columns, path),
        width_depth_ratio=number(raw, SHAPE, line, path) if (raw.get(SHAPE) or "").strip() else None,
        quantity=quantity,
        held=None if held is None else number(raw, held, line, path),
        key=raw.get(MEASURED) or "",
    )


def kind_of(raw: Mapping[str, str | None]) -> str | None:
    """The activation of a row, lower case; dReLU's config calls its function relu, its architecture tells."""
    named = first(ACTIVATIONS, raw)
    word = (raw.get(named) or "").strip().lower() if named else ""
    return DRELU if (raw.get("architecture") or "").startswith(DRELU) else word or None


def nominal_size(text: str) -> float | None:
    """The parameter count in a model's name, such as 0.8B or 350M."""
    found = NOMINAL.search(text)
    return float(found[1]) * (1e9 if found[2] == "B" else 1e6) if found else None


def number(raw: Mapping[str, str], column: str, line: int, path: Path) -> float:
    """A cell as a finite number.

    Raises:
        SparsityLabError: it is none; names row and column.
    """
    text = raw.get(column)
    try:
        value = csv_numbers.number((text or "").strip())
    except ValueError:
        why, fix = csv_numbers.problem(text or "", percent=IN_PERCENT)
        raise _bad(path, line, column, text, why, fix=fix) from None
    if not math.isfinite(value):
        raise _bad(path, line, column, text, "That is not finite")
    return value


def _input(
    raw: Mapping[str, str], column: str, line: int, columns: Resolved, path: Path, needs: Needs
) -> float:
    value = number(raw, column, line, path) * columns.factor(column)
    if why := magnitudes.beyond_x(value):
        raise _bad(path, line, column, raw[column], why, fix=magnitudes.SCALE_FIX)
    if value < 0 and columns.is_tokens(column):
        raise _bad(path, line, column, raw[column], "Token counts cannot be negative")
    if value <= 0 and column in needs.positive_x:
        fix = "Correct the cell, remove its row, or fit a law of any x, such as linear"
        raise _bad(path, line, column, raw[column], "The law begins above 0", fix=fix)
    return value


def _output(raw: Mapping[str, str], line: int, columns: Resolved, path: Path, needs: Needs) -> float:
    column, cell = columns.y, raw[columns.y]
    value = number(raw, column, line, path) * columns.factor(column)
    if why := magnitudes.beyond_y(value):
        raise _bad(path, line, column, cell, why, fix=magnitudes.SCALE_FIX)
    if columns.y_is_ratio and not 0.0 <= value <= 1.0:
        raise _bad(
            path, line, column, cell,
            f"An activation ratio lies between 0 and 1, and this column is read in {columns.units[column]}",
            fix="Correct the cell, or name the column's unit: --unit activation_ratio=percent",
        )  # fmt: skip
    if value <= 0 and needs.positive_y:
        fix = "Correct the cell, remove its row, or fit y itself, without --robust, --log-y and --noise power"
        raise _bad(path, line, column, cell, needs.positive_y, fix=fix)
    return value


def _error(raw: Mapping[str, str], line: int, columns: Resolved, path: Path) -> float | None:
    column = columns.se
    if column is None or not (raw.get(column) or "").strip():
        return None
    value = number(raw, column, line, path) * columns.factor(column)
    if value < 0:
        raise _bad(path, line, column, raw[column], "A standard error cannot be negative")
    if why := magnitudes.beyond_y(value):
        raise _bad(path, line, column, raw[column], why, fix=magnitudes.SCALE_FIX)
    return value


def _size(raw: Mapping[str, str], line: int, columns: Resolved, path: Path) -> float | None:
    """The parameter count: a number in the column's unit, or words such as 0.8B; None where the cell is blank."""
    text = (raw.get(columns.size or "") or "").strip()
    if columns.size is None or not text:
        return None
    return nominal_size(text) or number(raw, columns.size, line, path) * columns.factor(columns.size)


def _quantity(raw: Mapping[str, str], columns: Resolved) -> tuple[str, ...]:
    """What was measured: one knob for a series is one quantity whatever the knob, a fixed knob another each."""
    named = [(raw.get(column) or "").strip() for column in columns.group if column in QUANTITIES]
    fixed = "rule" in columns.group and raw.get("rule") == FIXED_KNOB
    return (*named, (raw.get("knob") or "").strip()) if fixed else tuple(named)


def _is_without(raw: Mapping[str, str], column: str, columns: Resolved, needs: Needs) -> bool:
    """Whether a row says nothing of its x: trained tokens that `measure` did not know, or a start at 0."""
    text = (raw.get(column) or "").strip()
    if columns.measured and not text:
        return True
    try:
        return csv_numbers.number(text) == 0.0 and (column in needs.positive_x or columns.is_tokens(column))
    except ValueError:
        return False


def _note(bare: Rows, columns: Resolved, path: Path) -> None:
    """Note which rows have no x or no y, and what supplies x."""
    lines = ", ".join(str(line) for line, _ in bare[:LINES_NAMED]) + (
        ", ..." if len(bare) > LINES_NAMED else ""
    )
    without_y = sum(not raw[columns.y] for _, raw in bare)
    blank = sum(any(not raw[column] for column in columns.x) for _, raw in bare if raw[columns.y])
    x = " or ".join(columns.x)
    reasons = [
        *([f"{blank} have no {x}"] if blank else []),
        *([f"{without_y} have no {columns.y}"] if without_y else []),
    ]
    if len(bare) > blank + without_y:
        reasons.append(f"{x} is 0 there, and the laws start above 0")
    logger.warning(
        "%s: left out %s (line %s): %s.%s",
        path.name, counted(len(bare), "row"), lines, "; ".join(reasons),
        f" {FROM_MEASURE}." if blank and columns.measured else "",
    )  # fmt: skip


def _is_true(raw: Mapping[str, str], column: str, line: int, path: Path) -> bool:
    """Whether a cell says that its row is left out; a word that may say either is refused."""
    word = (raw[column] or "").strip().lower()
    if word not in TRUE and word not in FALSE:
        fix = "Write true in rows to leave out and false in the others"
        raise _bad(path, line, column, raw[column], "It is neither true nor false", fix=fix)
    return word in TRUE


def _bad(
    path: Path, line: int, column: str, text: str | None, why: str, *,
    fix: str = "Correct the cell, or remove its row",
) -> SparsityLabError:  # fmt: skip
    return SparsityLabError(
        f"{path}: row {line}, column {column!r}: {(text or '')[:80]!r}",
        why=why,
        fix=fix,
    )
