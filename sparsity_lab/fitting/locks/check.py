"""Guards locked fits: refits their input and says pass, drift, stale, missing or unidentified.

The predictions at the recorded probe points are the primary gate, because coefficients of one fit can trade
against each other without moving the curve; the coefficients come second. The files next to a lock that readers see are
compared with it as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.data.columns import Columns
from sparsity_lab.fitting.data.series import Series, read_series
from sparsity_lab.fitting.fit import compared, fit_series, forward_of
from sparsity_lab.fitting.judge.verdict import NOT
from sparsity_lab.fitting.locks import lock_file, toml
from sparsity_lab.fitting.locks.lock import Agreed, Lock, lock_of, tell_of_room, xs_of
from sparsity_lab.fitting.locks.written import disagreements
from sparsity_lab.fitting.solve.variance import PowerNoise
from sparsity_lab.fitting.solved import IntervalsAsked, Judged, noise_of, solve_and_judge
from sparsity_lab.fitting.spec import law_of
from sparsity_lab.fitting.uncertainty.intervals import Interval, derived
from sparsity_lab.laws._law import Array
from sparsity_lab.progress import SILENT, Progress

PASS, DRIFT, STALE, MISSING, UNIDENTIFIED = "pass", "drift", "stale", "missing", "unidentified"
UNSEARCHED = "unsearched"
Read = Callable[
    [Path, Columns, str, str], list[Series]
]  # a table's series by columns, law, and why y is above 0
POWER_TOLERANCE = 1e-3  # of the power of the noise, or absolute where that is below 1
END_TOLERANCE = 0.02  # of the interval's width: how far a refit's end may lie from the locked one


@dataclass(frozen=True)
class Finding:
    """What one lock has to say.

    Attributes:
        lock: path of the lock. status: pass, drift, stale, missing or unidentified; unsearched of a folder that
            cannot be read, whatever locks it holds.
        details: sentences, one a difference; of a lock that passes, what its reader must know.
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
        findings, read = [], cache(_table)
        for path in located.paths:
            findings.append(check_one(path, read))
            advance(1)
    why = f"{toml.MANIFEST} next to it names this lock, and it is not there"
    gone = [Finding(str(path), path.stem, MISSING, (why,)) for path in located.gone]
    unsearched = [Finding(str(entry.path), "", UNSEARCHED, (entry.why,)) for entry in located.unsearched]
    return findings + gone + unsearched


def check_one(path: Path, read: Read | None = None) -> Finding:
    """Check one lock: input, verdict, predictions, coefficients, and the files next to it.

    Args:
        path: of the lock. read: reads its table, once for many locks; None to read it for this one.

    Raises:
        SparsityLabError: the lock or its table cannot be read; names the lock.
    """
    lock = lock_file.read(path)
    try:
        status, details = _judged(lock, path, read or _table)
    except SparsityLabError as error:
        fix = error.fix or toml.LOCK_ANEW
        raise SparsityLabError(f"The lock {path}: {error.what}", why=error.why, fix=fix) from error
    return Finding(str(path), lock.series, status, (*details, *_unusual(lock)))


def update(path: Path, *, reason: str) -> tuple[Lock, Lock]:
    """Refit the input of a lock and rewrite the lock, keeping its tolerances; returns the old and the new one.

    Raises:
        SparsityLabError: no reason, or the input is not there.
    """
    old = lock_file.read(path)
    full = _input(old, path, _table)
    if isinstance(full, str):
        raise SparsityLabError(
            f"Cannot update {path}", why=full, fix="Put the table back, or lock another fit"
        )
    now = fit_series(full, replace(old.spec, drop=old.dropped_points))
    if not now.describes:
        raise SparsityLabError(f"Cannot update {path}", why=now.verdict.reason, fix="Lock another law")
    new = replace(
        lock_of(now, Agreed(old.table, reason, not old.pinned, old.columns)), series=old.series,
        prediction_tolerance=old.prediction_tolerance, coefficient_tolerance=old.coefficient_tolerance,
    )  # fmt: skip
    lock_file.write(new, path)
    tell_of_room(new, path)
    return old, new


