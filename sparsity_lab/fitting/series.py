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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.csv_file import read_csv
from sparsity_lab.laws._law import DATA, RATIO, Array, Variable

logger = logging.getLogger(__name__)

# In a table of `measure` the column tokens counts the text measured on, so the other name comes first.
TOKENS = ("trained_tokens", "tokens")
RATIO_COLUMN = "activation_ratio"
ERROR_COLUMN = "activation_ratio_se"
NAMES = ("series", "model")
ACTIVATIONS = ("activation", "activation_function")
# What else sets one quantity apart from another in a table of `measure`.
QUANTITIES = ("criterion", "rule", "ppl_increase_target")
DRELU = "drelu"
OWN_KNOB = "ppl-increase"
FIXED_KNOB = "fixed"
SIZES = ("params_nonembedding", "params_total", "parameters")
NOMINAL = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s*([MB])(?![a-zA-Z])")
SHAPE = "width_depth_ratio"
ANYTHING = (-math.inf, math.inf)


@dataclass(frozen=True)
class Columns:
    """Which columns of a foreign CSV are what; None where the usual names hold."""

    x: str | None = None
    y: str | None = None
    group: str | None = None
    se: str | None = None


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

    def without_leading(self, count: int) -> Series:
        """The series without its first points."""
        se = None if self.se is None else self.se[count:]
        return replace(self, x=self.x[count:], y=self.y[count:], se=se, dropped=self.dropped + count)


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


@dataclass(frozen=True)
class _Resolved:
    x: str
    y: str
    se: str | None
    group: tuple[str, ...]

    @property
    def in_tokens(self) -> bool:
        return self.x in TOKENS

    @property
    def y_is_ratio(self) -> bool:
        return self.y == RATIO_COLUMN


