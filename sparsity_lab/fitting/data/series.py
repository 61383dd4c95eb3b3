"""Reads tables of points into series, checked at the door: file, row and column named.

A table is either `measure`'s table.csv, or any CSV with the columns series (or model and activation), tokens
and activation_ratio, or any CSV at all with its columns named. Rows measured by different rules or criteria
are different quantities: they never share a series. Tokens become tokens/1e9 here, once.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.data import magnitudes
from sparsity_lab.fitting.data.columns import ACTIVATIONS, QUANTITIES, Columns, Resolved, first, resolve
from sparsity_lab.laws._law import FALLING, RISING, Array, Variable
from sparsity_lab.reading import csv_numbers
from sparsity_lab.reading.csv_file import Rows, read_csv

logger = logging.getLogger(__name__)

DRELU = "drelu"
OWN_KNOB = "ppl-increase"
FIXED_KNOB = "fixed"
NOMINAL = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s*([MB])(?![a-zA-Z])")
SHAPE = "width_depth_ratio"
T = TypeVar("T")
ANYTHING = (-math.inf, math.inf)
IN_PERCENT = ", and read a ratio in percent with --unit activation_ratio=percent"
FROM_MEASURE = "measure supplies trained tokens by --trained-tokens CSV, or by --tokens-per-step N"


@dataclass(frozen=True)
class Series:
    """Points of one run, in order of x.

    Attributes:
        name: as fits and locks call it. x: shape (n,), tokens/1e9 or the mapped column's own unit.
        y: shape (n,). se: standard errors of y, shape (n,), or None.
        activation: sigma's name where the table gives it, lower case.
        y_box: the physical range of y. dropped: leading points already left out.
        sha256: hash of the points (x and y), of all points of the series.
        parameters: count, from the table's column or the nominal size in the model's name; None where
            neither.
        width_depth_ratio: hidden size over layers where the table has it.
        quantity: criterion, rule and target by which y was measured; series of different ones are never
            compared.
        left_out: rows of the series that have no x, an x of 0, where no law begins, or no y in a column of y that was
            named.
        units: column -> the unit it was read in, and who named that.
    """

    name: str
    x: Array
    y: Array
    se: Array | None
    activation: str | None
    x_variable: Variable
    y_variable: Variable
    y_box: tuple[float, float]
    sha256: str
    dropped: int = 0
    parameters: float | None = None
    width_depth_ratio: float | None = None
    quantity: tuple[str, ...] = ()
    left_out: int = 0
    units: Mapping[str, str] = field(default_factory=dict)

    def without_leading(self, count: int, forward: str = RISING) -> Series:
        """The series without its first points: those of the smallest x, or of the largest where x goes down."""
        keep = slice(0, len(self.y) - count) if forward == FALLING else slice(count, None)
        se = None if self.se is None else self.se[keep]
        return replace(self, x=self.x[keep], y=self.y[keep], se=se, dropped=self.dropped + count)


@dataclass(frozen=True)
class _Row:
    line: int
    group: tuple[str, ...]
    activation: str | None
    x: float
    y: float
    se: float | None
    parameters: float | None
    width_depth_ratio: float | None
    quantity: tuple[str, ...]


def read_series(path: Path, *, mapping: Columns | None = None) -> list[Series]:
    """All series of a CSV, in order of first appearance.

    Where the column of y is named, rows without a value in it are left out: an export of several runs has one row for
    each step of any of them.

    Raises:
        SparsityLabError: no such file, a missing column, a value that is no number, out of range or twice
            there, or values that cannot be in the unit the column is read in.
    """
    header, raws = read_csv(path)
    mapping = mapping or Columns()
    columns = resolve(header, mapping, path)
    bare = [
        (line, raw)
        for line, raw in raws
        if _without_x(raw, columns) or (mapping.y is not None and not raw[columns.y])
    ]
    missing = {line for line, _ in bare}
    rows = [_row(raw, line, columns, path) for line, raw in raws if line not in missing]
    if bare:
        _say_left_out(bare, columns, path)
    if not rows:
        raise SparsityLabError(
            f"The table {path} has no rows with points",
            why=f"{len(bare)} rows have no {columns.x} or no {columns.y}" if bare else "",
            fix=FROM_MEASURE if bare and columns.measured else "Give it a row for each checkpoint",
        )
    _check_units(rows, columns, path)
    groups: dict[tuple[str, ...], list[_Row]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    names = _names(list(groups))
    apart = Counter(tuple((raw.get(column) or "").strip() for column in columns.group) for _, raw in bare)
    return [
        _series(names[group], members, columns, path, left_out=apart[group[: len(columns.group)]])
        for group, members in groups.items()
    ]


def _say_left_out(bare: Rows, columns: Resolved, path: Path) -> None:
    """Note which rows have no x or no y, and what supplies x."""
    lines = ", ".join(str(line) for line, _ in bare[:8]) + (", ..." if len(bare) > 8 else "")
    without_y = sum(not raw[columns.y] for _, raw in bare)
    blank = sum(not raw[columns.x] for _, raw in bare if raw[columns.y])
    reasons = [
        *([f"{blank} have no {columns.x}"] if blank else []),
        *([f"{without_y} have no {columns.y}"] if without_y else []),
    ]
    if len(bare) > blank + without_y:
        reasons.append(f"{columns.x} is 0 there, and the laws start above 0")
    logger.warning(
        "%s: %d row(s) are left out (line %s): %s.%s",
        path.name, len(bare), lines, "; ".join(reasons),
        f" {FROM_MEASURE}." if blank and columns.measured else "",
    )  # fmt: skip


def _check_units(rows: list[_Row], columns: Resolved, path: Path) -> None:
    """Refuse columns whose values cannot be in their unit."""
    scale = 1e9 if columns.in_tokens else 1.0
    columns.check(columns.x, [row.x * scale for row in rows], table=path.name)
    columns.check(columns.y, [row.y for row in rows], table=path.name)
    if columns.size is not None:
        sizes = [row.parameters for row in rows if row.parameters is not None]
        columns.check(columns.size, sizes, table=path.name)


def _row(raw: Mapping[str, str], line: int, columns: Resolved, path: Path) -> _Row:
    x = _number(raw, columns.x, line, path) * columns.factor(columns.x)
    y = _number(raw, columns.y, line, path) * columns.factor(columns.y)
    if why := magnitudes.beyond_x(x):
        raise _bad(path, line, columns.x, raw[columns.x], why, fix=magnitudes.SCALE_FIX)
    if why := magnitudes.beyond_y(y):
        raise _bad(path, line, columns.y, raw[columns.y], why, fix=magnitudes.SCALE_FIX)
    if x < 0:
        what = "Token counts cannot be negative" if columns.in_tokens else "The laws start above 0"
        raise _bad(path, line, columns.x, raw[columns.x], what)
    if columns.y_is_ratio and not 0.0 <= y <= 1.0:
        raise _bad(
            path, line, columns.y, raw[columns.y],
            f"An activation ratio lies between 0 and 1, and this column is read in {columns.units[columns.y]}",
            fix="Correct the cell, or name the column's unit: --unit activation_ratio=percent",
        )  # fmt: skip
    error = None
    if columns.se is not None and (raw.get(columns.se) or "").strip():
        error = _number(raw, columns.se, line, path) * columns.factor(columns.se)
        if error < 0:
            raise _bad(path, line, columns.se, raw[columns.se], "A standard error cannot be negative")
        if why := magnitudes.beyond_y(error):
            raise _bad(path, line, columns.se, raw[columns.se], why, fix=magnitudes.SCALE_FIX)
    group = tuple((raw.get(column) or "").strip() for column in columns.group)
    quantity = _quantity(raw, columns)
    if "rule" in columns.group:
        # One knob makes one curve, unless each checkpoint has a knob of its own by the rule.
        group += ("" if raw.get("rule") == OWN_KNOB else (raw.get("knob") or "").strip(),)
    size = _size(raw, line, columns, path)
    ratio = _number(raw, SHAPE, line, path) if (raw.get(SHAPE) or "").strip() else None
    return _Row(line, group, kind_of(raw), x / 1e9 if columns.in_tokens else x, y, error, size, ratio,
                quantity)  # fmt: skip


def _size(raw: Mapping[str, str], line: int, columns: Resolved, path: Path) -> float | None:
    """The parameter count: a number in the column's unit, or words such as 0.8B; None where the cell is blank."""
    text = (raw.get(columns.size or "") or "").strip()
    if columns.size is None or not text:
        return None
    return nominal_size(text) or _number(raw, columns.size, line, path) * columns.factor(columns.size)


