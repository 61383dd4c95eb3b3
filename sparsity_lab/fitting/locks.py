"""Locks: what a fit said when somebody agreed to it, as TOML beside the results.

`results/<study>/locks/<series>.toml` holds the input's hash, predictions at probe points with their standard
errors, coefficients with theirs, the verdict, tolerances and the reason they were agreed to. A difference is
tolerated up to the largest of an absolute, a relative and a standard-error part.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sparsity_lab import bundled
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting import diagnostics
from sparsity_lab.fitting.engine import Solution
from sparsity_lab.fitting.problem import Problem
from sparsity_lab.fitting.result import FitResult
from sparsity_lab.fitting.series import Columns, Series
from sparsity_lab.fitting.spec import RIVALS
from sparsity_lab.fitting.verdict import NOT
from sparsity_lab.records import write_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FORMAT = 1
LOCK_ANEW = "Take it from version control, or write it anew with `sparsity-lab fit TABLE --lock REASON`"
UNREADABLE = (OSError, UnicodeDecodeError, RecursionError, tomllib.TOMLDecodeError)
INCOMPLETE = (KeyError, TypeError, ValueError, AttributeError)
BUNDLED = "bundled:"
PROBES_INSIDE = 7
PROBES_AHEAD = (1.5, 2.0, 3.0)  # times the largest x of the fit


@dataclass(frozen=True)
class Tolerance:
    """How far a number may move: the largest of the three parts."""

    absolute: float
    relative: float
    standard_errors: float

    def of(self, value: float, se: float) -> float:
        """The tolerated difference from a locked value."""
        by_error = self.standard_errors * se if math.isfinite(se) else 0.0
        return max(self.absolute, self.relative * abs(value), by_error)


# A refit of the same points differs by rounding alone; one of a table that is measured anew differs by noise.
PINNED = (Tolerance(1e-7, 1e-5, 0.01), Tolerance(0.0, 1e-3, 0.02))
FOLLOWED = (Tolerance(0.0, 0.0, 2.0), Tolerance(0.0, 0.0, 3.0))


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
    solution = Solution(problem.law.locate(result.values, problem.span), result.sse, 1, 1, ())
    return lock_from(
        result.series,
        problem,
        solution,
        verdict=result.verdict.word,
        table=table,
        reason=reason,
        pinned=pinned,
        columns=columns or Columns(),
        seed=result.seed,
        weighted="1/se^2" in result.objective,
        rivals=_rivals(result),
    )


def lock_from(
    series: Series,
    problem: Problem,
    solution: Solution,
    *,
    verdict: str,
    table: str,
    reason: str,
    pinned: bool,
    columns: Columns,
    seed: int,
    weighted: bool,
    rivals: tuple[str, ...] = RIVALS,
) -> Lock:
    """A lock of a solved problem; `lock_of` makes one of a finished fit."""
    if not reason.strip():
        raise SparsityLabError("A lock needs a reason", fix='Say why these numbers hold: --reason "..."')
    law, values = problem.law, problem.coefficients(solution.theta)
    residuals = series.y - law.predict(values, series.x)
    freedom = max(len(series.y) - len(law.parameters), 1)
    variance = float(residuals @ residuals) / freedom
    spread = diagnostics.covariance(law, values, series.x, variance=variance)
    prediction, coefficient = PINNED if pinned else FOLLOWED
    xs = probe_points(series.x, ahead=verdict != NOT)
    errors = np.sqrt(np.einsum("ij,jk,ik->i", *_sandwich(law, values, xs, spread)))
    return Lock(
        series=series.name,
        law=law.name,
        verdict=verdict,
        reason=reason.strip(),
        table=table,
        points_sha256=series.sha256,
        pinned=pinned,
        points=len(series.y),
        dropped_points=series.dropped,
        last_x=float(series.x.max()),
        noise_sd=math.sqrt(variance),
        freedom=freedom,
        probes=tuple(Probe(*map(float, p)) for p in zip(xs, law.predict(values, xs), errors, strict=True)),
        coefficients={n: (v, float(math.sqrt(spread[i, i]))) for i, (n, v) in enumerate(values.items())},
        prediction_tolerance=prediction,
        coefficient_tolerance=coefficient,
        columns=columns,
        weighted=weighted,
        seed=seed,
        rivals=rivals,
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


def source_of(table: str, path: Path) -> Path:
    """The table a lock of that path was made from; it may not be there."""
    if table.startswith(BUNDLED):
        return bundled.path(table.removeprefix(BUNDLED))
    return (path.parent.parent / table).resolve()


def differing(
    locked: Mapping[str, tuple[float, float]], tolerance: Tolerance, values: Mapping[str, float | None],
    where: str,
) -> list[str]:  # fmt: skip
    """Sentences on the coefficients that left their tolerance."""
    details = []
    for name, (value, se) in locked.items():
        found, allowed = values.get(name), tolerance.of(value, se)
        if found is None or not abs(found - value) <= allowed:
            shown = "nothing" if found is None else f"{found:.6g}"
            details.append(f"{name} {where} is {shown}, locked {value:.6g} (+- {allowed:.2g})")
    return details


def table_entry(source: Path | str, study: Path) -> str:
    """How a lock in a study's folder names its table."""
    if isinstance(source, str) and source in bundled.names():
        return BUNDLED + source
    return Path(os.path.relpath(Path(source).resolve(), study.resolve())).as_posix()


