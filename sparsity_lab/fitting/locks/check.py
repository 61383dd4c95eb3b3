"""Guards locked fits: refits their input and says pass, drift, stale, missing or unidentified.

The predictions at the recorded probe points are the primary gate, because coefficients of one fit can trade
against each other without moving the curve; the coefficients come second. A lock of a study whose fits.json
is beside it also guards the numbers written there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import t as student

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.data.columns import say_units
from sparsity_lab.fitting.data.series import Series, read_series
from sparsity_lab.fitting.fit import Judged, solve_and_judge
from sparsity_lab.fitting.judge import rivals
from sparsity_lab.fitting.judge.verdict import NOT
from sparsity_lab.fitting.ladders import runs_check, runs_locks
from sparsity_lab.fitting.ladders.runs_locks import RunsLock
from sparsity_lab.fitting.laws_by_name import law_of_one
from sparsity_lab.fitting.locks import lock_file, toml
from sparsity_lab.fitting.locks.lock_file import Agreed, Lock
from sparsity_lab.progress import SILENT, Progress

PASS, DRIFT, STALE, MISSING, UNIDENTIFIED = "pass", "drift", "stale", "missing", "unidentified"
UNSEARCHED = "unsearched"
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Finding:
    """What one lock has to say.

    Attributes:
        lock: path of the lock. status: pass, drift, stale, missing or unidentified; unsearched of a folder that
            cannot be read, whatever locks it holds.
        details: sentences, one a difference.
    """

    lock: str
    series: str
    status: str
    details: tuple[str, ...]


def check(paths: Sequence[Path], *, progress: Progress = SILENT) -> list[Finding]:
    """Check every lock among files and folders.

    Raises:
        SparsityLabError: a lock cannot be read, or there is none.
    """
    located = toml.find(paths)
    with progress.track("check", len(located.paths)) as advance:
        findings = []
        for path in located.paths:
            findings.append(check_one(path))
            advance(1)
    return findings + [Finding(str(entry.path), "", UNSEARCHED, (entry.why,)) for entry in located.unsearched]


def check_one(path: Path) -> Finding:
    """Check one lock: input, verdict, predictions, coefficients, and the fits.json beside it.

    Raises:
        SparsityLabError: the lock or its table cannot be read; names the lock.
    """
    lock = runs_locks.read(path) if runs_locks.is_runs_lock(path) else lock_file.read(path)
    try:
        return _check_runs(lock, path) if isinstance(lock, RunsLock) else _check_series(lock, path)
    except SparsityLabError as error:
        fix = error.fix or toml.LOCK_ANEW
        raise SparsityLabError(f"The lock {path}: {error.what}", why=error.why, fix=fix) from error


def _check_series(lock: Lock, path: Path) -> Finding:
    """A lock of a law of one input."""
    series = _input(lock, path)
    if isinstance(series, str):
        return Finding(str(path), lock.series, MISSING, (series,))
    if lock.pinned and series.sha256 != lock.points_sha256:
        now = _refit(lock, series)
        moved = _worst_prediction(lock, now) if now.verdict.describes else now.verdict.reason
        why = f"the points of {lock.table} are not those that were locked (sha256 differs)"
        return Finding(str(path), lock.series, STALE, (why, moved))
    now = _refit(lock, series)
    if not now.verdict.describes:
        return Finding(str(path), lock.series, UNIDENTIFIED, (now.verdict.reason,))
    details = [*_predictions(lock, now), *_coefficients(lock, now), *_written(lock, path)]
    if lock.verdict != now.verdict.word:
        details.insert(
            0, f"the verdict was {lock.verdict}, now it is {now.verdict.word}: {now.verdict.reason}"
        )
        if now.verdict.word == NOT:
            return Finding(str(path), lock.series, UNIDENTIFIED, tuple(details))
    return Finding(str(path), lock.series, DRIFT if details else PASS, tuple(details))


def since(paths: Sequence[Path], table: Path, *, unit: Sequence[str] = ()) -> list[Finding]:
    """Whether checkpoints newer than those locked lie inside the frozen law's prediction band.

    The band holds a new point of its own noise with 95 % confidence, jointly over the new points of a series
    (Bonferroni). Beyond the last probe nothing is claimed.

    Args:
        paths: locks, or folders of locks. table: the newer points.
        unit: units of this table's columns; those of the locked table where none are given.

    Raises:
        SparsityLabError: the table is faulty, or none of its series is locked.
    """
    single = [path for path in toml.find(paths).paths if not runs_locks.is_runs_lock(path)]
    if not single:
        raise SparsityLabError(
            "These locks are of laws of several inputs",
            why="They lock no series of checkpoints",
            fix="Name locks of series, or leave --since out",
        )
    found = [(path, lock_file.read(path)) for path in single]
    known = {lock.series for _, lock in found}
    columns = found[0][1].columns
    if unit:
        columns = replace(columns, unit=tuple(unit))
    tables = {one.name: one for one in read_series(table, mapping=columns)}
    if not known & set(tables):
        raise SparsityLabError(
            f"No series of {table} is locked",
            why=f"The table has {', '.join(tables)}; the locks have {', '.join(sorted(known))}"[:400],
            fix="Name the table's series as the locks do",
        )
    say_units(next(iter(tables.values())).units, table)
    return [_since_one(path, lock, tables[lock.series]) for path, lock in found if lock.series in tables]


def update(path: Path, *, reason: str) -> tuple[Lock, Lock] | tuple[RunsLock, RunsLock]:
    """Refit the input of a lock and write the lock anew; returns the old and the new one.

    Raises:
        SparsityLabError: no reason, or the input is not there.
    """
    if runs_locks.is_runs_lock(path):
        return runs_check.update(path, reason=reason)
    old = lock_file.read(path)
    series = _input(old, path)
    if isinstance(series, str):
        raise SparsityLabError(
            f"Cannot update {path}", why=series, fix="Put the table back, or lock another fit"
        )
    now = _refit(old, series)
    if not now.verdict.describes:
        raise SparsityLabError(f"Cannot update {path}", why=now.verdict.reason, fix="Lock another law")
    new = lock_file.lock_from(
        series, now.problem, now.solution, verdict=now.verdict.word,
        agreed=Agreed(old.table, reason, old.pinned, old.columns, old.seed, old.weighted, old.rivals),
    )  # fmt: skip
    new = replace(
        new, prediction_tolerance=old.prediction_tolerance, coefficient_tolerance=old.coefficient_tolerance
    )
    lock_file.write(new, path)
    return old, new


def differences(old: Lock | RunsLock, new: Lock | RunsLock) -> list[str]:
    """What an update changes, old and new."""
    lines = [f"verdict: {old.verdict} -> {new.verdict}"] if old.verdict != new.verdict else []
    if old.points_sha256 != new.points_sha256:
        lines.append(
            f"points: {old.points} ({old.points_sha256[:12]}) -> {new.points} ({new.points_sha256[:12]})"
        )
    for name, (value, _) in new.coefficients.items():
        before = old.coefficients.get(name, (math.nan, math.nan))[0]
        lines.append(f"{name}: {before:.6g} -> {value:.6g}")
    return lines


def _check_runs(lock: RunsLock, path: Path) -> Finding:
    """A lock of a law of several inputs, by the same statuses."""
    found = runs_check.compare(lock, path)
    if found.missing:
        return Finding(str(path), found.series, MISSING, found.details)
    if found.stale:
        return Finding(str(path), found.series, STALE, found.details)
    if found.lost:
        return Finding(str(path), found.series, UNIDENTIFIED, found.details)
    return Finding(str(path), found.series, DRIFT if found.details else PASS, found.details)


def _input(lock: Lock, path: Path) -> Series | str:
    """The series a lock is about, its warm-up points left out; or what is missing."""
    source = toml.source_of(lock.table, path)
    if not source.exists():
        return f"the table {lock.table} is not there"
    named = {one.name: one for one in read_series(source, mapping=lock.columns)}
    if lock.series not in named:
        return f"the table {lock.table} has no series {lock.series}"
    full = named[lock.series]
    if len(full.y) - lock.dropped_points <= len(lock.coefficients):
        return f"the series {lock.series} has only {len(full.y)} points left"
    return full.without_leading(lock.dropped_points, law_of_one(lock.law).forward)


def _refit(lock: Lock, series: Series) -> Judged:
    weights = None if not lock.weighted or series.se is None else 1.0 / series.se
    laws = [law_of_one(name) for name in lock.rivals]
    comparison = rivals.compare(
        series.x, series.y, laws, root_weights=weights, seed=lock.seed, extrapolate=False
    )
    law = law_of_one(lock.law)
    return solve_and_judge(series, law, comparison=comparison, root_weights=weights, seed=lock.seed)


def _predictions(lock: Lock, now: Judged) -> list[str]:
    values = now.problem.coefficients(now.solution.theta)
    predicted = now.problem.law.predict(values, np.array([probe.x for probe in lock.probes]))
    details = []
    for probe, y in zip(lock.probes, predicted, strict=True):
        allowed = lock.prediction_tolerance.of(probe.y, probe.se)
        if not abs(y - probe.y) <= allowed:
            details.append(
                f"at x = {probe.x:.6g} it predicts {y:.6g}, locked {probe.y:.6g} (+- {allowed:.2g})"
            )
    return details


def _worst_prediction(lock: Lock, now: Judged) -> str:
    values = now.problem.coefficients(now.solution.theta)
    predicted = now.problem.law.predict(values, np.array([probe.x for probe in lock.probes]))
    gaps = predicted - np.array([probe.y for probe in lock.probes])
    worst = int(np.argmax(np.abs(gaps)))
    return (
        f"a refit moves the predictions by at most {abs(gaps[worst]):.3g}, at x = {lock.probes[worst].x:.6g}"
    )


def _coefficients(lock: Lock, now: Judged) -> list[str]:
    if lock.verdict == NOT:
        return []  # coefficients of such a fit are no numbers; its predictions are
    values = now.problem.coefficients(now.solution.theta)
    return toml.differing(lock.coefficients, lock.coefficient_tolerance, values, "refitted")


def _written(lock: Lock, path: Path) -> list[str]:
    """Whether the study's fits.json still says what was locked."""
    beside = path.parent.parent / "fits.json"
    if not beside.exists():
        return []
    entry = toml.written_fit(beside, series=lock.series, law=lock.law)
    if entry is None:
        return [f"{beside.name} has no fit of {lock.series} by {lock.law}"]
    values, verdict = entry
    wrong = [] if verdict == lock.verdict else [f"{beside.name} says {verdict}, locked {lock.verdict}"]
    if lock.verdict == NOT:
        return wrong
    where = f"in {beside.name}"
    return wrong + toml.differing(lock.coefficients, lock.coefficient_tolerance, values, where)