def _without_x(raw: Mapping[str, str], columns: Resolved) -> bool:
    """Whether a row says nothing of its x: trained tokens that `measure` did not know, or a start at 0."""
    text = (raw.get(columns.x) or "").strip()
    if columns.measured and not text:
        return True
    try:
        return csv_numbers.number(text) == 0.0
    except ValueError:
        return False


def _quantity(raw: Mapping[str, str], columns: Resolved) -> tuple[str, ...]:
    """What was measured: one knob for a series is one quantity whatever the knob, a fixed knob another each."""
    named = [(raw.get(column) or "").strip() for column in columns.group if column in QUANTITIES]
    fixed = "rule" in columns.group and raw.get("rule") == FIXED_KNOB
    return (*named, (raw.get("knob") or "").strip()) if fixed else tuple(named)


def kind_of(raw: Mapping[str, str | None]) -> str | None:
    """The activation of a row, lower case; dReLU's config calls its function relu, its architecture tells."""
    named = first(ACTIVATIONS, raw)
    word = (raw.get(named) or "").strip().lower() if named else ""
    return DRELU if (raw.get("architecture") or "").startswith(DRELU) else word or None


def nominal_size(text: str) -> float | None:
    """The parameter count in a model's name, such as 0.8B or 350M."""
    found = NOMINAL.search(text)
    return float(found[1]) * (1e9 if found[2] == "B" else 1e6) if found else None


