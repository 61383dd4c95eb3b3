"""Compares fitted coefficients with published ones, to the tolerance that the printed digits imply.

A coefficient printed with three digits is known to half a unit of the third. Coefficients of one fit are
tied to each other: rounding c by half a unit moves the best b. So the tolerance of coefficient j is its own
half unit plus, to first order, what the others' half units move its best value: sum_i |H_ji| / H_jj half_i
with H = J^T J of the law at the printed values. A sum of squares alone would let wrong coefficients pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np

from sparsity_lab.fitting.data.columns import Columns
from sparsity_lab.fitting.data.series import Series, read_series
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.result import FitResult
from sparsity_lab.fitting.solve import diagnostics
from sparsity_lab.fitting.spec import SEVERAL_INPUTS
from sparsity_lab.laws._law import Array, Law
from sparsity_lab.reading.json_file import read_object
from sparsity_lab.settings import AUTO, EVEN
from sparsity_lab.store import bundled

TABLES = "published_fits.json"
SPARSING_LAW = "sparsing-law"
DROP_RULE = "the number with which the published row reproduces"


@dataclass(frozen=True)
class PublishedRow:
    """A published fit; coefficients as the texts printed.

    Attributes:
        predicted: predictions as printed, each with its inputs.
        dropped: leading points to leave out so that it reproduces. reproduces: whether a fit to the public points does.
    """

    series: str
    law: str
    printed: Mapping[str, str]
    predicted: tuple[tuple[tuple[float, ...], str], ...] = ()
    dropped: int = 0
    reproduces: bool = True


@dataclass(frozen=True)
class PublishedTable:
    """A bundled table whose fit was published.

    Attributes:
        points: the bundled table.
        settings: of `FitSpec` and `Columns`, with which the publication fitted it.
        source: where the coefficients were read. rows: by name of series.
    """

    points: str
    settings: Mapping[str, Any]
    source: str
    rows: Mapping[str, PublishedRow]

    def series(self) -> list[Series]:
        """The points, as the publication read them."""
        names = {field.name for field in fields(Columns)}
        columns = Columns(**{name: value for name, value in self.settings.items() if name in names})
        usual = SEVERAL_INPUTS if columns.several else None
        name = self.settings.get("law", usual)
        law = None if name is None else load_law(name)
        return read_series(bundled.path(self.points), mapping=columns, law=law)


@dataclass(frozen=True)
class Agreement:
    """One coefficient, published and fitted."""

    series: str
    law: str
    coefficient: str
    published: str
    fitted: float
    tolerance: float
    within: bool


@lru_cache(maxsize=1)
def tables() -> dict[str, PublishedTable]:
    """Every bundled table whose fit was published, by name."""
    entries = read_object(bundled.FOLDER / TABLES, fix="Install sparsity-lab again")
    return {name: _table(name, entry) for name, entry in entries.items()}


def _table(name: str, entry: Mapping[str, Any]) -> PublishedTable:
    settings = {
        name: tuple(value) if isinstance(value, list) else value for name, value in entry["settings"].items()
    }
    rows = {
        name: PublishedRow(
            name, row["law"], row["printed"],
            tuple((tuple(each["x"]), each["printed"]) for each in row.get("predicted", ())),
            row.get("drop", 0), row.get("reproduces", True),
        )
        for name, row in entry["series"].items()
    }  # fmt: skip
    if any(row.dropped for row in rows.values()):
        settings |= {"drop": {name: row.dropped for name, row in rows.items()}, "drop_rule": DROP_RULE}
    return PublishedTable(entry.get("table", name), settings, entry["source"], rows)


def names() -> list[str]:
    """What `fit --data` takes: bundled tables, and published fits of them."""
    return sorted({*bundled.names(), *tables()})


def points_of(name: str) -> str:
    """The bundled table behind what `fit --data` takes.

    Raises:
        UnknownNameError: there is none; names the nearest one.
    """
    if name in tables():
        return tables()[name].points
    bundled.path(name)
    return name


def published_rows(table: str = SPARSING_LAW) -> Mapping[str, PublishedRow]:
    """The published fits of a bundled table, by series."""
    return tables()[table].rows


def compare(result: FitResult, row: PublishedRow) -> list[Agreement]:
    """Each coefficient of a fit against the printed one; those that are not printed are as fitted."""
    fitted = result.values
    others = {name: value for name, value in fitted.items() if name not in row.printed}
    values = {**{name: float(text) for name, text in row.printed.items()}, **others}
    halves = np.array([half_unit(row.printed[name]) if name in row.printed else 0.0 for name in values])
    tolerances = implied_tolerance(result.law, values, halves, result.series.x)
    return [
        Agreement(row.series, row.law, name, text, fitted[name], float(tolerance),
                  bool(abs(fitted[name] - values[name]) <= tolerance))
        for (name, text), tolerance in zip(row.printed.items(), tolerances, strict=False)
    ]  # fmt: skip


def half_unit(text: str) -> float:
    """Half a unit of the last printed digit."""
    mantissa, _, exponent = text.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 0.5 * 10.0 ** (int(exponent or 0) - decimals)


def implied_tolerance(law: Law, values: Mapping[str, float], halves: Array, x: Array) -> Array:
    """Half units of all coefficients, as they act on the best value of each; shape (coefficients,)."""
    jacobian = diagnostics.curve_jacobian(law, values, x)
    hessian = np.abs(jacobian.T @ jacobian)
    return np.asarray(hessian @ halves / np.diag(hessian))


def agreements(results: Sequence[FitResult]) -> list[Agreement]:
    """All coefficients of fits whose points, law and drops are those of a published row."""
    found = []
    for table in tables().values():
        named = [result for result in results if result.series.name in table.rows and result.describes]
        if not named:
            continue
        ours = {series.name: series.sha256 for series in table.series()}
        for result in named:
            row = table.rows[result.series.name]
            same = ours.get(row.series) == result.series.sha256 and row.law == result.law.name
            if same and result.series.dropped == row.dropped:
                found += compare(result, row)
    return found


def as_published(table: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of `FitSpec` and `Columns` for a bundled table: those asked for, else those of its publication.

    Args:
        table: its name; any other has no settings of its own. asked: settings that a user named.
    """
    usual = dict(tables()[table].settings) if table in tables() else {}
    if asked.get("robust") or asked.get("log") or asked.get("weighted") or asked.get("noise", EVEN) != EVEN:
        usual = {name: value for name, value in usual.items() if name not in ("robust", "log")}
    if "x" in asked and asked["x"] != usual.get("x"):
        usual.pop("law", None)
    if "drop" in asked and "drop_rule" not in asked:
        usual["drop_rule"] = "" if asked["drop"] == AUTO else "as asked for"  # `auto` names its rule
    return {**usual, **asked}


def drops() -> dict[str, int]:
    """Leading points to leave out of each series of the Sparsing Law so that its published row reproduces."""
    return {name: row.dropped for name, row in published_rows().items()}
