"""Guards locked fits over ladders of runs: refits their input and says what moved.

Predictions at the recorded probe points come first, coefficients second, and then what the study's fits.json
says, in the order of `check`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.judge.verdict import NOT
from sparsity_lab.fitting.ladders import runs_locks
from sparsity_lab.fitting.ladders.runs import Runs, RunsFit, fit_runs, read_runs
from sparsity_lab.fitting.ladders.runs_locks import RunsLock
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.locks import toml


@dataclass(frozen=True)
class Compared:
    """What a refit of a lock's input says.

    Attributes:
        missing: the input is not there. stale: its points are others. lost: it is no longer identified.
        details: sentences, one a difference; none where nothing moved.
    """

    series: str
    details: tuple[str, ...]
    missing: bool = False
    stale: bool = False
    lost: bool = False


def compare(lock: RunsLock, path: Path) -> Compared:
    """Refit the input of a lock, which was read from `path`, and compare.

    Raises:
        SparsityLabError: its table, or the fits.json beside it, cannot be read.
    """
    if not toml.source_of(lock.table, path).exists():
        return Compared(lock.series, (f"the table {lock.table} is not there",), missing=True)
    runs = _input(lock, path)
    fit = _refit(lock, runs)
    if not fit.verdict.describes:
        return Compared(lock.series, (fit.verdict.reason,), lost=True)
    gaps = _gaps(lock, fit)
    if runs.sha256 != lock.points_sha256:
        worst = int(np.argmax(np.abs(gaps)))
        moved = f"a refit moves the predictions by at most {abs(gaps[worst]):.3g}, at {_place(lock, worst)}"
        why = f"the points of {lock.table} are not those that were locked (sha256 differs)"
        return Compared(lock.series, (why, moved), stale=True)
    details = [*_predictions(lock, gaps), *_coefficients(lock, fit), *_written(lock, path)]
    if lock.verdict != fit.verdict.word:
        details.insert(0, f"the verdict was {lock.verdict}, now {fit.verdict.word}: {fit.verdict.reason}")
    lost = lock.verdict != NOT and fit.verdict.word == NOT
    return Compared(lock.series, tuple(details), lost=lost)


def update(path: Path, *, reason: str) -> tuple[RunsLock, RunsLock]:
    """Refit the input of a lock and write the lock anew, its tolerances kept; the old and the new one.

    Raises:
        SparsityLabError: no reason, or the input is not there.
    """
    old = runs_locks.read(path)
    if not toml.source_of(old.table, path).exists():
        raise SparsityLabError(
            f"Cannot update {path}",
            why=f"the table {old.table} is not there",
            fix="Put the table back, or lock another fit",
        )
    runs = _input(old, path)
    now = _refit(old, runs)
    if not now.verdict.describes:
        raise SparsityLabError(f"Cannot update {path}", why=now.verdict.reason, fix="Lock another law")
    new = replace(
        runs_locks.lock_of(runs, now, table=old.table, columns=old.columns, reason=reason),
        prediction_tolerance=old.prediction_tolerance,
        coefficient_tolerance=old.coefficient_tolerance,
    )
    runs_locks.write(new, path)
    return old, new


def _input(lock: RunsLock, path: Path) -> Runs:
    return read_runs(toml.source_of(lock.table, path), lock.columns, law=load_law(lock.law))


def _refit(lock: RunsLock, runs: Runs) -> RunsFit:
    return fit_runs(runs, load_law(lock.law), huber=lock.huber, draws=0, seed=lock.seed)


def _gaps(lock: RunsLock, fit: RunsFit) -> np.ndarray:
    """Predictions of the refit less those locked, one a probe."""
    predicted = fit.law.predict(fit.values, np.array([probe.x for probe in lock.probes]))
    return np.asarray(predicted - np.array([probe.y for probe in lock.probes]))


def _predictions(lock: RunsLock, gaps: np.ndarray) -> list[str]:
    details = []
    for i, (probe, gap) in enumerate(zip(lock.probes, gaps, strict=True)):
        allowed = lock.prediction_tolerance.of(probe.y, probe.se)
        if not abs(gap) <= allowed:
            told = f"it predicts {probe.y + gap:.6g}, locked {probe.y:.6g} (+- {allowed:.2g})"
            details.append(f"at {_place(lock, i)} {told}")
    return details


def _place(lock: RunsLock, probe: int) -> str:
    inputs = zip(lock.columns.x, lock.probes[probe].x, strict=True)
    return ", ".join(f"{name} = {value:.6g}" for name, value in inputs)


def _coefficients(lock: RunsLock, fit: RunsFit) -> list[str]:
    if lock.verdict == NOT:
        return []  # coefficients of such a fit are no numbers; its predictions are
    return toml.differing(lock.coefficients, lock.coefficient_tolerance, fit.values, "refitted")


def _written(lock: RunsLock, path: Path) -> list[str]:
    """Whether the study's fits.json still says what was locked."""
    beside = path.parent.parent / "fits.json"
    if not beside.exists():
        return []
    entry = toml.written_fit(beside, law=lock.law)
    if entry is None:
        return [f"{beside.name} has no fit by {lock.law}"]
    values, verdict = entry
    wrong = [] if verdict == lock.verdict else [f"{beside.name} says {verdict}, locked {lock.verdict}"]
    if lock.verdict == NOT:
        return wrong
    where = f"in {beside.name}"
    return wrong + toml.differing(lock.coefficients, lock.coefficient_tolerance, values, where)