def read_series(path: Path, *, mapping: Columns | None = None) -> list[Series]:
    """All series of a CSV, in order of first appearance.

    Raises:
        SparsityLabError: no such file, a missing column, or a value that is no number, out of range or twice
            there.
    """
    header, raws = read_csv(path)
    columns = _columns(header, mapping or Columns(), path)
    rows = [row for line, raw in raws if (row := _row(raw, line, columns, path)) is not None]
    if not rows:
        raise SparsityLabError(
            f"The table {path} has no rows with points", fix="Give it a row for each checkpoint"
        )
    groups: dict[tuple[str, ...], list[_Row]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    names = _names(list(groups))
    return [_series(names[group], members, columns, path) for group, members in groups.items()]


def _columns(header: list[str], mapping: Columns, path: Path) -> _Resolved:
    for named in (mapping.x, mapping.y, mapping.group, mapping.se):
        if named is not None and named not in header:
            raise _missing(path, (named,), header)
    x = mapping.x or _first(TOKENS, header)
    y = mapping.y or _first((RATIO_COLUMN,), header)
    if x is None or y is None:
        raise _missing(path, TOKENS if x is None else (RATIO_COLUMN,), header)
    activation = _first(ACTIVATIONS, header)
    se = mapping.se or _first((ERROR_COLUMN,) if y == RATIO_COLUMN else (), header)
    if mapping.group is not None:
        group: tuple[str, ...] = (mapping.group,)
    else:
        group = _default_group(header, mapping, activation, path)
    return _Resolved(x, y, se, group)


def _default_group(
    header: list[str], mapping: Columns, activation: str | None, path: Path
) -> tuple[str, ...]:
    name = _first(NAMES, header)
    if name is None:
        if mapping.x is None and mapping.y is None:
            raise _missing(path, ("series", "model"), header)
        return ()
    extra = tuple(column for column in QUANTITIES if column in header)
    # A series column names the run in full; a model column does so only together with the activation.
    return (name, *((activation,) if name == "model" and activation else ()), *extra)


def _row(raw: Mapping[str, str], line: int, columns: _Resolved, path: Path) -> _Row | None:
    x = _number(raw, columns.x, line, path)
    y = _number(raw, columns.y, line, path)
    if columns.in_tokens:
        if x < 0:
            raise _bad(path, line, columns.x, raw[columns.x], "Token counts cannot be negative")
        if x == 0:
            logger.info("%s: line %d has 0 tokens and is left out: the laws start at D > 0.", path.name, line)
            return None
    if columns.y_is_ratio and not 0.0 <= y <= 1.0:
        raise _bad(path, line, columns.y, raw[columns.y], "An activation ratio lies between 0 and 1")
    error = None
    if columns.se is not None and (raw.get(columns.se) or "").strip():
        error = _number(raw, columns.se, line, path)
        if error < 0:
            raise _bad(path, line, columns.se, raw[columns.se], "A standard error cannot be negative")
    group = tuple((raw.get(column) or "").strip() for column in columns.group)
    quantity = _quantity(raw, columns)
    if "rule" in columns.group:
        # One knob makes one curve, unless each checkpoint has a knob of its own by the rule.
        group += ("" if raw.get("rule") == OWN_KNOB else (raw.get("knob") or "").strip(),)
    size = _optional(raw, _first(SIZES, raw)) or nominal_size(" ".join(group))
    ratio = _optional(raw, SHAPE if SHAPE in raw else None)
    return _Row(line, group, kind_of(raw), x / 1e9 if columns.in_tokens else x, y, error, size, ratio,
                quantity)  # fmt: skip


def _quantity(raw: Mapping[str, str], columns: _Resolved) -> tuple[str, ...]:
    """What was measured: one knob for a series is one quantity whatever the knob, a fixed knob another each."""
    named = [(raw.get(column) or "").strip() for column in columns.group if column in QUANTITIES]
    fixed = "rule" in columns.group and raw.get("rule") == FIXED_KNOB
    return (*named, (raw.get("knob") or "").strip()) if fixed else tuple(named)


def kind_of(raw: Mapping[str, str | None]) -> str | None:
    """The activation of a row, lower case; dReLU's config calls its function relu, its architecture tells."""
    named = _first(ACTIVATIONS, raw)
    word = (raw.get(named) or "").strip().lower() if named else ""
    return DRELU if (raw.get("architecture") or "").startswith(DRELU) else word or None


def nominal_size(text: str) -> float | None:
    """The parameter count in a model's name, such as 0.8B or 350M."""
    found = NOMINAL.search(text)
    return float(found[1]) * (1e9 if found[2] == "B" else 1e6) if found else None


def _optional(raw: Mapping[str, str], column: str | None) -> float | None:
    """A number of a column that is not needed; None where there is none."""
    try:
        return float(raw[column] or "") if column is not None else None
    except ValueError:
        return None


def _number(raw: Mapping[str, str], column: str, line: int, path: Path) -> float:
    text = raw.get(column)
    try:
        value = float((text or "").strip())
    except ValueError:
        raise _bad(path, line, column, text, "That is no number") from None
    if not math.isfinite(value):
        raise _bad(path, line, column, text, "That is not finite")
    return value


def _series(name: str, rows: list[_Row], columns: _Resolved, path: Path) -> Series:
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
    errors = [row.se for row in rows]
    se = None if any(error is None for error in errors) else np.array(errors, dtype=float)
    return Series(
        name, x, y, se, rows[0].activation,
        DATA if columns.in_tokens else Variable(columns.x, columns.x, "as in the table"),
        RATIO if columns.y_is_ratio else Variable(columns.y, columns.y, "as in the table"),
        (0.0, 1.0) if columns.y_is_ratio else ANYTHING,
        sha256=hashlib.sha256(np.stack([x, y]).astype("<f8").tobytes()).hexdigest(),
        parameters=rows[0].parameters,
        width_depth_ratio=rows[0].width_depth_ratio,
        quantity=rows[0].quantity,
    )  # fmt: skip


def _names(groups: list[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """Short names: only the parts that tell series apart, and always the first."""
    if groups == [()]:
        return {(): "all"}
    telling = [0] + [i for i in range(1, len(groups[0])) if len({group[i] for group in groups}) > 1]
    names = {group: "-".join(group[i] for i in telling if group[i]) for group in groups}
    return names if len(set(names.values())) == len(names) else {group: "-".join(group) for group in groups}


def _first(wanted: Iterable[str], header: Iterable[str]) -> str | None:
    return next((name for name in wanted if name in header), None)


def _missing(path: Path, wanted: tuple[str, ...], header: list[str]) -> SparsityLabError:
    return SparsityLabError(
        f"{path}: row 1 (the header) has no column {' or '.join(repr(name) for name in wanted)}",
        why=f"It has: {', '.join(header) or 'nothing'}",
        fix="Rename a column, or name yours with --x, --y, --group and --se",
    )


def _bad(path: Path, line: int, column: str, text: str | None, why: str) -> SparsityLabError:
    return SparsityLabError(
        f"{path}: row {line}, column {column!r}: {(text or '')[:80]!r}",
        why=why,
        fix="Correct the cell, or remove its row",
    )
