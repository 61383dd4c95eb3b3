"""Locks of laws of several inputs: what a fit over a ladder of runs said when somebody agreed to it.

The same idea, tolerances and place as in `locks`, with probe points in the plane of the inputs and the columns
that the table was read by.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.judge.verdict import NOT
from sparsity_lab.fitting.ladders.runs import LadderColumns, Runs, RunsFit
from sparsity_lab.fitting.locks.toml import (
    BUNDLED,
    INCOMPLETE,
    LOCK_ANEW,
    PINNED,
    UNREADABLE,
    Tolerance,
    coefficients_in,
    counted,
    parsed,
    tolerance_in,
    toml_key,
    toml_value,
    typed,
)
from sparsity_lab.fitting.solve import diagnostics
from sparsity_lab.fitting.solve.objective import HUBER, SQUARES
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.fitting.uncertainty import noise
from sparsity_lab.laws._law import Array, Law
from sparsity_lab.reading.unreadable import why_unread
from sparsity_lab.store.records import write_text

FORMAT = 1
KIND = "runs"
PROBES_PER_INPUT = 3
AHEAD = 10.0  # times the largest of every input at once


@dataclass(frozen=True)
class RunsProbe:
    """A prediction: y of the law at x, one number an input, with the standard error of the curve."""

    x: tuple[float, ...]
    y: float
    se: float


@dataclass(frozen=True)
class RunsLock:
    """One locked fit over a ladder; the fields mean what they mean in `locks.Lock`.

    Attributes:
        huber: whether the sum of Huber losses was minimised, rather than the sum of squares.
    """

    series: str
    law: str
    verdict: str
    reason: str
    huber: bool
    seed: int
    table: str
    points_sha256: str
    points: int
    columns: LadderColumns
    coefficients: dict[str, tuple[float, float]]
    probes: tuple[RunsProbe, ...]
    prediction_tolerance: Tolerance
    coefficient_tolerance: Tolerance


def lock_of(runs: Runs, fit: RunsFit, *, table: str, columns: LadderColumns, reason: str) -> RunsLock:
    """The lock of a fit over a ladder.

    Raises:
        SparsityLabError: no reason is given.
    """
    if not reason.strip():
        raise SparsityLabError("A lock needs a reason", fix='Say why these numbers hold: --reason "..."')
    law, values = fit.law, fit.values
    spread = _covariance(runs, fit)
    xs = probe_points(runs.x, ahead=fit.verdict.word != NOT)
    jacobian = diagnostics.curve_jacobian(law, values, xs)
    errors = np.sqrt(np.einsum("ij,jk,ik->i", jacobian, spread, jacobian))
    probes = zip(xs, law.predict(values, xs), errors, strict=True)
    return RunsLock(
        series=name_of(table, law),
        law=law.name,
        verdict=fit.verdict.word,
        reason=reason.strip(),
        huber=fit.huber,
        seed=fit.seed,
        table=table,
        points_sha256=fit.sha256,
        points=fit.points,
        columns=columns,
        coefficients={n: (v, float(math.sqrt(spread[i, i]))) for i, (n, v) in enumerate(values.items())},
        probes=tuple(RunsProbe(tuple(map(float, x)), float(y), float(se)) for x, y, se in probes),
        prediction_tolerance=PINNED[0],
        coefficient_tolerance=PINNED[1],
    )


def name_of(table: str, law: Law) -> str:
    """What a lock of a table by a law is called."""
    return f"{Path(table.removeprefix(BUNDLED)).stem}-{law.name}"


def probe_points(x: Array, *, ahead: bool) -> Array:
    """A grid over the data's range, and one point beyond it where the law has a say there; (probes, inputs)."""
    axes = [np.geomspace(low, high, PROBES_PER_INPUT) for low, high in zip(x.min(0), x.max(0), strict=True)]
    inside = np.array(list(itertools.product(*axes)))
    return np.vstack([inside, AHEAD * x.max(0)]) if ahead else inside