def write(lock: Lock, path: Path) -> None:
    """Write a lock, whole or not at all."""
    write_text(path, to_toml(lock))


def read(path: Path) -> Lock:
    """Read a lock.

    Raises:
        SparsityLabError: it cannot be read, or lacks a key.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        return _from_raw(raw)
    except UNREADABLE as error:
        raise SparsityLabError(f"Cannot read the lock {path}", why=str(error), fix=LOCK_ANEW) from error
    except INCOMPLETE as error:
        raise SparsityLabError(
            f"The lock {path} is not complete", why=f"{type(error).__name__}: {error}"[:400], fix=LOCK_ANEW
        ) from error


def find(paths: Sequence[Path]) -> list[Path]:
    """Lock files among files and folders; a folder gives all `locks/*.toml` below it.

    Raises:
        SparsityLabError: a path is not there, or there is no lock at all.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise SparsityLabError(f"There is no lock or folder {path}", fix="Check its path")
        found += sorted(path.rglob("locks/*.toml")) if path.is_dir() else [path]
        if path.is_dir() and path.name == "locks":
            found += sorted(path.glob("*.toml"))
    if not found:
        where = ", ".join(map(str, paths))
        raise SparsityLabError(
            f"No locks under {where}", fix="Make them with `sparsity-lab fit TABLE --lock REASON`"
        )
    return list(dict.fromkeys(found))


def to_toml(lock: Lock) -> str:
    """The text of a lock."""
    lines = [
        "# A locked fit: `sparsity-lab check` refits its input and compares. Change it with",
        "# `sparsity-lab check --update --reason ...`, or edit a tolerance together with its reason.",
        f"format = {FORMAT}",
        *_pairs(lock, ("series", "law", "verdict", "reason", "weighted", "seed")),
        *([] if lock.rivals == RIVALS else _pairs(lock, ("rivals",))),
        "",
        "[input]",
        *_pairs(lock, ("table", "points_sha256", "pinned", "points", "dropped_points", "last_x")),
        *[f"{key} = {toml_value(value)}" for key, value in asdict(lock.columns).items() if value is not None],
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
            f"[coefficients.{coefficient}]",
            f"value = {toml_value(value)}",
            f"se = {toml_value(se)}",
        ]
    for probe in lock.probes:
        lines += ["", "[[probes]]", *[f"{key} = {toml_value(value)}" for key, value in asdict(probe).items()]]
    return "\n".join(lines) + "\n"


def _pairs(lock: Lock, keys: Sequence[str]) -> list[str]:
    return [f"{key} = {toml_value(getattr(lock, key))}" for key in keys]


def toml_value(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "nan" if math.isnan(value) else "inf" if value == math.inf else repr(value)
    return json.dumps(value, ensure_ascii=False)


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
        columns=Columns(**{key: typed(given, key, str) for key in ("x", "y", "group", "se") if key in given}),
        rivals=tuple(raw.get("rivals", RIVALS)),
    )


def typed(section: Mapping[str, Any], key: str, kind: type) -> Any:
    """A value of a lock that must be of a type; whole numbers are numbers, `true` is none.

    Raises:
        KeyError: it is not there.
        TypeError: it is of another type.
    """
    value = section[key]
    fits = isinstance(value, (int, float) if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{key} is {str(value)[:80]!r}, not of type {kind.__name__}")
    return float(value) if kind is float else value


def counted(section: Mapping[str, Any], key: str) -> int:
    """A whole number from 0 on; raises as `typed`, or ValueError below 0."""
    value = int(typed(section, key, int))
    if value < 0:
        raise ValueError(f"{key} is {value}, below 0")
    return value


def coefficients_in(raw: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Values and standard errors by the coefficients' names; raises as `typed`."""
    return {
        name: (typed(one, "value", float), typed(one, "se", float))
        for name, one in raw["coefficients"].items()
    }


def tolerance_in(raw: Mapping[str, Any], key: str) -> Tolerance:
    """A tolerance; raises as `typed`."""
    return Tolerance(
        **{part: typed(raw[key], part, float) for part in ("absolute", "relative", "standard_errors")}
    )


def _sandwich(law: Any, values: Any, xs: np.ndarray, spread: np.ndarray) -> tuple[Any, Any, Any]:
    jacobian = diagnostics.curve_jacobian(law, values, xs)
    return jacobian, spread, jacobian
