"""Locks: what a fit said when somebody agreed to it, as TOML beside the results.

`results/<study>/locks/<series>.toml` holds the input's hash, predictions at probe points with their standard
errors, coefficients with theirs, the verdict, tolerances and the reason they were agreed to. A difference is
tolerated up to the largest of an absolute, a relative and a standard-error part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.data.columns import Columns
from sparsity_lab.fitting.data.series import Series
from sparsity_lab.fitting.judge.verdict import NOT
from sparsity_lab.fitting.locks.toml import (
    FOLLOWED,
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
from sparsity_lab.fitting.result import FitResult
from sparsity_lab.fitting.solve import diagnostics
from sparsity_lab.fitting.solve.problem import Problem, Solution
from sparsity_lab.fitting.spec import RIVALS
from sparsity_lab.reading.unreadable import why_unread
from sparsity_lab.store.records import write_text

FORMAT = 1
UNNAMED_RIVALS = (
    "power",
    "logspace-power",
    "sigmoid",
    "logarithmic",
    "constant",
)  # of a lock that names none
PROBES_INSIDE = 7
PROBES_AHEAD = (1.5, 2.0, 3.0)  # times the largest x of the fit


@dataclass(frozen=True)
class Probe:
    """A prediction: y of the law at x with the standard error of the curve."""

    x: float
    y: float
    se: float


@dataclass(frozen=True)
class Lock:
    """One locked fit.

    Attributes:
        table: `bundled:NAME`, or a path relative to the study's folder. points_sha256: of the series' points.
        pinned: another hash is stale; otherwise the table may be measured anew and only drift counts.
        noise_sd: standard deviation of the residuals; freedom: points less coefficients.
        coefficients: name -> (value, standard error).
        rivals: ids of the laws the verdict was reached against.
    """

    series: str
    law: str
    verdict: str
    reason: str
    table: str
    points_sha256: str
    pinned: bool
    points: int
    dropped_points: int
    last_x: float
    noise_sd: float
    freedom: int
    probes: tuple[Probe, ...]
    coefficients: dict[str, tuple[float, float]]
    prediction_tolerance: Tolerance
    coefficient_tolerance: Tolerance
    columns: Columns = field(default_factory=Columns)
    weighted: bool = False
    seed: int = 0
    rivals: tuple[str, ...] = RIVALS


def lock_of(
    result: FitResult, *, table: str, reason: str, pinned: bool = True, columns: Columns | None = None
) -> Lock:
    """The lock of a fit.

    Raises:
        SparsityLabError: no reason is given.
    """
    problem = Problem.of(result.law, result.series.x, result.series.y)
    theta = problem.law.locate(result.values, problem.span)
    solution = Solution(theta, problem.project(theta).linear, result.sse)
    agreed = Agreed(
        table, reason, pinned, columns or Columns(), result.seed, result.weighted, _rivals(result)
    )
    return lock_from(result.series, problem, solution, verdict=result.verdict.word, agreed=agreed)


@dataclass(frozen=True)
class Agreed:
    """What a lock says beside its numbers: who agreed to what, and how it is fitted again.

    Attributes:
        table: the input, as `toml.table_entry` writes it.
        reason: why these numbers hold.
        pinned: whether the points may not change, or are followed as they grow.
        columns: how the table is read.
        seed, weighted, rivals: of the fit.
    """

    table: str
    reason: str
    pinned: bool
    columns: Columns
    seed: int
    weighted: bool
    rivals: tuple[str, ...] = RIVALS


def lock_from(series: Series, problem: Problem, solution: Solution, *, verdict: str, agreed: Agreed) -> Lock:
    """A lock of a solved problem; `lock_of` makes one of a finished fit."""
    if not agreed.reason.strip():
        raise SparsityLabError("A lock needs a reason", fix='Say why these numbers hold: --reason "..."')
    law, values = problem.law, problem.coefficients(solution.theta)
    residuals = series.y - law.predict(values, series.x)
    freedom = max(len(series.y) - len(law.parameters), 1)
    variance = float(residuals @ residuals) / freedom
    spread = diagnostics.covariance(law, values, series.x, variance=variance)
    prediction, coefficient = PINNED if agreed.pinned else FOLLOWED
    xs = probe_points(series.x, ahead=verdict != NOT)
    errors = np.sqrt(np.einsum("ij,jk,ik->i", *_sandwich(law, values, xs, spread)))
    return Lock(
        series=series.name,
        law=law.name,
        verdict=verdict,
        reason=agreed.reason.strip(),
        table=agreed.table,
        points_sha256=series.sha256,
        pinned=agreed.pinned,
        points=len(series.y),
        dropped_points=series.dropped,
        last_x=float(series.x.max()),
        noise_sd=math.sqrt(variance),
        freedom=freedom,
        probes=tuple(Probe(*map(float, p)) for p in zip(xs, law.predict(values, xs), errors, strict=True)),
        coefficients={n: (v, float(math.sqrt(spread[i, i]))) for i, (n, v) in enumerate(values.items())},
        prediction_tolerance=prediction,
        coefficient_tolerance=coefficient,
        columns=agreed.columns,
        weighted=agreed.weighted,
        seed=agreed.seed,
        rivals=agreed.rivals,
    )


def _rivals(result: FitResult) -> tuple[str, ...]:
    """The usual ones, or those the fit was compared with."""
    compared = {rival.law for rival in result.comparison.rivals}
    return RIVALS if compared <= set(RIVALS) else tuple(sorted(compared))


def probe_points(x: np.ndarray, *, ahead: bool) -> np.ndarray:
    """Where predictions are recorded: along the data, and beyond them where the law has a say there."""
    low, high = float(x.min()), float(x.max())
    inside = np.geomspace(low, high, PROBES_INSIDE) if low > 0 else np.linspace(low, high, PROBES_INSIDE)
    beyond = [factor * high for factor in PROBES_AHEAD] if ahead and high > 0 else []
    return np.concatenate([inside, beyond])


def write(lock: Lock, path: Path) -> None:
    """Write a lock, whole or not at all."""
    write_text(path, to_toml(lock))


def read(path: Path) -> Lock:
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


def to_toml(lock: Lock) -> str:
    """The text of a lock."""
    lines = [
        "# A locked fit: `sparsity-lab check` refits its input and compares. Change it with",
        "# `sparsity-lab check --update --reason ...`, or edit a tolerance together with its reason.",
        f"format = {FORMAT}",
        *_pairs(lock, ("series", "law", "verdict", "reason", "weighted", "seed")),
        *([] if lock.rivals == UNNAMED_RIVALS else _pairs(lock, ("rivals",))),
        "",
        "[input]",
        *_pairs(lock, ("table", "points_sha256", "pinned", "points", "dropped_points", "last_x")),
        *[f"{key} = {toml_value(value)}" for key, value in asdict(lock.columns).items() if value],
        "",
        "[noise]",
        *_pairs(lock, ("noise_sd", "freedom")),
    ]
    for name in ("prediction_tolerance", "coefficient_tolerance"):
        lines += [
            "",
            f"[{name}]",
            *[f"{k} = {toml_value(v)}" for k, v in asdict(getattr(lock, name)).items()],
        ]
    for coefficient, (value, se) in lock.coefficients.items():
        lines += [
            "",
            f"[coefficients.{toml_key(coefficient)}]",
            f"value = {toml_value(value)}",
            f"se = {toml_value(se)}",
        ]
    for probe in lock.probes:
        lines += ["", "[[probes]]", *[f"{key} = {toml_value(value)}" for key, value in asdict(probe).items()]]
    return "\n".join(lines) + "\n"


def _pairs(lock: Lock, keys: Sequence[str]) -> list[str]:
    return [f"{key} = {toml_value(getattr(lock, key))}" for key in keys]


def _from_raw(raw: dict[str, Any]) -> Lock:
    if raw["format"] != FORMAT:
        raise ValueError(f"format {raw['format']}, this version reads {FORMAT}")
    given, noise = raw["input"], raw["noise"]
    if not str(raw["reason"]).strip():
        raise ValueError("the reason is empty")
    return Lock(
        **{key: typed(raw, key, str) for key in ("series", "law", "verdict", "reason")},
        weighted=typed(raw, "weighted", bool),
        seed=counted(raw, "seed"),
        **{key: typed(given, key, str) for key in ("table", "points_sha256")},
        pinned=typed(given, "pinned", bool),
        points=counted(given, "points"),
        dropped_points=counted(given, "dropped_points"),
        last_x=typed(given, "last_x", float),
        noise_sd=typed(noise, "noise_sd", float),
        freedom=counted(noise, "freedom"),
        probes=tuple(
            Probe(**{key: typed(one, key, float) for key in ("x", "y", "se")}) for one in raw["probes"]
        ),
        coefficients=coefficients_in(raw),
        prediction_tolerance=tolerance_in(raw, "prediction_tolerance"),
        coefficient_tolerance=tolerance_in(raw, "coefficient_tolerance"),
        columns=Columns(
            **{key: typed(given, key, str) for key in ("x", "y", "group", "se") if key in given},
            unit=tuple(map(str, typed(given, "unit", list))) if "unit" in given else (),
        ),
        rivals=tuple(raw.get("rivals", UNNAMED_RIVALS)),
    )


def _sandwich(law: Any, values: Any, xs: np.ndarray, spread: np.ndarray) -> tuple[Any, Any, Any]:
    jacobian = diagnostics.curve_jacobian(law, values, xs)
    return jacobian, spread, jacobian
