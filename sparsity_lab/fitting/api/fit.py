"""`from sparsity_lab import fit`: fits every series of a table, and gives the fits as a list that can be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.api.keywords import filled, names_of, refuse_unknown, taking
from sparsity_lab.fitting.data.columns import TOKENS, Columns, called
from sparsity_lab.fitting.fit_table import fit_all, fit_table, series_of, source_of
from sparsity_lab.fitting.reproduce import published
from sparsity_lab.fitting.result import FitResult
from sparsity_lab.fitting.spec import FitSpec
from sparsity_lab.progress import Progress, chosen
from sparsity_lab.reading.frames import FramePath, named_table
from sparsity_lab.store.results import Shown, Table, wrapped
from sparsity_lab.store.tables import Row

if TYPE_CHECKING:
    import pandas as pd

MADE_HERE = ("drop_rule",)  # follows from the other settings
PLAIN = {"x": ("x",), "y": "y", "se": "se"}  # columns of a frame that need not be named


class Fits(Shown, list[FitResult]):
    """The fits of a table, in the order of its series: a list, whose items are also had by the name of their series."""

    @overload  # type: ignore[override]
    def __getitem__(self, place: int | str) -> FitResult: ...
    @overload
    def __getitem__(self, place: slice) -> Fits: ...
    def __getitem__(self, place: int | str | slice) -> FitResult | Fits:
        if isinstance(place, str):
            return {result.name: result for result in self}[place]
        return Fits(super().__getitem__(place)) if isinstance(place, slice) else super().__getitem__(place)

    def to_dict(self) -> dict[str, Any]:
        """The entry of fits.json of each series, by its name; keys as in `FIT_KEYS`."""
        return {result.name: result.to_dict() for result in self}

    def _rows(self) -> list[Row]:
        return [result.row for result in self]

    def _title(self) -> str:
        return f"{len(self)} fit{'s' * (len(self) != 1)}, coefficients with 95 % intervals"

    def _table(self) -> Table:
        rows = [result.summary for result in self]
        keys = dict.fromkeys(key for row in rows for key in row if key != "bound")
        return rows, {key: key for key in (*keys, "bound")}

    def __repr__(self) -> str:
        return "\n".join([self._title(), *(wrapped(result.line) for result in self)])


@taking(FitSpec, Columns, without=MADE_HERE)
def fit(
    table: str | Path | pd.DataFrame,
    *,
    output: str | Path | None = None,
    jobs: int = 1,
    progress: Progress | bool | None = None,
    **settings: Any,
) -> Fits:
    """Fit a law to every series of a table, with rivals, 95 % intervals and a verdict.

    Args:
        table: a data frame of pandas, a CSV, or the name of a bundled table, which is fitted as its publication did
            unless settings say otherwise. Columns are found by their usual names (series or model, tokens,
            activation_ratio); others are named by `x`, `y`, `group` and `se`, unless a frame calls them x, y and se.
        output: a folder that gets what `sparsity-lab fit` writes; None to write nothing.
        jobs: worker processes, 0 for one a core. The numbers do not depend on it.
        progress: True for bars, False for none, None for bars in a notebook; or where to report.
        settings: the fields of `fitting.spec.FitSpec` (law, rivals, drop, robust, ...) and of
            `fitting.data.columns.Columns` (x, y, group, se, unit, ...).

    Returns:
        The fits, in the order of the series.

    Raises:
        SparsityLabError: the table is faulty, or a setting, law or series is unknown or of no use.
    """
    refuse_unknown(settings, names_of(FitSpec, Columns, without=MADE_HERE), function="fit")
    named, bars = named_table(table), chosen(progress)
    asked = _with_usual(named, settings)
    spec, columns = filled(FitSpec, asked), filled(Columns, asked)
    if columns.several and columns.y is None:
        columns = replace(columns, y="loss")
    _refuse_idle(settings, spec, columns)
    if named in published.tables():
        named = published.points_of(str(named))
    if output is not None:
        return Fits(fit_table(named, output=output, spec=spec, mapping=columns, jobs=jobs, progress=bars))
    series, _ = series_of(source_of(named), spec, columns)
    return Fits(fit_all(series, spec, jobs=jobs, progress=bars))


def _with_usual(table: Path | str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, and those that go without saying for this table."""
    if isinstance(table, FramePath) and called(TOKENS, table.header) is None:
        settings = {**{name: column for name, column in PLAIN.items() if name in table.header}, **settings}
    return published.as_published(table if isinstance(table, str) else "", settings)


def _refuse_idle(settings: Mapping[str, Any], spec: FitSpec, columns: Columns) -> None:
    """Refuse a setting that would do nothing beside the others.

    Raises:
        SparsityLabError: there is one.
    """
    idle = {"delta": not spec.robust, "by": not columns.several, "reach": columns.several}
    whys = {
        "delta": "without robust=True",
        "by": "for a law of one input",
        "reach": "for a law of several inputs",
    }
    for name, is_idle in idle.items():
        if is_idle and name in settings:
            raise SparsityLabError(f"{name} does nothing {whys[name]}", fix="Leave it out")
