"""Figures of how neurons hang together, from the tables of `sparsity-lab structure`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sparsity_lab.fitting.plots.canvas.axes import BARS, GREY, HALF, draw_each, look, named_rows, plain_ticks
from sparsity_lab.fitting.plots.canvas.frames import measured_rows
from sparsity_lab.fitting.plots.canvas.panels import (
    MOST_PANELS,
    Panel,
    by_model_and_text,
    names_in,
    panel_title,
)
from sparsity_lab.fitting.plots.canvas.style import COLOURS, figure, label, save, styled, width_for

# Column of a table, what to call it, color, line.
PARTITIONS = (
    ("found", "clusters found", COLOURS[0], "-"),
    ("by_frequency", "by frequency", COLOURS[2], "--"),
    ("matched", "random, frequency-matched", COLOURS[1], "-."),
    ("random", "random", GREY, ":"),
)
MEASURES = ("frequency", "importance", "coactivation")


def draw_structure(folder: Path) -> list[Path]:
    """Draw every figure that the tables of a folder allow, as PNG and SVG next to them.

    clusters     share of activity inside the best m clusters, compared with chance
    routing      segment cache best hit rate against the segment
    coactivation cosine with the best partner, by layer
    specialised  share of neurons and clusters that prefer a text
    drift        checkpoints of a run against the last and the one before
    """
    read = {path.stem: measured_rows(path) for path in sorted(folder.glob("*.csv"))}
    with styled(names_in(*read.values())):
        return draw_each(
            folder, {name: partial(FIGURES[name], read[name]) for name in FIGURES if name in read}
        )


def _clusters(frame: pd.DataFrame, stem: Path) -> list[Path]:
    return _panels(frame.query("layer == 'all'"), _inside, stem, PARTITIONS)


def _coactivation(frame: pd.DataFrame, stem: Path) -> list[Path]:
    lines = (("found", "best partner", COLOURS[0], "-"), ("random", "by chance", GREY, ":"))
    return _panels(frame, _partners, stem, lines)


def _panels(
    frame: pd.DataFrame, panel: Panel, stem: Path, lines: tuple[tuple[str, str, str, str], ...]
) -> list[Path]:
    handles = [
        Line2D([], [], color=colour, linestyle=line, marker="o" if kind == "found" else None, label=words)
        for kind, words, colour, line in lines
    ]
    return by_model_and_text(frame, panel, stem, handles=handles)


def _inside(axes: Axes, rows: pd.DataFrame) -> None:
    x = 100 * rows["neurons_share"]
    for kind, _, colour, line in PARTITIONS[1:]:
        axes.plot(x, 100 * rows[kind], color=colour, linestyle=line)
    axes.errorbar(x, 100 * rows["inside"], yerr=100 * HALF * rows["inside_se"], **look(0), **BARS)
    axes.set_xlim(0, None)
    axes.set_ylim(0, 102)
    axes.set_xlabel("neurons in a token's best m clusters (% of a layer)")
    axes.set_ylabel("its activity inside (%)")


def _routing(frame: pd.DataFrame, stem: Path) -> list[Path]:
    """Clusters: all layers together; a mixture's experts: the mean over layers."""
    clusters = frame[(frame["of"] == "clusters") & (frame["layer"].astype(str) == "all")]
    experts = frame[frame["of"] == "experts"]
    if len(experts):
        experts = experts.groupby(["name", "text", "segment"], sort=False, as_index=False)[
            ["hit_rate", "hit_rate_se"]
        ].mean()
    lines = tuple(one for one in PARTITIONS if one[0] != "matched")
    return _panels(pd.concat([clusters, experts]), _hit_rate, stem, lines)


def _hit_rate(axes: Axes, rows: pd.DataFrame) -> None:
    x = rows["segment"]
    for kind, _, colour, line in PARTITIONS[1:]:
        if kind in rows and kind != "matched" and rows[kind].notna().any():
            axes.plot(x, 100 * rows[kind], color=colour, linestyle=line)
    axes.errorbar(x, 100 * rows["hit_rate"], yerr=100 * HALF * rows["hit_rate_se"], **look(0), **BARS)
    axes.set_xscale("log", base=2)
    plain_ticks(axes.xaxis, sorted(x.unique()))
    axes.set_xlabel("segment: tokens the cache looks ahead")
    axes.set_ylabel("cache hits (%)")


