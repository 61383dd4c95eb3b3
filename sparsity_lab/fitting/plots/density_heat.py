"""Density per task as a heat map: models by release date down, tasks across, colour by log2 rho."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from sparsity_lab.fitting.density.densities import Density
from sparsity_lab.fitting.density.options import DensityReport
from sparsity_lab.fitting.plots.canvas.style import beside, figure, label, save, styled, width_for

ROW_INCHES, HEAD_INCHES = 0.105, 0.75
FONT_SIZE = 5.2
COLOUR_MAP = "RdBu"
LARGEST_EXPONENT = 5


def plot_heat(report: DensityReport, stem: Path) -> list[Path]:
    """Write `stem.png` and `stem.svg`; bounds are printed as `>` and `<` in the colour of the bound."""
    ordered = report.by_date
    columns = [("mean", {d.target.model: d for d in report.densities})]
    columns += [(task, {d.target.model: d for d in found}) for task, found in report.per_task.items()]
    cells = [[found.get(d.target.model) for _, found in columns] for d in ordered]
    models = [d.target.model for d in ordered]
    with styled([*models, *(name for name, _ in columns)]):
        drawn, (axes,) = figure(width=width_for(models), height=HEAD_INCHES + ROW_INCHES * len(ordered))
        values = np.array([[_log2(cell) for cell in row] for row in cells])
        limit = min(LARGEST_EXPONENT, max(1, int(np.ceil(np.nanmax(np.abs(values))))))
        shown = axes.imshow(
            np.ma.masked_invalid(values), cmap=COLOUR_MAP, norm=Normalize(-limit, limit), aspect="auto",
            interpolation="nearest",
        )  # fmt: skip
        _print_cells(axes, cells, values, limit)
        _label(axes, [label(name) for name in models], [label(name) for name, _ in columns])
        bar = drawn.colorbar(shown, ax=axes, location="bottom", fraction=0.025, pad=0.012, aspect=40)
        ticks = list(range(-limit, limit + 1))
        bar.set_ticks(ticks, labels=[_power(t) for t in ticks])
        density = beside(report.ruler.name, r"$\rho$", "N^/N")
        bar.set_label(f"density {density} (ruler: {label(report.ruler.name)})")
        bar.outline.set_linewidth(0.4)
        return save(drawn, stem)


def _log2(cell: Density | None) -> float:
    if cell is None:
        return float("nan")
    value = cell.rho if cell.rho is not None else cell.low if cell.low is not None else cell.high
    return float(np.log2(value)) if value else float("nan")


def _print_cells(axes: Axes, cells: list[list[Density | None]], values: np.ndarray, limit: int) -> None:
    for row, line in enumerate(cells):
        for column, cell in enumerate(line):
            if cell is not None:
                dark = abs(values[row, column]) > 0.62 * limit
                axes.text(column, row, _text(cell), ha="center", va="center", fontsize=FONT_SIZE,
                          color="white" if dark else "black")  # fmt: skip


def _text(cell: Density) -> str:
    if cell.rho is not None:
        return f"{cell.rho:.2g}"
    return f">{cell.low:.2g}" if cell.low is not None else f"<{cell.high:.2g}" if cell.high else "?"


def _label(axes: Axes, models: list[str], tasks: list[str]) -> None:
    axes.grid(visible=False)
    axes.set_yticks(range(len(models)), labels=models, fontsize=FONT_SIZE)
    axes.set_xticks(range(len(tasks)), labels=tasks, fontsize=FONT_SIZE + 0.8)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _power(exponent: int) -> str:
    return f"{2**exponent}" if exponent >= 0 else f"1/{2**-exponent}"