def differences(old: Lock, new: Lock) -> list[str]:
    """What an update changes, old and new."""
    lines = [f"verdict: {old.verdict} -> {new.verdict}"] if old.verdict != new.verdict else []
    if old.points_sha256 != new.points_sha256:
        lines.append(
            f"points: {old.points} ({old.points_sha256[:12]}) -> {new.points} ({new.points_sha256[:12]})"
        )
    for name, number in new.numbers.items():
        before = old.numbers[name].value if name in old.numbers else math.nan
        lines.append(f"{name}: {before:.6g} -> {number.value:.6g}")
    return lines


def _judged(lock: Lock, path: Path, read: Read) -> tuple[str, list[str]]:
    """The status of a lock, and sentences on why."""
    full = _input(lock, path, read)
    if isinstance(full, str):
        return MISSING, [full]
    series = full.without_leading(lock.dropped_points, forward_of(lock.spec, full.inputs))
    now, noise = _refit(lock, series)
    if lock.pinned and (full.sha256 != lock.points_sha256 or lock.se_sha256 not in ("", full.se_sha256)):
        what = "points" if full.sha256 != lock.points_sha256 else "standard errors"
        why = f"the {what} of {lock.table} are not those that were locked (sha256 differs)"
        return STALE, [why, _worst_prediction(lock, now) if now.verdict.describes else now.verdict.reason]
    if not now.verdict.describes:
        return UNIDENTIFIED, [now.verdict.reason]
    details = [
        *_predictions(lock, now),
        *_coefficients(lock, now),
        *(_intervals(lock, now) if lock.pinned else ()),
        *(_noise(lock, noise) if lock.pinned and noise is not None else ()),
        *disagreements(lock, path.parent.parent),
    ]
    word = now.verdict.word
    lost = word == NOT and lock.verdict != NOT
    # Noise alone may move the verdict of a table that is measured again, between identified and weakly identified.
    if word != lock.verdict and (lock.pinned or lost):
        details.insert(0, f"the verdict was {lock.verdict}, now it is {word}: {now.verdict.reason}")
    return UNIDENTIFIED if lost else DRIFT if details else PASS, details


def _table(source: Path, columns: Columns, name: str, positive_y: str) -> list[Series]:
    law = law_of(name, inputs=max(len(columns.x), 1))
    return read_series(source, mapping=columns, law=law, positive_y=positive_y)


def _input(lock: Lock, path: Path, read: Read) -> Series | str:
    """The series a lock is about; or what is missing."""
    source = toml.source_of(lock.table, path)
    if not source.exists():
        return f"the table {lock.table} is not there"
    found = read(source, lock.columns, lock.law, lock.spec.why_positive_y)
    if lock.columns.several and lock.columns.by is None:
        return found[0]  # one law of one table, whatever it is called
    named = {series.name: series for series in found}
    if lock.series not in named:
        return f"the table {lock.table} has no series {lock.series}"
    full = named[lock.series]
    if len(full.y) - lock.dropped_points <= len(lock.coefficients):
        return f"the series {lock.series} has only {len(full.y)} points left"
    return full


def _refit(lock: Lock, series: Series) -> tuple[Judged, PowerNoise | None]:
    law = law_of(lock.law, inputs=series.inputs)
    noise = noise_of(law, series, lock.spec)
    series = series if noise is None else replace(series, noise=noise.sizes)
    comparison = compared(series, lock.spec, extrapolate=False)
    asked = IntervalsAsked(known=_ends_of(lock))
    if lock.verdict == NOT and law.levels:
        few = replace(asked, names=law.levels)
        now = solve_and_judge(series, law, lock.spec, comparison=comparison, asked=few)
        if now.verdict.word == NOT:
            return now, noise  # the levels alone say so, and nothing else is compared
    return solve_and_judge(series, law, lock.spec, comparison=comparison, asked=asked), noise


def _ends_of(lock: Lock) -> dict[str, tuple[float, float]]:
    """The ends of intervals that a lock says, NaN where open."""
    return {
        name: (number.low, number.high)
        for name, number in lock.numbers.items()
        if number.low is not None and number.high is not None
    }