def _partners(axes: Axes, rows: pd.DataFrame) -> None:
    for name, colour, line, marker in (
        ("best_partner_by_chance", GREY, ":", None), ("best_partner_cosine", COLOURS[0], "-", "o"),
    ):  # fmt: skip
        axes.errorbar(rows["layer"].astype(int), rows[name], yerr=HALF * rows[f"{name}_se"], color=colour,
                      linestyle=line, marker=marker, **BARS)  # fmt: skip
    axes.set_ylim(0, 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("layer")
    axes.set_ylabel("cosine")


def _specialised(frame: pd.DataFrame, stem: Path) -> list[Path]:
    """One row a model: above its neurons, below its clusters; gray goes to the most that permuted labels gave."""
    names = list(frame["name"].unique())
    drawn, (axes,) = figure(width=width_for(names), height=1.15 + 0.4 * len(names))
    for index, what in enumerate(("neurons", "clusters")):
        rows = frame[frame["what"] == what].set_index("name").reindex(names)
        places = np.arange(len(names)) + 0.3 * (index - 0.5)
        axes.barh(places, 100 * rows["most_if_permuted"], height=0.22, color="#cccccc",
                  label="most with permuted labels" if index == 0 else None)  # fmt: skip
        axes.plot(
            100 * rows["share"], places, linestyle="", **look(index), label=what, clip_on=False, zorder=3
        )
    named_rows(axes, list(map(label, names)))
    axes.set_xlim(0, 100)
    axes.set_xlabel("fire more in one text than in the others\n(%, false discovery rate 5 %)")
    drawn.legend(loc="outside upper center", ncols=2, handletextpad=0.3, columnspacing=1.0)
    return save(drawn, stem)


def _drift(frame: pd.DataFrame, stem: Path) -> list[Path]:
    """One row a run and text; left against the last checkpoint, right against the one before."""
    frame = frame.assign(series=frame["name"].str.rpartition("/")[0])
    groups = list(frame.groupby(["series", "text"], sort=False))[: MOST_PANELS // 2]
    drawn, panels = figure(len(groups), 2, width=7.0, height=0.6 + 2.4 * len(groups))
    for row, ((series, text), rows) in enumerate(groups):
        names = list(dict.fromkeys([*rows["name"], *rows["other"]]))
        for column, against in enumerate(("last", "previous")):
            axes = panels[2 * row + column]
            _alike(axes, rows[rows["against"] == against], names)
            axes.set_title(panel_title(series, text, note=f": against the {against}"), loc="left")
    handles = [Line2D([], [], **look(i), label=measure) for i, measure in enumerate(MEASURES)]
    handles.append(Line2D([], [], color=GREY, linestyle=":", label="with itself, half against half"))
    drawn.legend(handles=handles, loc="outside upper center", ncols=4)
    return save(drawn, stem)


def _alike(axes: Axes, rows: pd.DataFrame, names: list[str]) -> None:
    for index, measure in enumerate(MEASURES):
        of_measure = rows[rows["measure"] == measure]
        x = [names.index(name) for name in of_measure["name"]]
        axes.errorbar(x, of_measure["alike"], yerr=HALF * of_measure["alike_se"], **look(index), **BARS)
        axes.plot(x, of_measure["between_halves"], color=COLOURS[index], linestyle=":", linewidth=0.8)
    axes.set_xticks(
        range(len(names)), [label(name.rpartition("/")[2]) for name in names], rotation=45, ha="right"
    )
    axes.set_ylabel("correlation")
    axes.set_ylim(min(0.0, float(rows["alike"].min()) - 0.05), 1.02)


# In the order in which they are drawn; each from the table of its name.
FIGURES: dict[str, Callable[[pd.DataFrame, Path], list[Path]]] = {
    "clusters": _clusters,
    "routing": _routing,
    "coactivation": _coactivation,
    "specialised": _specialised,
    "drift": _drift,
}
