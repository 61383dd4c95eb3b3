"""Criteria side by side: at equal perplexity or an equal ratio, and along their range (Sparsing Law, figure 2)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from sparsity_lab.fitting.plots.canvas import style
from sparsity_lab.fitting.plots.canvas.axes import BARS, HALF, look
from sparsity_lab.fitting.plots.canvas.frames import measured_rows, read_frame
from sparsity_lab.fitting.plots.canvas.style import (
    COLOURS,
    COLUMN_WIDTH_INCHES,
    figure,
    label,
    save,
    styled,
    undrawn,
)

SPREAD = 0.16  # of a row: how far apart the models' points are


def draw_criteria(table: Path, *, output: Path) -> list[Path]:
    """Draw `table.csv` of a comparison into `output/criteria.png` and `.svg`, the sparsest criterion on top."""
    frame = measured_rows(table)
    if frame.empty:
        return undrawn(output / "criteria")
    frame["criterion"] = frame["criterion"].astype(str)
    given = (frame["rule"] == "activation-ratio").any()
    if given:  # the exact zeros alone do not give a ratio that can be requested
        frame = frame[frame["rule"] == "activation-ratio"].copy()
    frame["value"] = 100 * (frame["ppl_ratio"] - 1) if given else frame["activation_ratio"]
    frame["error"] = 100 * frame["loss_delta_se_nats"] if given else frame["activation_ratio_se"]
    order = list(frame.groupby("criterion")["value"].mean().sort_values().index)
    models = list(frame["series"].unique())
    with styled([*map(_short, models), *order]):
        drawn, (axes,) = figure(height=0.9 + 0.22 * len(order) + 0.1 * len(models))
        for index, model in enumerate(models):
            _points(axes, frame[frame["series"] == model], order, index=index, of=len(models))
        axes.set_yticks(range(len(order)), list(map(label, order)))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        if given:
            ratio = frame["activation_ratio_target"].max()
            axes.set_xlabel(f"perplexity rise at an activation ratio of {ratio:g} (%)")
        else:
            axes.set_xlim(left=0)
            axes.set_xlabel(f"activation ratio at +{100 * frame['ppl_increase_target'].max():g} % perplexity")
        if len(models) > 1:
            names = [label(_short(model)) for model in models]
            columns = style.columns_for(
                names, most=min(len(models), 3), inches=drawn.get_figwidth(), size=6.5
            )
            drawn.legend(loc="outside upper center", ncols=columns, fontsize=6.5)
        else:
            axes.set_title(label(_short(models[0])), loc="left")
        return save(drawn, output / "criteria")


def _short(series: object) -> str:
    return str(series).removesuffix(".gguf")


def _points(axes: Axes, frame: pd.DataFrame, order: list[str], *, index: int, of: int) -> None:
    offset = SPREAD * (index - (of - 1) / 2)
    places = [order.index(str(criterion)) + offset for criterion in frame["criterion"]]
    axes.errorbar(frame["value"], places, xerr=HALF * frame["error"], linestyle="", **look(index), **BARS,
                  label=label(_short(frame["series"].iloc[0])))  # fmt: skip
    # Open markers: the number is flagged, see the table.
    flagged = frame["flags"].notna()
    open_places = [place for place, is_flagged in zip(places, flagged, strict=True) if is_flagged]
    axes.plot(
        frame["value"][flagged], open_places, linestyle="", **look(index), markerfacecolor="white", zorder=3
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
        again = index >= len(COLOURS)  # a color's second line is dashed, its marks are open
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
