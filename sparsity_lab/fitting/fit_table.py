"""Fits every series of a table and writes what is found: what `sparsity-lab fit` runs."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from sparsity_lab import ranges
from sparsity_lab.errors import REPORT_FIX, SparsityLabError
from sparsity_lab.fitting import report
from sparsity_lab.fitting.data.columns import Columns, say_units
from sparsity_lab.fitting.data.series import Series, read_series
from sparsity_lab.fitting.fit import fit_series
from sparsity_lab.fitting.laws_by_name import law_of_one, load_law
from sparsity_lab.fitting.locks import lock_file, toml
from sparsity_lab.fitting.result import FitResult
from sparsity_lab.fitting.spec import FitSpec
from sparsity_lab.machine.cores import available_cores
from sparsity_lab.machine.sole_writer import sole_writer
from sparsity_lab.machine.workers import side_by_side
from sparsity_lab.progress import SILENT, Advance, Progress
from sparsity_lab.settings import AUTO
from sparsity_lab.store import bundled, records

logger = logging.getLogger(__name__)

SERIES_PER_WORKER = 4  # fewer are fitted in the time a worker takes to start
FEWEST_PLACES = 3  # different x, for a curve
FEWEST_SPARE = 2  # points beyond the coefficients, below which a fit says nothing


def fit_table(
    path: Path | str,
    *,
    output: Path | str,
    spec: FitSpec | None = None,
    mapping: Columns | None = None,
    lock: str | None = None,
    jobs: int = 1,
    progress: Progress = SILENT,
) -> list[FitResult]:
    """Fit every series of a table and write fits.json, fits.csv, fits.md and the plots.

    Args:
        path: a CSV (`series.read_series` says which columns), or the name of a bundled table.
        output: the folder written to.
        spec: what to fit; the defaults where None.
        mapping: columns of a foreign CSV.
        lock: the reason to lock these fits, under `locks/`; None for no locks.
        jobs: worker processes; 0 for one a core. The numbers do not depend on it.
        progress: how to show progress.

    Raises:
        SparsityLabError: the table is faulty, a law or series is unknown, or the output cannot be written.
    """
    source = bundled.path(path) if isinstance(path, str) and path in bundled.names() else Path(path)
    series, spec, folder = read_series(source, mapping=mapping), spec or FitSpec(), Path(output)
    say_units(series[0].units, source)
    records.refuse_over_input(source, folder / "fits.csv")
    if lock is not None:
        table = toml.table_entry(path, folder)
        subject, law = (
            {"table": table, **vars(mapping or Columns())},
            None if spec.law == AUTO else load_law(spec.law).name,
        )
        toml.refuse_others(folder, [one.name for one in series], subject=subject, law=law)
    with sole_writer(folder):
        results = fit_all(series, spec, jobs=jobs, progress=progress)
        report.write(results, folder, source=source)
        if lock is not None:
            _lock(results, folder, table=table, reason=lock, columns=mapping)
    return results


def fit_all(
    series: Sequence[Series], spec: FitSpec, *, jobs: int = 1, progress: Progress = SILENT
) -> list[FitResult]:
    """Fit each series; those with too few points are left out and named on the log.

    Raises:
        SparsityLabError: a law or series is unknown, a number is out of its range, or no series has enough points.
    """
    ranges.check("jobs", jobs, command="fit")
    spec.check_names([one.name for one in series])
    _check_reach(series, spec)
    for name in (*spec.rivals, *((spec.law,) if spec.law != AUTO else ())):
        law_of_one(name)
    if spec.weighted and (bare := [s.name for s in series if s.se is None or not (s.se > 0).all()]):
        raise SparsityLabError(
            f"The series {', '.join(bare)} cannot be weighted",
            why="Some of their points have no standard error above 0",
            fix="Name the column of standard errors with --se, or fit without --weighted",
        )
    kept = [one for one in series if _long_enough(one, spec)]
    if not kept:
        raise SparsityLabError(
            "No series has enough points to fit",
            why=f"The longest has {max(len(one.y) for one in series)} points before any are dropped",
            fix="Measure more checkpoints or drop fewer of them",
        )
    jobs = min(jobs or min(available_cores(), len(kept) // SERIES_PER_WORKER), len(kept)) or 1
    with progress.track("fit", len(kept)) as advance:
        if jobs == 1:
            return [_told(_fit(one, spec), advance) for one in kept]
        results: dict[int, FitResult] = {}
        with side_by_side(jobs, torch_too=False) as workers:
            for number, result in workers.perform([partial(_fit, one, spec) for one in kept]):
                results[number] = result
                advance(1)
    return [_told(results[number]) for number in range(len(kept))]


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


def _lock(
    results: Sequence[FitResult], folder: Path, *, table: str, reason: str, columns: Columns | None
) -> None:
    for result in results:
        if not result.describes or not all(map(math.isfinite, result.values.values())):
            logger.warning("%s is not locked: %s.", result.series.name, result.verdict.reason)
            continue
        made = lock_file.lock_of(result, table=table, reason=reason, columns=columns)
        lock_file.write(made, toml.path_of(folder, result.series.name))
    toml.remove_renamed(folder, [result.series.name for result in results])


def _check_reach(series: Sequence[Series], spec: FitSpec) -> None:
    """Refuse values of y that are outside its physical range, such as a ratio in percent."""
    for one in series:
        low, high = one.y_box
        for value in spec.reach:
            if not low <= value <= high:
                raise SparsityLabError(
                    f"--reach {value:g} is outside the range of {one.y_variable.meaning}, {low:g} to {high:g}",
                    why=f"It is in the unit of y: {one.y_variable.unit}",
                    fix="Write 0.125 for 12.5 %",
                )


def _told(result: FitResult, advance: Advance = lambda done: None) -> FitResult:
    advance(1)
    logger.info(
        "%s: law %s (%s), %d leading points dropped (%s).",
        result.series.name, result.law.name, result.law_rule, result.series.dropped, result.drop_rule,
    )  # fmt: skip
    return result


def _long_enough(series: Series, spec: FitSpec) -> bool:
    laws = [load_law(spec.law)] if spec.law != AUTO else [load_law("power"), load_law("logspace-power")]
    needed = max(len(law.parameters) for law in laws) + FEWEST_SPARE
    left = len(series.y) - (spec.drop_for(series.name) or 0)
    if left < needed:
        logger.warning("Series %s is left out: it has %d points, a fit needs %d.", series.name, left, needed)
        return False
    places = len(set(series.x))
    if places < FEWEST_PLACES:
        x = series.x_variable.meaning
        logger.warning("Series %s is left out: it has only %d value(s) of %s.", series.name, places, x)
    return places >= FEWEST_PLACES
