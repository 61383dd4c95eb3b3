"""Figures of a mixture's experts, from the tables of `sparsity-lab neurons`: one panel a model and text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from sparsity_lab.fitting.plots.canvas.axes import BARS, HALF, look, plain_ticks
from sparsity_lab.fitting.plots.canvas.panels import by_model_and_text

SHADES = "Blues"  # one hue, pale to strong
MOST_LABELLED = 1e4  # ratio up to which 1, 2 and 5 of each decade have room next to a bar
CURVES = {"srp": "SRP", "sch": "SCH, a cache of twice the chosen experts"}


def expert_figures(read: Mapping[str, pd.DataFrame]) -> dict[str, Callable[[Path], list[Path]]]:
    """What draws each figure, by its name; nothing where the tables hold no experts.

    expert_load       the load of each routed expert, layer by layer, as a multiple of an even one
    expert_outputs    the largest output of each, over the median (figure 5 of Su et al., arXiv 2507.23279)
    expert_routing    SRP and SCH against the tokens of a segment (figures 4 and 8 of Liang et al. show them)
    """
    if "experts" not in read:
        return {}
    routed = read["experts"].query("kind == 'routed'").copy()
    in_layer = routed.groupby(["name", "text", "layer"])["load"].transform("size")
    routed["load"] *= in_layer
    together = read["expert_routing"].query("layer == 'all'")
    handles = [Line2D([], [], **look(index), label=words) for index, words in enumerate(CURVES.values())]
    load = partial(_map, column="load", words="load, even = 1", scale=_even)
    outputs = partial(
        _map, column="largest_output_over_median", words="largest output\nover median", scale=_log
    )
    return {
        "expert_load": lambda stem: by_model_and_text(routed, load, stem, handles=()),
        "expert_outputs": lambda stem: by_model_and_text(routed, outputs, stem, handles=()),
        "expert_routing": lambda stem: by_model_and_text(together, _routing, stem, handles=handles),
    }


def _map(
    axes: Axes, rows: pd.DataFrame, *, column: str, words: str, scale: Callable[[np.ndarray], Normalize]
) -> None:
    """Layers downward, experts across; a cross where no token came to an expert."""
    grid = rows.pivot(index="layer", columns="expert", values=column)
    came = rows.pivot(index="layer", columns="expert", values="tokens").to_numpy()
    values = np.where(came > 0, grid.to_numpy(), np.nan)
    edges = (np.arange(size + 1) - 0.5 for size in values.shape[::-1])
    drawn = axes.pcolormesh(*edges, values, cmap=colormaps[SHADES], norm=scale(values), rasterized=True)
    layer, expert = np.nonzero(came == 0)
    axes.plot(expert, layer, linestyle="", marker="x", color="#555555", markersize=4)
    axes.set_ylim(len(grid) - 0.5, -0.5)
    axes.set_yticks(range(len(grid)), [str(int(number)) for number in grid.index])
    if len(grid) > 8:
        axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda place, _: _named(grid.index, place)))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.grid(visible=False)
    axes.set_xlabel("expert")
    axes.set_ylabel("layer")
    bar = axes.figure.colorbar(drawn, ax=axes, pad=0.02, aspect=12)
    bar.set_label(words, fontsize=6.5)
    bar.ax.tick_params(labelsize=6)
    bar.outline.set_linewidth(0.4)
    if isinstance(drawn.norm, LogNorm):
        low, high = drawn.get_clim()
        wide = (high or 0.0) > MOST_LABELLED * (low or 0.0)
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        bar.ax.yaxis.set_minor_formatter(NullFormatter())


def _named(layers: pd.Index, place: float) -> str:
    """The layer whose row lies at a place of the axis."""
    return str(int(layers[int(place)])) if 0 <= place < len(layers) and place == int(place) else ""


def _even(values: np.ndarray) -> Normalize:
    """From none to the largest."""
    return Normalize(0.0, float(np.nanmax(values)))


def _log(values: np.ndarray) -> Normalize:
    """By decades, from the least to the largest."""
    above = values[values > 0]
    low, high = float(above.min()), float(above.max())
    return LogNorm(low, max(high, 1.01 * low))


def _routing(axes: Axes, rows: pd.DataFrame) -> None:
    for index, name in enumerate(CURVES):
        error = HALF * rows[f"{name}_se"]
        axes.errorbar(rows["segment"], rows[name], yerr=error, **look(index), **BARS)
    axes.set_xscale("log", base=2)
    plain_ticks(axes.xaxis, sorted(rows["segment"].unique()))
    axes.set_ylim(0, 1)
    axes.set_xlabel("consecutive tokens m")
    axes.set_ylabel("share, all layers")