def _number(raw: Mapping[str, str], column: str, line: int, path: Path) -> float:
    text = raw.get(column)
    try:
        value = csv_numbers.number((text or "").strip())
    except ValueError:
        why, fix = csv_numbers.problem(text or "", percent=IN_PERCENT)
        raise _bad(path, line, column, text, why, fix=fix) from None
    if not math.isfinite(value):
        raise _bad(path, line, column, text, "That is not finite")
    return value


def _series(name: str, rows: list[_Row], columns: Resolved, path: Path, *, left_out: int) -> Series:
    rows = sorted(rows, key=lambda row: row.x)
    if columns.in_tokens:
        for before, after in itertools.pairwise(rows):
            if before.x == after.x:
                raise SparsityLabError(
                    f"{path}: lines {before.line} and {after.line}, column {columns.x!r}: "
                    f"the series {name!r} has the same token count twice",
                    why="Two values at one token count are two series, or one is a mistake",
                    fix="Remove one of the rows or tell the runs apart in the column series",
                )
    x, y = np.array([row.x for row in rows]), np.array([row.y for row in rows])
    if (ends := magnitudes.too_wide(x.tolist())) is not None:
        raise magnitudes.apart(path, columns.x, [(rows[at].line, rows[at].x) for at in ends])
    if len(again := [places for places, count in Counter(row.x for row in rows).items() if count > 1]) > 1:
        logger.warning(
            "%s: the series %r has %d values of %s more than once; if these are several runs, name the column that "
            "tells them apart with --group.", path.name, name, len(again), columns.x,
        )  # fmt: skip
    errors = [row.se for row in rows]
    se = None if any(error is None for error in errors) else np.array(errors, dtype=float)
    return Series(
        name, x, y, se, _shared(row.activation for row in rows),
        columns.x_variable,
        columns.y_variable,
        (0.0, 1.0) if columns.y_is_ratio else ANYTHING,
        sha256=hashlib.sha256(np.stack([x, y]).astype("<f8").tobytes()).hexdigest(),
        parameters=_shared(row.parameters for row in rows) or nominal_size(" ".join(rows[0].group)),
        width_depth_ratio=_shared(row.width_depth_ratio for row in rows),
        quantity=rows[0].quantity,
        left_out=left_out,
        units={column: str(unit) for column, unit in columns.units.items()},
    )  # fmt: skip


def _shared(values: Iterable[T]) -> T | None:
    """What all rows of a series say; None where they differ."""
    different = set(values)
    return different.pop() if len(different) == 1 else None


def _names(groups: list[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """Short names: only the parts that tell series apart, and always the first."""
    if groups == [()]:
        return {(): "all"}
    telling = [0] + [i for i in range(1, len(groups[0])) if len({group[i] for group in groups}) > 1]
    names = {group: "-".join(group[i] for i in telling if group[i]) for group in groups}
    return names if len(set(names.values())) == len(names) else {group: "-".join(group) for group in groups}


def _bad(
    path: Path, line: int, column: str, text: str | None, why: str, *,
    fix: str = "Correct the cell, or remove its row",
) -> SparsityLabError:  # fmt: skip
    return SparsityLabError(
        f"{path}: row {line}, column {column!r}: {(text or '')[:80]!r}",
        why=why,
        fix=fix,
    )
