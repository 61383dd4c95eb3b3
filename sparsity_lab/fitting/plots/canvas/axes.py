"""What many figures ask of their axes: looks by number, error bars, logarithms with plain numbers, named rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, Locator, LogLocator, NullFormatter

from sparsity_lab.fitting.figures import attempted
from sparsity_lab.fitting.plots.canvas.style import COLOURS, MARKERS

HALF = 1.96  # standard errors to either side of a value: a 95 % bar
GREY = "#777777"
BARS: dict[str, Any] = {"capsize": 1.5, "elinewidth": 0.7}
CHANCE: dict[str, Any] = {
    "color": GREY,
    "linewidth": 0.6,
    "linestyle": ":",
}  # a line that others are compared with
PLAIN = FuncFormatter(lambda value, _: f"{value:g}")
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# In letters, as in "tokens (10⁹)": matplotlib typesets a formula again for each figure, which takes as long as a panel.
POWERS = FuncFormatter(lambda value, _: f"10{f'{math.log10(value):.0f}'.translate(RAISED)}")


def look(index: int) -> dict[str, Any]:
    """Colour and marker of the curve of a number; after the last they begin again."""
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


def plain_ticks(axis: Axis, ticks: Locator | Sequence[float] | None = None) -> None:
    """Plain numbers on a logarithmic axis, at 1, 2 and 5 of each decade where no ticks are given."""
    locator = LogLocator(subs=(1.0, 2.0, 5.0)) if ticks is None else ticks
    axis.set_major_locator(locator if isinstance(locator, Locator) else FixedLocator(list(locator)))
    axis.set_major_formatter(PLAIN)
    axis.set_minor_formatter(NullFormatter())


def named_rows(axes: Axes, names: Sequence[str]) -> None:
    """A row for each name, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)


def draw_each(folder: Path, figures: Mapping[str, Callable[[Path], list[Path]]]) -> list[Path]:
    """Draw the figures of a folder, each by its name without an ending; one that fails is only reported."""
    written: list[Path] = []
    for name, draw in figures.items():
        with attempted(folder / name):
            written += draw(folder / name)
    return written
