"""Fits every series of a table and writes what is found: what `sparsity-lab fit` runs."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparsity_lab import ranges
from sparsity_lab.errors import REPORT_FIX, SparsityLabError
from sparsity_lab.fitting.data.columns import Columns, say_units
from sparsity_lab.fitting.data.series import Series, read_series
from sparsity_lab.fitting.fit import fit_series, forward_of, rivals_of
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.locks import lock_file, toml
from sparsity_lab.fitting.locks.lock import Agreed, lock_of, tell_of_room
from sparsity_lab.fitting.parts import KeptParts
from sparsity_lab.fitting.report import files
from sparsity_lab.fitting.result import FitResult
from sparsity_lab.fitting.spec import FitSpec, law_of
from sparsity_lab.laws._law import Law
from sparsity_lab.machine.cores import available_cores
from sparsity_lab.machine.sole_writer import sole_writer
from sparsity_lab.machine.workers import side_by_side
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.settings import AUTO
from sparsity_lab.store import bundled, records

logger = logging.getLogger(__name__)

SERIES_PER_WORKER = 4  # fewer are fitted in the time a worker takes to start
FEWEST_PLACES = 3  # different x, for a curve
NO_PARTS = KeptParts(None)

Perform = Callable[[Sequence[Callable[[], Any]]], Iterator[tuple[int, Any]]]


def fit_table(
    path: Path | str,
    *,
    output: Path | str,
    spec: FitSpec | None = None,
    mapping: Columns | None = None,
    lock: str | None = None,
    follow: bool = False,
    plots: bool = True,
    jobs: int = 1,
    progress: Progress = SILENT,
) -> list[FitResult]:
    """Fit every series of a table and write fits.json, fits.csv, fits.md, residuals.csv and the plots.

    A call that is ended keeps the series it has fitted; the same call goes on with the others.

    Args:
        path: a CSV (`series.read_series` says which columns), or the name of a bundled table.
        output: the folder written to.
        spec: what to fit; the defaults where None.
        mapping: columns of a foreign CSV.
        lock: the reason to lock these fits, under `locks/`; None for no locks.
        follow: make locks that follow a table which is measured anew, rather than pin its points.
        plots: whether to draw figures.
        jobs: worker processes; 0 for one a core. The numbers do not depend on it.
        progress: how to show progress.

    Raises:
        SparsityLabError: the table is faulty, a law or series is unknown, or the output cannot be written.
    """
    source = source_of(path)
    spec, columns, folder = spec or FitSpec(), mapping or Columns(), Path(output)
    series, law = series_of(source, spec, columns)
    records.refuse_over_input(source, folder / "fits.csv", folder / "residuals.csv")
    entry = toml.table_entry(path, folder)
    # Files that a lock speaks of are not replaced by those of another fit, locked or not.
    subject, names = {"table": entry, **vars(columns)}, [each.name for each in series]
    toml.refuse_others(folder, names, subject=subject, law=None if law is None else law.name)
    kept, parts = _checked(series, spec, jobs), KeptParts(folder)
    with sole_writer(folder), _crew(jobs, len(kept)) as perform:
        results = _fit_each(kept, spec, perform, parts=parts, progress=progress)
        files.write(results, folder, source=source)
        if lock is not None:
            _lock(results, folder, agreed=Agreed(entry, lock, follow, columns))
        files.draw(results, folder, perform if plots else None, progress=progress)
        parts.clear()
    return results


def source_of(path: Path | str) -> Path:
    """The file behind a table: a name of a bundled table is that table's, whatever else has that name."""
    if isinstance(path, str):
        return bundled.path(path) if path in bundled.names() else bundled.table(path)
    return path


def series_of(source: Path, spec: FitSpec, columns: Columns) -> tuple[list[Series], Law | None]:
    """The series of a table, and the law that they are to be fitted with; None where that is chosen later.

    Raises:
        SparsityLabError: the table is faulty, or a law is unknown.
    """
    inputs = max(len(columns.x), 1)
    law = None if (name := spec.law_name(inputs)) == AUTO else law_of(name, inputs=inputs)
    series = read_series(source, mapping=columns, law=law, positive_y=spec.why_positive_y)
    say_units(series[0].units, source)
    return series, law


def fit_all(
    series: Sequence[Series], spec: FitSpec, *, jobs: int = 1, progress: Progress = SILENT
) -> list[FitResult]:
    """Fit each series; those with too few points are left out and named on the log.

    Raises:
        SparsityLabError: a law or series is unknown, a number is out of its range, or no series has enough points.
    """
    kept = _checked(series, spec, jobs)
    with _crew(jobs, len(kept)) as perform:
        return _fit_each(kept, spec, perform, progress=progress)


