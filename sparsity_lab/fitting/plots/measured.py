"""The figure of a measured table: activation ratio against trained tokens, or checkpoint by checkpoint."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from sparsity_lab.fitting.plots.style import COLOURS, MARKERS, figure, save, styled

RULES = {
    "fixed": "fixed knob",
    "ppl-increase": "own knob",
    "activation-ratio": "ratio given",
    "series": "one knob for the series",
    "thresholds": "thresholds given",
}


def draw_table(table: Path, *, output: Path) -> list[Path]:
    """Draw `table.csv` of `sparsity-lab measure` into `output/activation_ratio.png` and `.svg`."""
    frame = pd.read_csv(table)
    with styled():
        along = frame["trained_tokens"].notna().all() and frame["trained_tokens"].nunique() > 1
        height = None if along else 0.6 + 0.24 * len(frame)
        drawn, (axes,) = figure(height=height)
        (_along_training if along else _side_by_side)(axes, frame)
        return save(drawn, output / "activation_ratio")


def _along_training(axes: Axes, frame: pd.DataFrame) -> None:
    groups = frame.groupby(["series", "rule"], sort=False)
    for index, ((series, rule), rows) in enumerate(groups):
        axes.errorbar(
            rows["trained_tokens"],
            rows["activation_ratio"],
            yerr=rows["activation_ratio_se"],
            color=COLOURS[index % len(COLOURS)],
            marker=MARKERS[index % len(MARKERS)],
            capsize=1.5,
            elinewidth=0.7,
            label=f"{series}, {RULES.get(str(rule), str(rule))}",
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("trained tokens")
    axes.set_ylabel("activation ratio")
    axes.legend()


def _side_by_side(axes: Axes, frame: pd.DataFrame) -> None:
    names = [
        f"{series} {Path(str(model)).name}" if series != Path(str(model)).name else str(series)
        for series, model in zip(frame["series"], frame["model"], strict=True)
    ]
    places = range(len(frame))
    axes.errorbar(
        frame["activation_ratio"],
        places,
        xerr=frame["activation_ratio_se"],
        fmt="o",
        capsize=2,
        elinewidth=0.8,
    )
    axes.set_yticks(list(places), names)
    axes.set_ylim(len(frame) - 0.5, -0.5)
    rules = " / ".join(RULES.get(rule, rule) for rule in frame["rule"].unique())
    axes.set_xlabel(f"activation ratio ({rules})")
    furthest = (frame["activation_ratio"] + frame["activation_ratio_se"]).max()
    axes.set_xlim(0, 1.06 * furthest)