def _gaps(lock: Lock, now: Judged) -> Array:
    """Predictions of the refit less those locked, one a probe."""
    predicted = now.problem.law.predict(now.values, xs_of(lock.probes))
    return np.asarray(predicted - np.array([probe.y for probe in lock.probes]))


def _place(lock: Lock, probe: int) -> str:
    names = lock.columns.x if lock.columns.several else ("x",)
    places = zip(names, lock.probes[probe].x, strict=True)
    return ", ".join(f"{name} = {value:.6g}" for name, value in places)


def _predictions(lock: Lock, now: Judged) -> Iterator[str]:
    for at, (probe, gap) in enumerate(zip(lock.probes, _gaps(lock, now), strict=True)):
        allowed = lock.prediction_tolerance.of(probe.y, probe.se)
        if not abs(gap) <= allowed:
            yield (
                f"at {_place(lock, at)} it predicts {probe.y + gap:.6g}, locked {probe.y:.6g} (+- {allowed:.2g})"
            )


def _worst_prediction(lock: Lock, now: Judged) -> str:
    gaps = np.abs(_gaps(lock, now))
    worst = int(np.argmax(gaps))
    return f"a refit moves the predictions by at most {gaps[worst]:.3g}, at {_place(lock, worst)}"


def _coefficients(lock: Lock, now: Judged) -> Iterator[str]:
    if lock.verdict == NOT:
        return  # coefficients of such a fit are not numbers; its predictions are
    values = {**now.values, **{name: each.value for name, each in _derived(now).items()}}
    for name, number in lock.numbers.items():
        value, allowed = values.get(name), lock.coefficient_tolerance.of(number.value, number.se)
        if value is None or not abs(value - number.value) <= allowed:
            shown = "nothing" if value is None else f"{value:.6g}"
            yield f"{name} refitted is {shown}, locked {number.value:.6g} (+- {allowed:.2g})"


def _intervals(lock: Lock, now: Judged) -> Iterator[str]:
    """Ends of profiled intervals that moved or opened, and the bound of a fit that is not identified."""
    if lock.says_all and (lock.bound or "") != (now.verdict.bound or ""):
        yield f"the bound was {lock.bound or 'none'}, now it is {now.verdict.bound or 'none'}"
    ends_of = {name: profile.ends for name, profile in now.profiles.items()}
    ends_of |= {name: (each.low, each.high) for name, each in _derived(now).items()}
    for name, ends in ends_of.items():
        number = lock.numbers.get(name)
        if number is None or number.low is None or number.high is None or lock.verdict == NOT:
            continue
        width = number.high - number.low if math.isfinite(number.high - number.low) else 4.0 * number.se
        allowed = END_TOLERANCE * width
        for end, locked, value in zip(("low", "high"), (number.low, number.high), ends, strict=True):
            same = math.isnan(locked) and math.isnan(value)
            if not same and not abs(value - locked) <= allowed:
                yield f"the {end} end of {name} refitted is {_end(value)}, locked {_end(locked)} (+- {allowed:.2g})"


def _derived(now: Judged) -> dict[str, Interval]:
    return derived(now.problem.law, now.profiles)


def _noise(lock: Lock, noise: PowerNoise) -> Iterator[str]:
    """The power of the curve that the noise goes with, where it moved."""
    if not abs(noise.power - lock.noise_power) <= POWER_TOLERANCE * max(1.0, abs(lock.noise_power)):
        yield (
            f"the noise goes with the curve to the power {noise.power:.6g}, locked {lock.noise_power:.6g} "
            f"(+- {POWER_TOLERANCE:g})"
        )


def _end(value: float) -> str:
    return "open" if math.isnan(value) else f"{value:.6g}"


def _unusual(lock: Lock) -> list[str]:
    """A sentence on tolerances that are not the usual ones."""
    usual = toml.PINNED if lock.pinned else toml.FOLLOWED
    pairs: Mapping[str, tuple[toml.Tolerance, toml.Tolerance]] = {
        "predictions": (lock.prediction_tolerance, usual[0]),
        "coefficients": (lock.coefficient_tolerance, usual[1]),
    }
    others = [
        f"of {name} {own} rather than {default}" for name, (own, default) in pairs.items() if own != default
    ]
    return [f"its tolerances are not the usual ones: {'; '.join(others)}"] if others else []