def _checked(series: Sequence[Series], spec: FitSpec, jobs: int) -> list[Series]:
    """The series with enough points.

    Raises:
        SparsityLabError: what is asked for cannot be done with these series, or none has enough points.
    """
    ranges.check("jobs", jobs, command="fit")
    spec.check_names([each.name for each in series])
    _check_reach(series, spec)
    inputs = series[0].inputs
    law = spec.law_name(inputs)
    laws = [
        law_of(name, inputs=inputs) for name in (*spec.rival_names(inputs), *((law,) if law != AUTO else ()))
    ]
    _say_rivals_left_out(series, spec)
    if spec.weighted and (bare := [s.name for s in series if s.se is None or not (s.se > 0).all()]):
        raise SparsityLabError(
            f"The series {', '.join(bare)} cannot be weighted",
            why="Some of their points have no standard error above 0",
            fix="Name the column of standard errors with --se, or fit without --weighted",
        )
    needed = spec.spare + max(
        len(each.parameters)
        for each in ([laws[-1]] if law != AUTO else [load_law("power"), load_law("logspace-power")])
    )
    reasons = {each.name: _too_little(each, spec, needed) for each in series}
    for name, reason in reasons.items():
        if reason is not None:
            logger.warning("Series %s is left out: it has %s.", name, reason)
    kept = [each for each in series if reasons[each.name] is None]
    if not kept:
        longest = max(series, key=lambda each: len(each.y))
        short = len(longest.y) - (spec.drop_for(longest.name) or 0) < needed
        raise SparsityLabError(
            "No series has enough points to fit" if short else "No series has enough different x to fit",
            why=f"The longest, {longest.name}, has {reasons[longest.name]}",
            fix="Measure more checkpoints, drop fewer of them, or name another column with --x",
        )
    return kept


def _fit_each(
    series: Sequence[Series], spec: FitSpec, perform: Perform, *, parts: KeptParts = NO_PARTS,
    progress: Progress = SILENT,
) -> list[FitResult]:  # fmt: skip
    """The results in the order of the series; each is kept as it is complete."""
    results = {at: found for at, each in enumerate(series) if (found := parts.read(each, spec)) is not None}
    if results:
        logger.info("%d of %d series were fitted by an earlier call.", len(results), len(series))
    left = [at for at in range(len(series)) if at not in results]
    with progress.track("fit", len(left)) as advance:
        for number, result in perform([partial(_fit, series[at], spec) for at in left]):
            results[left[number]] = result
            parts.write(series[left[number]], result)
            advance(1)
    ordered = [results[at] for at in range(len(series))]
    for result in ordered:
        logger.info(
            "%s: law %s (%s), %d leading points dropped (%s).",
            result.series.name, result.law.name, result.law_rule, result.series.dropped, result.drop_rule,
        )  # fmt: skip
    return ordered


@contextmanager
def _crew(jobs: int, count: int) -> Iterator[Perform]:
    """How to perform as many calls: here one by one, or in processes side by side."""
    jobs = min(jobs or min(available_cores(), count // SERIES_PER_WORKER), count) or 1
    if jobs == 1:
        yield lambda calls: ((number, call()) for number, call in enumerate(calls))
        return
    with side_by_side(jobs, torch_too=False) as workers:
        yield workers.perform


def _fit(series: Series, spec: FitSpec) -> FitResult:
    """The fit of a series; whatever else than a mistake of the user's it raises names the series.

    Raises:
        SparsityLabError: it failed.
    """
    try:
        return fit_series(series, spec)
    except SparsityLabError:
        raise
    except Exception as error:
        raise SparsityLabError(
            f"The fit of the series {series.name!r} failed",
            why=f"{type(error).__name__}: {error}"[:400],
            fix=REPORT_FIX,
        ) from error


def _lock(results: Sequence[FitResult], folder: Path, *, agreed: Agreed) -> None:
    for result in results:
        if not result.describes or not all(map(math.isfinite, result.values.values())):
            logger.warning("%s is not locked: %s.", result.series.name, result.verdict.reason)
            continue
        lock, place = lock_of(result, agreed), toml.path_of(folder, result.name)
        lock_file.write(lock, place)
        tell_of_room(lock, place)
    toml.note_locks(folder, toml.remove_renamed(folder, [result.name for result in results]))


def _check_reach(series: Sequence[Series], spec: FitSpec) -> None:
    """Refuse values of y that are outside its physical range, such as a ratio in percent."""
    for each in series:
        low, high = each.y_box
        for value in spec.reach:
            if not low <= value <= high:
                raise SparsityLabError(
                    f"--reach {value:g} is outside the range of {each.y_variable.meaning}, {low:g} to {high:g}",
                    why=f"It is in the unit of y: {each.y_variable.unit}",
                    fix="Write 0.125 for 12.5 %",
                )


def _say_rivals_left_out(series: Sequence[Series], spec: FitSpec) -> None:
    """Note which rivals are not compared because an input is 0 or negative."""
    asked = spec.rival_names(series[0].inputs)
    for each in series:
        taken = {law.name for law in rivals_of(each, spec)}
        if gone := [name for name in asked if load_law(name).name not in taken]:
            logger.warning(
                "%s: %s begin%s above 0, and the series does not: not compared.",
                each.name, ", ".join(gone), "s" * (len(gone) == 1),
            )  # fmt: skip


def _too_little(full: Series, spec: FitSpec, needed: int) -> str | None:
    """What a series has too little of for a fit, without the leading points that are dropped; or None."""
    series = full.without_leading(
        min(spec.drop_for(full.name) or 0, len(full.y)), forward_of(spec, full.inputs)
    )
    points = len(series.y)
    if points < needed:
        return f"{points} points, and a fit needs {needed}"
    fewest = FEWEST_PLACES if series.inputs == 1 else 2
    for variable, column in zip(series.x_variables, series.x.reshape(points, -1).T, strict=True):
        count = len(np.unique(column))
        if count == 1:
            return f"{points} points, all at {variable.meaning} = {column[0]:g}"
        if count < fewest:
            return f"{points} points at only {count} different values of {variable.meaning}"
    return None
