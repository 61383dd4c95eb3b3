"""Compares fitted coefficients with published ones, to the tolerance that the printed digits imply.

A coefficient printed with three digits is known to half a unit of the third. Coefficients of one fit are
tied to each other: rounding c by half a unit moves the best b. So the tolerance of coefficient j is its own
half unit plus, to first order, what the others' half units move its best value: sum_i |H_ji| / H_jj half_i
with H = J^T J of the law at the printed values. A sum of squares alone would let wrong coefficients pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsity_lab.fitting.data.series import read_series
from sparsity_lab.fitting.result import FitResult
from sparsity_lab.fitting.solve import diagnostics
from sparsity_lab.laws._law import Array, Law
from sparsity_lab.store import bundled

BUNDLED = "sparsing-law-published"
SPARSING_LAW, CHINCHILLA = "sparsing-law", "chinchilla"


@dataclass(frozen=True)
class PublishedRow:
    """A published fit; coefficients as the texts printed."""

    series: str
    law: str
    dropped: int
    printed: Mapping[str, str]
    reproduces: bool


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


def published_rows() -> dict[str, PublishedRow]:
    """The published fits of the bundled series, by series."""
    return {row["series"]: _published(row) for row in bundled.rows(BUNDLED)}


def _published(row: Mapping[str, str]) -> PublishedRow:
    printed = {name: row[name] for name in ("alpha", "b", "c", "A0") if row[name]}
    reproduces = row["reproduces"] == "yes"
    return PublishedRow(row["series"], row["law"], int(row["dropped_points"]), printed, reproduces)


def compare(result: FitResult, row: PublishedRow) -> list[Agreement]:
    """Each coefficient of a fit against the printed one."""
    values = {name: float(text) for name, text in row.printed.items()}
    halves = np.array([half_unit(text) for text in row.printed.values()])
    tolerances = implied_tolerance(result.law, values, halves, result.series.x)
    fitted = result.values
    return [
        Agreement(row.series, row.law, name, text, fitted[name], float(tolerance),
                  bool(abs(fitted[name] - values[name]) <= tolerance))
        for (name, text), tolerance in zip(row.printed.items(), tolerances, strict=True)
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
    known = published_rows()
    ours = {series.name: series.sha256 for series in read_series(bundled.path("sparsing-law"))}
    found = []
    for result in results:
        row = known.get(result.series.name)
        if row is None or ours.get(result.series.name) != result.series.sha256 or row.law != result.law.name:
            continue
        if result.series.dropped == row.dropped and result.describes:
            found += compare(result, row)
    return found


def usual(table: str) -> dict[str, Any]:
    """Settings of `FitSpec` and `Columns` that fit a bundled table as its publication did; none for other tables."""
    if table == SPARSING_LAW:
        return {"drop": drops(), "drop_rule": "the number with which the published row reproduces"}
    if table == CHINCHILLA:
        return {"x": ("params", "tokens"), "y": "loss", "exclude": "epoch_excluded", "robust": True}
    return {}


def drops() -> dict[str, int]:
    """Leading points to leave out of each bundled series so that its published row reproduces."""
    return {name: row.dropped for name, row in published_rows().items()}
