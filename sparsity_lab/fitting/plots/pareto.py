"""Perplexity against activation ratio, one line a criterion, one panel a model (Sparsing Law, figure 2)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from sparsity_lab.fitting.plots.canvas.axes import look
from sparsity_lab.fitting.plots.canvas.frames import read_frame
from sparsity_lab.fitting.plots.canvas.style import (
    COLOURS,
    COLUMN_WIDTH_INCHES,
    figure,
    label,
    save,
    styled,
    undrawn,
)

SHOWN_RISE = 0.25


def draw_sweep(table: Path, *, output: Path) -> list[Path]:
    """Draw `sweep.csv` into `output/pareto.png` and `.svg`."""
    frame = read_frame(table)
    if frame.empty:
        return undrawn(output / "pareto")
    models = list(frame["series"].unique())
    with styled([*models, *frame["criterion"].unique()]):
        drawn, panels = figure(
            len(models), 1, width=COLUMN_WIDTH_INCHES * 1.35, height=2.4 * len(models) + 0.2
        )
        for axes, model in zip(panels, models, strict=True):
            _panel(axes, frame[frame["series"] == model], title=str(model))
        panels[0].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        return save(drawn, output / "pareto")


def _panel(axes: Axes, frame: pd.DataFrame, *, title: str) -> None:
    for index, (criterion, rows) in enumerate(frame.groupby("criterion", sort=True)):
        rows = rows.sort_values("activation_ratio")
        again = index >= len(COLOURS)  # a colour's second line is dashed, its marks are open
        axes.errorbar(
            rows["activation_ratio"],
            100 * (rows["ppl_ratio"] - 1),
            xerr=rows["activation_ratio_se"],
            **look(index),
            linestyle="--" if again else "-",
            markerfacecolor="white" if again else None,
            elinewidth=0.5,
            label=label(criterion),
        )
    axes.set_title(label(title), loc="left")
    axes.set_ylim(-0.3, 100 * SHOWN_RISE)
    axes.set_yscale("symlog", linthresh=1.0)
    axes.set_yticks([0, 0.5, 1, 2, 5, 10, 20], ["0", "0.5", "1", "2", "5", "10", "20"])
    axes.set_xlabel("activation ratio")
    axes.set_ylabel("perplexity rise (%)")
