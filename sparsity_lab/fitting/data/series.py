"""Reads tables of points into series, checked at the door: file, row and column named.

A table is either `measure`'s table.csv, or any CSV with the columns series (or model and activation), tokens
and activation_ratio, or any CSV at all with its columns named. Rows measured by different rules or criteria
are different quantities: they never share a series. Tokens become tokens/1e9 here, once; where a law has several
inputs, these are in the law's units, and the points of all runs are one series.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.data import magnitudes
from sparsity_lab.fitting.data.columns import RATIO_COLUMN, Resolved, resolve
from sparsity_lab.fitting.data.columns import Columns as Columns
from sparsity_lab.fitting.data.rows import FROM_MEASURE, Needs, PointRow, nominal_size, row_of, sorted_out
from sparsity_lab.fitting.data.text_parts import NO_PARTS, TextParts
from sparsity_lab.laws._law import ANY, FALLING, RISING, Array, Law, Variable
from sparsity_lab.reading.csv_file import read_csv
from sparsity_lab.store.error_parts import ErrorParts

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Series:
    """Points that one law is fitted to: those of one run in order of x, or of all runs in order of size.

    The size of a point of several inputs is their product, such as parameters times tokens.

    Attributes:
        name: as fits and locks call it.
        x: shape (n,), tokens/1e9 or the mapped column's own unit; shape (n, inputs) where there are several.
        y: shape (n,). se: standard errors of y, shape (n,), or None.
        activation: sigma's name where the table gives it, lower case.
        x_variables: what each input is. y_box: the physical range of y.
        sha256: hash of the points (x and y), of all points of the series.
        dropped: leading points already left out.
        parameters: count, from the table's column or the nominal size in the model's name; None where
            neither.
        width_depth_ratio: hidden size over layers where the table has it.
        quantity: criterion, rule and target by which y was measured; series of different ones are never
            compared.
        left_out: rows of the series that are excluded, or have no x, an x of 0 where the law begins above 0, or no y in
            a column of y that was named.
        units: column -> the unit it was read in, and who named that.
        runs: the run that each point belongs to, shape (n,); None where there is one input.
        held: numbers of the column whose largest are held out, shape (n,), or None.
        noise: relative standard deviations of the points by a model of their noise, shape (n,); None where it is even.
        text: what the text that y was measured on does to all points.
    """

    name: str
    x: Array
    y: Array
    se: Array | None
    activation: str | None
    x_variables: tuple[Variable, ...]
    y_variable: Variable
    y_box: tuple[float, float]
    sha256: str
    dropped: int = 0
    parameters: float | None = None
    width_depth_ratio: float | None = None
    quantity: tuple[str, ...] = ()
    left_out: int = 0
    units: Mapping[str, str] = field(default_factory=dict)
    runs: np.ndarray | None = None
    held: Array | None = None
    noise: Array | None = None
    text: TextParts = NO_PARTS

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return len(self.x_variables)

    @property
    def x_variable(self) -> Variable:
        """What the first input is."""
        return self.x_variables[0]

    @property
    def se_sha256(self) -> str:
        """Hash of the standard errors; empty where there are none."""
        return "" if self.se is None else hashlib.sha256(self.se.astype("<f8").tobytes()).hexdigest()

    def without_leading(self, count: int, forward: str = RISING) -> Series:
        """The series without its first points: those of the smallest x, or of the largest where x goes down."""
        keep = slice(0, len(self.y) - count) if forward == FALLING else slice(count, None)
        return replace(self.chosen(keep), dropped=self.dropped + count)

    def chosen(self, keep: slice | np.ndarray) -> Series:
        """The series with some of its points alone; name and hash stay."""

        def part(values: Any) -> Any:
            return None if values is None else values[keep]

        return replace(
            self, x=self.x[keep], y=self.y[keep], se=part(self.se), runs=part(self.runs), held=part(self.held),
            noise=part(self.noise), text=self.text.chosen(keep),
        )  # fmt: skip


def read_series(
    path: Path, *, mapping: Columns | None = None, law: Law | None = None, positive_y: str = ""
) -> list[Series]:
    """All series of a CSV, in order of first appearance; of several inputs one, or one for each of `mapping.by`.

    Where the column of y is named, rows without a value in it are left out: an export of several runs has one row for
    each step of any of them.

    Args:
        path: the table.
        mapping: which columns are what.
        law: the one to be fitted; says what several inputs are, and whether x may be 0 or negative. None for one that
            is chosen later, which begins above 0.
        positive_y: why y has to be above 0, such as that ln y is fitted; empty where it has not.

    Raises:
        SparsityLabError: no such file, a missing column, a value that is not a number, out of range or twice
            there, or values that cannot be in the unit the column is read in.
    """
    header, raws = read_csv(path)
    mapping = mapping or Columns()
    columns = resolve(header, mapping, path, law=law)
    above = columns.x if law is None else tuple(columns.x[place] for place in law.positive_inputs)
    needs = Needs(above, positive_y)
    kept, left = sorted_out(raws, columns, path, needs)
    rows = [row_of(raw, line, columns, path, needs) for line, raw in kept]
    if not rows:
        raise SparsityLabError(
            f"The table {path} has no rows with points",
            why=f"{len(left)} rows have no {columns.x[0]} or no {columns.y}, or are excluded" if left else "",
            fix=FROM_MEASURE if left and columns.measured else "Give it a row for each checkpoint",
        )
    _check_units(rows, columns, path)
    parts = ErrorParts.beside([path] if columns.measured and columns.y == RATIO_COLUMN else [])
    groups: dict[tuple[str, ...], list[PointRow]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    alone = "all" if len(columns.x) == 1 else f"{path.stem}-{_id(law)}"
    names = _names(list(groups), alone)
    apart = Counter(tuple((raw.get(column) or "").strip() for column in columns.group) for _, raw in left)
    return [
        _series(names[group], members, columns, path, parts, left_out=apart[group[: len(columns.group)]])
        for group, members in groups.items()
    ]


def _id(law: Law | None) -> str:
    """A law's id, or a word for a formula."""
    return law.name if law is not None and law.name in registry.names("laws") else "formula"