def is_runs_lock(path: Path) -> bool:
    """Whether the file is a lock of this kind; a file that cannot be read is left to who reads it."""
    try:
        return parsed(path).get("kind") == KIND
    except UNREADABLE:
        return False


def write(lock: RunsLock, path: Path) -> None:
    """Write a lock, whole or not at all."""
    write_text(path, to_toml(lock))


def read(path: Path) -> RunsLock:
    """Read a lock.

    Raises:
        SparsityLabError: it cannot be read, or lacks a key.
    """
    try:
        return _from_raw(parsed(path))
    except UNREADABLE as error:
        raise SparsityLabError(
            f"Cannot read the lock {path}", why=why_unread(path, error), fix=LOCK_ANEW
        ) from error
    except INCOMPLETE as error:
        raise SparsityLabError(
            f"The lock {path} is not complete", why=f"{type(error).__name__}: {error}"[:400], fix=LOCK_ANEW
        ) from error


def to_toml(lock: RunsLock) -> str:
    """The text of a lock."""
    columns = {key: value for key, value in asdict(lock.columns).items() if value}
    lines = [
        "# A locked fit over a ladder of runs: `sparsity-lab check` refits its input and compares. Change it",
        "# with `sparsity-lab check --update --reason ...`, or edit a tolerance together with its reason.",
        f"format = {FORMAT}",
        f'kind = "{KIND}"',
        *_pairs(vars(lock), ("series", "law", "verdict", "reason", "huber", "seed")),
        "",
        "[input]",
        *_pairs(vars(lock), ("table", "points_sha256", "points")),
        *_pairs(columns, tuple(columns)),
    ]
    for name in ("prediction_tolerance", "coefficient_tolerance"):
        parts = vars(getattr(lock, name))
        lines += ["", f"[{name}]", *_pairs(parts, tuple(parts))]
    for coefficient, (value, se) in lock.coefficients.items():
        lines += [
            "",
            f"[coefficients.{toml_key(coefficient)}]",
            *_pairs({"value": value, "se": se}, ("value", "se")),
        ]
    for probe in lock.probes:
        lines += ["", "[[probes]]", *_pairs(vars(probe), ("x", "y", "se"))]
    return "\n".join(lines) + "\n"


def _pairs(values: dict[str, Any], keys: Sequence[str]) -> list[str]:
    return [f"{key} = {toml_value(values[key])}" for key in keys]


def _from_raw(raw: dict[str, Any]) -> RunsLock:
    if raw["format"] != FORMAT:
        raise ValueError(f"format {raw['format']}, this version reads {FORMAT}")
    if not str(raw["reason"]).strip():
        raise ValueError("the reason is empty")
    given = raw["input"]
    return RunsLock(
        **{key: typed(raw, key, str) for key in ("series", "law", "verdict", "reason")},
        huber=typed(raw, "huber", bool),
        seed=counted(raw, "seed"),
        **{key: typed(given, key, str) for key in ("table", "points_sha256")},
        points=counted(given, "points"),
        columns=LadderColumns(
            tuple(map(str, typed(given, "x", list))),
            typed(given, "y", str),
            **{key: typed(given, key, str) for key in ("group", "exclude") if key in given},
            unit=tuple(map(str, typed(given, "unit", list))) if "unit" in given else (),
        ),
        coefficients=coefficients_in(raw),
        probes=tuple(
            RunsProbe(
                tuple(map(float, typed(one, "x", list))), typed(one, "y", float), typed(one, "se", float)
            )
            for one in raw["probes"]
        ),
        prediction_tolerance=tolerance_in(raw, "prediction_tolerance"),
        coefficient_tolerance=tolerance_in(raw, "coefficient_tolerance"),
    )


def _covariance(runs: Runs, fit: RunsFit) -> Array:
    """Of the coefficients; Huber losses are on ln y, so their noise is relative."""
    objective = HUBER if fit.huber else SQUARES
    problem = Problem.of(fit.law, runs.x, runs.y, objective=objective, runs=runs.groups)
    variance = noise.scale_of(problem, fit.solution).variance
    return diagnostics.covariance(fit.law, fit.values, runs.x, variance=variance, relative=fit.huber)
