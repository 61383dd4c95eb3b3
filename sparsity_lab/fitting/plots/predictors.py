"""Figures of how well predictors know the active neurons, from the tables of `sparsity-lab predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sparsity_lab.fitting.plots.canvas.axes import BARS, GREY, HALF, draw_each, look
from sparsity_lab.fitting.plots.canvas.frames import measured_rows
from sparsity_lab.fitting.plots.canvas.panels import by_model_and_text, names_in
from sparsity_lab.fitting.plots.canvas.style import COLOURS, styled

BASELINES: dict[str, dict[str, Any]] = {
    "frequent": {"color": COLOURS[2], "linestyle": "--"},
    "last-token": {"color": COLOURS[1], "linestyle": "-."},
    "oracle": {"color": GREY, "linestyle": ":"},
}
RANK_COLOURS = (COLOURS[4], COLOURS[0], COLOURS[6], COLOURS[3], COLOURS[5])


def draw_predictors(folder: Path) -> list[Path]:
    """Draw both figures as PNG and SVG next to the tables.

    recall    recall against the neurons named, by rank, with the guesses that need no training
    layers    recall by layer at the middle budget
    """
    frame = measured_rows(folder / "predictors.csv")
    frame["layer"] = frame["layer"].astype(str)
    budgets = sorted(frame["budget"].dropna().unique())
    middle = budgets[len(budgets) // 2]
    by_layer = frame[(frame["layer"] != "all") & (frame["budget"] == middle)]
    by_layer = by_layer.assign(layer=by_layer["layer"].astype(int))
    note = f", {middle:g} times the active neurons"
    with styled(names_in(frame)):
        return draw_each(folder, {
            "recall": lambda stem: _panels(frame[frame["layer"] == "all"], "named_share", stem),
            "layers": lambda stem: _panels(by_layer, "layer", stem, note=note),
        })  # fmt: skip


def _panels(frame: pd.DataFrame, x: str, stem: Path, *, note: str = "") -> list[Path]:
    ranks = [int(rank) for rank in frame["rank"].dropna().unique()]

    def panel(axes: Axes, rows: pd.DataFrame) -> None:
        _lines(axes, rows, x, ranks)
        axes.set_ylabel("active neurons named (%)")
        axes.set_ylim(0, 102)
        axes.set_xlabel("layer" if x == "layer" else "neurons named (% of a layer)")
        if x == "layer":
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    handles = [Line2D([], [], **_look(i), label=f"predictor, rank {rank}") for i, rank in enumerate(ranks)]
    handles += [Line2D([], [], **line, label=name) for name, line in BASELINES.items()]
    return by_model_and_text(frame, panel, stem, handles=handles, note=note)


def _lines(axes: Axes, rows: pd.DataFrame, x: str, ranks: list[int]) -> None:
    for name, baseline in BASELINES.items():
        _line(axes, rows[rows["method"] == name], x, baseline)
    for index, rank in enumerate(ranks):
        _line(axes, rows[(rows["method"] == "predictor") & (rows["rank"] == rank)], x, _look(index))


def _line(axes: Axes, rows: pd.DataFrame, x: str, style: dict[str, Any]) -> None:
    across = rows[x] if x == "layer" else 100 * rows[x]
    axes.errorbar(across, 100 * rows["recall"], yerr=100 * HALF * rows["recall_se"], **BARS, **style)


def _look(index: int) -> dict[str, Any]:
    return {**look(index), "color": RANK_COLOURS[index % len(RANK_COLOURS)]}
