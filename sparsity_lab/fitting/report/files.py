"""Writes what fits found: fits.json (everything), fits.csv (one line a fit), fits.md (for readers), and figures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from sparsity_lab.fitting.data.names import figure_name
from sparsity_lab.fitting.figures import KINDS, attempted, file_of
from sparsity_lab.fitting.report.text import markdown
from sparsity_lab.fitting.reproduce import families, families_report
from sparsity_lab.fitting.reproduce.families import Limit
from sparsity_lab.fitting.result import FitResult
from sparsity_lab.progress import Progress
from sparsity_lab.provenance import provenance
from sparsity_lab.store.records import write_json, write_text
from sparsity_lab.store.tables import to_csv

ALL = "all"
RESIDUAL_KEYS = ("series", "run", "y", "fitted", "residual", "se")


def write(results: Sequence[FitResult], folder: Path, *, source: Path) -> None:
    """Write all files of a batch of fits into `folder` but the figures.

    fits.json, fits.csv, fits.md and residuals.csv are the same bytes for the same input and seed; what differs
    from run to run (time, versions, command) is in provenance.json.
    """
    write_json(folder / "fits.json", [result.to_dict() for result in results])
    rows = [result.row for result in results]
    write_text(folder / "fits.csv", to_csv(rows, list(dict.fromkeys(key for row in rows for key in row))))
    left = [row for result in results for row in _residuals(result)]
    write_text(
        folder / "residuals.csv", to_csv(left, list(dict.fromkeys(key for row in left for key in row)))
    )
    families_report.write(results, folder)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    write_json(folder / "provenance.json", provenance(table=source.name, table_sha256=digest))
    write_text(folder / "fits.md", markdown(results))


def draw(
    results: Sequence[FitResult], folder: Path,
    perform: Callable[[Sequence[Callable[[], bool]]], Iterator[tuple[int, bool]]] | None, *, progress: Progress,
) -> None:  # fmt: skip
    """Draw the figures and link them in fits.md; where `perform` is None, remove those of an earlier call."""
    stems = [folder / "plots" / figure_name(result.name) for result in results]
    limits = families_report.shown(results, folder)
    if perform is None:
        for stem in (*stems, folder / "plots" / ALL, *limits):
            for kind in KINDS:
                with suppress(OSError):
                    file_of(stem, kind).unlink(missing_ok=True)
        return
    drawn = set()
    sheets = [partial(_sheet, result, stem) for result, stem in zip(results, stems, strict=True)]
    # Workers have matplotlib by then, which takes longer to import than to draw these.
    together = [
        partial(_overview, results, folder / "plots" / ALL),
        *(partial(_limits, each, stem) for stem, each in limits.items()),
    ]
    with progress.track("figures", len(sheets)) as advance:
        for place, is_drawn in perform([*sheets, *together]):
            if place < len(sheets):
                drawn |= {results[place].name} if is_drawn else set()
                advance(1)
    write_text(folder / "fits.md", markdown(results, drawn=drawn))


def _sheet(result: FitResult, stem: Path) -> bool:
    """Draw the sheet of a series; whether it is there."""
    with attempted(stem):
        from sparsity_lab.fitting.plots import fits as plots

        plots.sheet(result, stem)
        return True
    return False


def _overview(results: Sequence[FitResult], stem: Path) -> bool:
    """Draw all series in one figure; whether it is there."""
    with attempted(stem):
        from sparsity_lab.fitting.plots import fits as plots

        plots.overview(results, stem)
        return True
    return False


def _limits(limits: Sequence[Limit], stem: Path) -> bool:
    """Draw limits against parameters; whether the figure is there."""
    with attempted(stem):
        from sparsity_lab.fitting.plots.families import limits_figure

        limits_figure(limits, families.against_scale(limits), stem)
        return True
    return False


def _residuals(result: FitResult) -> Iterator[dict[str, Any]]:
    """The points of a fit with the curve, a line of residuals.csv each."""
    series = result.series
    meanings = [variable.meaning for variable in series.x_variables]
    names = [f"{name} (x)" if name in RESIDUAL_KEYS else name for name in meanings]
    points = zip(
        series.x.reshape(len(series.y), -1).tolist(), series.y.tolist(), result.fitted.tolist(), strict=True
    )
    for at, (x, y, fitted) in enumerate(points):
        yield {
            "series": result.name,
            **({} if series.runs is None else {"run": str(series.runs[at])}),
            **dict(zip(names, x, strict=True)),
            "y": y,
            "fitted": fitted,
            "residual": y - fitted,
            **({} if series.se is None else {"se": float(series.se[at])}),
        }
