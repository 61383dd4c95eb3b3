"""Figures of what sparsity is worth, from the tables of `sparsity-lab affinity`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from sparsity_lab.fitting.plots.canvas.axes import (
    BARS,
    CHANCE,
    GREY,
    HALF,
    draw_each,
    look,
    named_rows,
    plain_ticks,
)
from sparsity_lab.fitting.plots.canvas.frames import read_frame
from sparsity_lab.fitting.plots.canvas.panels import by_model_and_text, names_in
from sparsity_lab.fitting.plots.canvas.style import COLOURS, MARKERS, styled

CHUNK_TOKENS = 8
SHOWN = ("output-side", "input-side", "oracle", "assumed-predictor", "cached")
PARTS: dict[str, dict[str, Any]] = {
    "ffn": {"color": COLOURS[0], "marker": MARKERS[0], "label": "FFN, ideal"},
    "model": {"color": COLOURS[1], "marker": MARKERS[1], "label": "whole model, ideal"},
    "decode": {"color": COLOURS[2], "marker": MARKERS[3], "label": "whole model, timed"},
}
OWN_FACE: dict[str, Any] = {"markerfacecolor": "white", "markersize": 6, "zorder": 4}
FEW_TICKS = 12  # below this span
FINER_STEPS = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10)
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def draw_affinity(folder: Path) -> list[Path]:
    """Draw the figures that the tables of a folder allow, as PNG and SVG next to them.

    affinity             ideal speed-ups by convention, and the timed one of decoding
    affinity_products    timed speed-up of W_d a against the activation ratio, with the ideal
    """
    frame = read_frame(folder / "affinity.csv")
    timed, products = folder / "affinity_decode.csv", folder / "affinity_products.csv"
    decode = read_frame(timed) if timed.exists() else None
    figures: dict[str, Callable[[Path], list[Path]]] = {
        "affinity": lambda stem: _conventions(frame, decode, stem)
    }
    if products.exists():
        figures["affinity_products"] = lambda stem: _products(
            read_frame(products).query("what != 'calls'"), stem
        )
    with styled(names_in(frame)):
        return draw_each(folder, figures)


def _conventions(frame: pd.DataFrame, decode: pd.DataFrame | None, stem: Path) -> list[Path]:
    def panel(axes: Axes, rows: pd.DataFrame) -> None:
        """Speed-ups of the FFN and of the whole model, a row for each convention."""
        chosen = _shown(rows)
        for place, (_, row) in enumerate(chosen):
            for part, lift in (("ffn", -0.12), ("model", 0.12)):
                x, error = row[f"{part}_speedup"], HALF * row[f"{part}_speedup_se"]
                axes.errorbar(x, place + lift, xerr=min(error, 0.99 * x), **_look(part), capsize=1.5)
        if decode is not None:
            _decoded(axes, decode, rows.iloc[0])
        axes.axvline(1, **CHANCE)
        named_rows(axes, [words for words, _ in chosen])
        axes.set_xlabel("decoding speed-up at batch 1, 95 % bars")
        _log_ticks(axes, "x")

    parts = [part for part in PARTS if part != "decode" or decode is not None]
    handles = [Line2D([], [], linestyle="", **PARTS[part]) for part in parts]
    return by_model_and_text(frame, panel, stem, handles=handles)


def _shown(rows: pd.DataFrame) -> list[tuple[str, pd.Series]]:
    """The conventions of a panel, and of trained predictors the one that finds most at the middle budget."""
    shown = [(name, row) for name in SHOWN for _, row in rows[rows["convention"] == name].iterrows()]
    predictors = rows[rows["convention"] == "predictor"]
    if len(predictors):
        budgets = sorted(predictors["budget"].unique())
        middle = predictors[predictors["budget"] == budgets[len(budgets) // 2]]
        row = middle.loc[middle["recall"].idxmax()]
        words = f"predictor, rank {row['rank']:g},\nrecall {100 * row['recall']:.0f} %"
        shown.insert(len(shown) - 1, (words, row))
    for side in ("output-side", "oracle"):
        chunk = rows[(rows["convention"] == f"chunk-{side}") & (rows["tokens"] == CHUNK_TOKENS)]
        shown += [(f"{side}, {CHUNK_TOKENS} tokens", row) for _, row in chunk.iterrows()]
    return [(words, row) for words, row in shown if np.isfinite(row["ffn_speedup"])]


def _decoded(axes: Axes, decode: pd.DataFrame, of: pd.Series) -> None:
    """The timed speed-up, on the line of output-side, whose kernel it is."""
    timed = decode[(decode["name"] == of["name"]) & (decode["text"] == of["text"])]
    for _, row in timed.iterrows():
        reach = [[row["ratio"] - row["ratio_low"]], [row["ratio_high"] - row["ratio"]]]
        axes.errorbar(row["ratio"], 0, xerr=reach, **_look("decode"), capsize=1.5)


def _products(frame: pd.DataFrame, stem: Path) -> list[Path]:
    shapes = list(dict.fromkeys(zip(frame["F"], frame["d"], strict=True)))
    looks: dict[Any, dict[str, Any]] = {shape: look(i) for i, shape in enumerate(shapes)}

    def panel(axes: Axes, rows: pd.DataFrame) -> None:
        """Speed-up of the product W_d a against the activation ratio, a line for each shape."""
        for (F, d), part_rows in rows.groupby(["F", "d"], sort=False):
            for what, line in (("planted", "-"), ("model", "")):
                part = part_rows[part_rows["what"] == what].sort_values("activation_ratio")
                reach = [part["ratio"] - part["ratio_low"], part["ratio_high"] - part["ratio"]]
                face = OWN_FACE if what == "model" else {}
                axes.errorbar(part["activation_ratio"], part["ratio"], yerr=reach, linestyle=line, **BARS,
                              **looks[(F, d)], **face)  # fmt: skip
        across = np.array([rows["activation_ratio"].min(), 1.0])
        axes.plot(across, 1 / across, color=GREY, linestyle="--", linewidth=0.8)
        axes.axhline(1, **CHANCE)
        axes.set_xscale("log")
        axes.set_xlabel("activation ratio")
        axes.set_ylabel("speed-up of W$_d$ a")
        _log_ticks(axes, "x")
        _log_ticks(axes, "y")

    handles = [Line2D([], [], **drawn, label=f"F {F:,}, d {d:,}") for (F, d), drawn in looks.items()]
    handles.append(Line2D([], [], color=GREY, linestyle="--", label="ideal, 1/ratio"))
    if (frame["what"] == "model").any():
        handles.append(Line2D([], [], color=GREY, marker="o", markerfacecolor="white", linestyle="",
                              markersize=6, label="the model's own"))  # fmt: skip
    return by_model_and_text(frame, panel, stem, handles=handles)


def _look(part: str) -> dict[str, Any]:
    return {key: PARTS[part][key] for key in ("color", "marker")} | {"linestyle": "", "elinewidth": 0.8}


def _log_ticks(axes: Axes, which: str) -> None:
    """A logarithmic axis with plain numbers."""
    getattr(axes, f"set_{which}scale")("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    steps = STEPS if high / low > FEW_TICKS else FINER_STEPS
    plain_ticks(axis, [step for step in steps if low <= step <= high])
    axis.set_minor_locator(NullLocator())
