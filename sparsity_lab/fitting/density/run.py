"""The density of a table of models, from ruler to trend, written out: what `sparsity-lab density` does."""

from __future__ import annotations

from pathlib import Path

from sparsity_lab.fitting.density.measure import measure_density
from sparsity_lab.fitting.density.options import DensityOptions, DensityReport
from sparsity_lab.fitting.density.report import write_report
from sparsity_lab.machine.sole_writer import sole_writer
from sparsity_lab.progress import SILENT, Progress


def run_density(
    *, output: Path, seed: int = 0, options: DensityOptions | None = None, progress: Progress = SILENT
) -> tuple[DensityReport, list[Path]]:
    """Rulers, densities, frontier, trend, tables and figures, written to `output`; and the paths of the files.

    Raises:
        SparsityLabError: a table, ruler, task or the output directory is not usable.
    """
    with sole_writer(output):
        report = measure_density(seed=seed, options=options, progress=progress)
        return report, write_report(report, output, seed=seed)