def _since_one(path: Path, lock: Lock, series: Series) -> Finding:
    new = series.x > lock.last_x
    count = int(new.sum())
    if count == 0:
        return Finding(str(path), lock.series, PASS, ("no checkpoint is newer than those locked",))
    xs, ys = series.x[new], series.y[new]
    probes = np.array([(p.x, p.y, p.se) for p in lock.probes])
    quantile = float(student.ppf(1 - (1 - CONFIDENCE) / (2 * count), lock.freedom))
    claimed = xs <= probes[-1, 0]
    curve, se = (np.interp(np.log(xs), np.log(probes[:, 0]), probes[:, i]) for i in (1, 2))
    half = quantile * np.hypot(se, lock.noise_sd)
    outside = claimed & (np.abs(ys - curve) > half)
    details = [
        f"at x = {x:.6g} the table has {y:.6g}, the band is {c - h:.6g} to {c + h:.6g}"
        for x, y, c, h in zip(xs[outside], ys[outside], curve[outside], half[outside], strict=True)
    ]
    if not claimed.all():
        details.append(
            f"{int((~claimed).sum())} newer points lie beyond x = {probes[-1, 0]:.6g}: no claim there"
        )
    if not details:
        details = [f"{count} newer checkpoints, all inside the band"]
    return Finding(str(path), lock.series, DRIFT if outside.any() else PASS, tuple(details))
