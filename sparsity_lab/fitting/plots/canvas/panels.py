"""Figures of one panel a model and text, in one column or two, one legend above."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sparsity_lab.fitting.plots.canvas.style import COLUMN_WIDTH_INCHES, broken, figure, label, save

MOST_PANELS = 6
ONE_COLUMN = 3
PANEL_INCHES = 1.75
PANEL_TITLE_INCHES = 2.9
Panel = Callable[[Axes, pd.DataFrame], None]


def by_model_and_text(
    frame: pd.DataFrame, panel: Panel, stem: Path, *, handles: Sequence[Line2D], note: str = ""
) -> list[Path]:
    """Draw and save.

    Args:
        frame: rows with the columns name and text.
        panel: draws one model's rows on one text; sets labels.
        stem: of the files.
        handles: of the legend; none for no legend.
        note: added to each panel's title.
    """
    groups = chosen_groups(frame)
    columns = 1 if len(groups) <= ONE_COLUMN else 2
    rows = -(-len(groups) // columns)
    drawn, axes = figure(rows, columns, width=COLUMN_WIDTH_INCHES * columns, height=0.7 + PANEL_INCHES * rows)
    for place, ((name, text), rows_here) in enumerate(groups):
        panel(axes[place], rows_here)
        axes[place].set_title(panel_title(name, text, note=note), loc="left")
        if place + columns < len(groups):
            axes[place].set_xlabel("")
        if place % columns:
            axes[place].set_ylabel("")
    for unused in axes[len(groups) :]:
        unused.set_axis_off()
    if handles:
        drawn.legend(handles=list(handles), loc="outside upper center", ncols=2 * columns, handlelength=2.2)
    return save(drawn, stem)


def panel_title(name: object, text: object, *, note: str = "") -> str:
    """Model and text, in as many lines as a panel of a column's width asks for."""
    return broken(f"{label(name)}, {label(text)}{note}", inches=PANEL_TITLE_INCHES)


def names_in(*frames: pd.DataFrame) -> list[str]:
    """Models and texts of tables, which figures show by name."""
    return [
        str(name)
        for frame in frames
        for key in ("name", "text")
        if key in frame
        for name in frame[key].unique()
    ]


def chosen_groups(frame: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    """Every model and text, or where these are too many each model's first text, the first `MOST_PANELS` of them."""
    groups = [((str(key[0]), str(key[1])), rows) for key, rows in frame.groupby(["name", "text"], sort=False)]
    if len(groups) > MOST_PANELS:
        first: dict[str, tuple[tuple[str, str], pd.DataFrame]] = {}
        for group in groups:
            first.setdefault(group[0][0], group)
        groups = list(first.values())
    return groups[:MOST_PANELS]