def _check_units(rows: list[PointRow], columns: Resolved, path: Path) -> None:
    """Refuse columns whose values cannot be in their unit."""
    scale = 1e9 if columns.in_tokens else 1.0
    for place, column in enumerate(columns.x):
        columns.check(column, [row.x[place] * scale for row in rows], table=path.name)
    columns.check(columns.y, [row.y for row in rows], table=path.name)
    if columns.size is not None:
        sizes = [row.parameters for row in rows if row.parameters is not None]
        columns.check(columns.size, sizes, table=path.name)


def _series(
    name: str, rows: list[PointRow], columns: Resolved, path: Path, parts: ErrorParts, *, left_out: int
) -> Series:
    several = len(columns.x) > 1
    points = np.array([(*row.x, row.y) for row in rows])
    order = np.argsort(_size_of(points[:, :-1]) if several else points[:, 0], kind="stable")
    placed = points[order]
    rows = [rows[i] for i in order]
    for place, column in enumerate(columns.x):
        if (ends := magnitudes.too_wide([row.x[place] for row in rows])) is not None:
            raise magnitudes.apart(path, column, [(rows[at].line, rows[at].x[place]) for at in ends])
    if not several:
        _check_places(name, rows, columns, path)
    x, y = placed[:, :-1], placed[:, -1]
    # Both kinds are hashed as they always were: rows as in the table, or x and then y in order of x.
    hashed = points if several else np.stack([x[:, 0], y])
    errors = [row.se for row in rows]
    return Series(
        name, x if several else x[:, 0], y,
        None if any(error is None for error in errors) else np.array(errors, dtype=float),
        _shared(row.activation for row in rows),
        columns.x_variables,
        columns.y_variable,
        (0.0, 1.0) if columns.y_is_ratio else ANY,
        sha256=hashlib.sha256(hashed.astype("<f8").tobytes()).hexdigest(),
        parameters=None if several else _parameters(rows),
        width_depth_ratio=None if several else _shared(row.width_depth_ratio for row in rows),
        quantity=rows[0].quantity,
        left_out=left_out,
        units={column: str(unit) for column, unit in columns.units.items()},
        runs=np.array([row.run for row in rows]) if several else None,
        held=None if columns.asked.holdout is None else np.array([row.held for row in rows], dtype=float),
        text=TextParts(parts.of([row.key for row in rows]), parts.freedom),
    )  # fmt: skip


def _parameters(rows: list[PointRow]) -> float | None:
    return _shared(row.parameters for row in rows) or nominal_size(" ".join(rows[0].group))


def _size_of(x: Array) -> Array:
    """What points of several inputs (n, inputs) are put in order by: the product, or a sum of shares of the ranges."""
    if np.all(x > 0):
        return np.asarray(np.log(x).sum(axis=1))
    return np.asarray(((x - x.min(axis=0)) / np.maximum(np.ptp(x, axis=0), 1e-300)).sum(axis=1))


def _check_places(name: str, rows: list[PointRow], columns: Resolved, path: Path) -> None:
    """Refuse one token count twice; note other values of x that are there again and again."""
    x = columns.x[0]
    if columns.in_tokens:
        for before, after in itertools.pairwise(rows):
            if before.x == after.x:
                raise SparsityLabError(
                    f"{path}: lines {before.line} and {after.line}, column {x!r}: "
                    f"the series {name!r} has the same token count twice",
                    why="Two values at one token count are two series, or one is a mistake",
                    fix="Remove one of the rows or tell the runs apart in the column series",
                )
    if len(again := [place for place, count in Counter(row.x for row in rows).items() if count > 1]) > 1:
        logger.warning(
            "%s: the series %r has %d values of %s more than once; if these are several runs, name the column that "
            "tells them apart with --group.", path.name, name, len(again), x,
        )  # fmt: skip


def _shared(values: Iterable[T]) -> T | None:
    """What all rows of a series say; None where they differ."""
    different = set(values)
    return different.pop() if len(different) == 1 else None


def _names(groups: list[tuple[str, ...]], alone: str) -> dict[tuple[str, ...], str]:
    """Short names: only the parts that tell series apart, and always the first."""
    if groups == [()]:
        return {(): alone}
    telling = [0] + [i for i in range(1, len(groups[0])) if len({group[i] for group in groups}) > 1]
    names = {group: "-".join(group[i] for i in telling if group[i]) for group in groups}
    return names if len(set(names.values())) == len(names) else {group: "-".join(group) for group in groups}
