"""`from sparsity_lab import density`: the density of the models of a table, as a result that can be read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsity_lab.fitting.api.keywords import filled, names_of, refuse_unknown, taking
from sparsity_lab.fitting.density.measure import measure_density
from sparsity_lab.fitting.density.options import DensityOptions, DensityReport
from sparsity_lab.fitting.density.paragraph import headline
from sparsity_lab.fitting.density.report import as_json, run_density, table_rows
from sparsity_lab.progress import Progress, chosen
from sparsity_lab.reading.frames import named_table
from sparsity_lab.store.columns import headings
from sparsity_lab.store.results import Shown, Table, plain
from sparsity_lab.store.table_columns.density import TABLE
from sparsity_lab.store.tables import Row

if TYPE_CHECKING:
    import pandas as pd

TABLES = "targets", "models"  # settings that name a table, which may be a frame


@dataclass(frozen=True, repr=False)
class DensityResult(Shown, DensityReport):
    """What a run of `density` found: a `DensityReport` that can be read."""

    def to_dict(self) -> dict[str, Any]:
        """The document of density.json; `models` has the columns of table.csv."""
        document: dict[str, Any] = plain(as_json(self, self._rows(), seed=self.yardstick.seed))
        return document

    def _rows(self) -> list[dict[str, object]]:
        return table_rows(self)

    def _title(self) -> str:
        return f"{headline(self)[0]}."

    def _table(self) -> Table:
        """The records where there is a trend, all models where there is none."""
        rows: list[Row] = [row for row in self._rows() if row["frontier"] or self.trend is None]
        return rows, headings(TABLE.pick("model size_b score rho rho_low rho_high flags released"))

    def _notes(self) -> list[str]:
        count = len(self.notes)
        return [f"{count} note{'s' * (count != 1)} for readers of these numbers in notes"] if count else []


@taking(DensityOptions)
def density(
    targets: str | Path | pd.DataFrame | None = None,
    *,
    output: str | Path | None = None,
    seed: int = 0,
    progress: Progress | bool | None = None,
    **settings: Any,
) -> DensityResult:
    """Density rho = N^/N of every model of a table: N^ is the size at which the ruler's family reaches its score.

    Args:
        targets: a data frame or a CSV of models (model, params_b, release_date and one column a task) or of scores, a
            folder of lm-eval results, the name of a bundled table, or None for the bundled open base models.
        output: a folder that gets what `sparsity-lab density` writes; None to write nothing.
        seed: of all random choices.
        progress: True for bars, False for none, None for bars in a notebook; or where to report.
        settings: the fields of `fitting.density.options.DensityOptions` (ruler, tasks, models, project_to, ...).

    Raises:
        SparsityLabError: a setting is unknown, or a table, ruler or task is not usable.
    """
    refuse_unknown(settings, names_of(DensityOptions, without=["targets"]), function="density")
    asked = {"targets": targets, **settings}
    named = {name: named_table(asked[name], name) for name in TABLES if asked.get(name) is not None}
    options, bars = filled(DensityOptions, {**asked, **named}), chosen(progress)
    if output is not None:
        report, _ = run_density(output=Path(output), seed=seed, options=options, progress=bars)
    else:
        report = measure_density(seed=seed, options=options, progress=bars)
    return DensityResult(**vars(report))
