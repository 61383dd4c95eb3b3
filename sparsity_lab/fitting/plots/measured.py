"""The figure of a measured table: activation ratio against trained tokens, or checkpoint by checkpoint."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from sparsity_lab.fitting.plots.canvas import style
from sparsity_lab.fitting.plots.canvas.axes import BARS, look, plain_ticks
from sparsity_lab.fitting.plots.canvas.frames import measured_rows
from sparsity_lab.fitting.plots.canvas.style import figure, label, save, styled, undrawn
from sparsity_lab.settings import THE_CORPUS

RULES = {
    "fixed": "fixed knob",
    "ppl-increase": "own knob",
    "activation-ratio": "ratio given",
    "series": "one knob for the series",
    "thresholds": "thresholds given",
}
WITH_KNOB = "activation_ratio_se_with_knob"
MOST_NAMED = 60  # rows that have a line of their own
MOST_INSIDE = 2  # curves whose legend finds room among them
MOST_CURVES = 16  # that can be distinguished; of more, only those of a rule from those of another
# By rule: the column of what it is given, and how a legend says that.
GIVEN = {
    "fixed": ("knob", 1, " {:g}"),
    "ppl-increase": ("ppl_increase_target", 100, ", PPL-{:g}%"),
    "activation-ratio": ("activation_ratio_target", 1, " {:g}"),
}


def draw_table(table: Path, *, output: Path) -> list[Path]:
    """Draw `table.csv` of `sparsity-lab measure` into `output/activation_ratio.png` and `.svg`."""
    frame = measured_rows(table)
    if frame.empty:
        return undrawn(output / "activation_ratio")
    names = _names(frame)
    with styled([*frame["series"], *names]):
        along = frame["trained_tokens"].notna().all() and frame["trained_tokens"].nunique() > 1
        if along or len(frame) > MOST_NAMED:
            drawn, (axes,) = figure()
            (_along_training if along else _by_place)(axes, frame)
        else:
            named = [label(name) + asked for name, asked in zip(names, _asked(frame), strict=True)]
            drawn, (axes,) = figure(width=style.width_for(named), height=0.6 + 0.24 * len(frame))
            _side_by_side(axes, frame, named)
        return save(drawn, output / "activation_ratio")


def _along_training(axes: Axes, frame: pd.DataFrame) -> None:
    _curves(axes, frame, x="trained_tokens")
    axes.set_xscale("log")
    plain_ticks(axes.xaxis)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel("trained tokens")


def _by_place(axes: Axes, frame: pd.DataFrame) -> None:
    """More checkpoints than can be named, their trained tokens not known: by their place in the series, or table."""
    many = _too_many(frame)
    rows = frame.assign(series=_series_said(frame)) if many else frame
    places = rows.groupby("series", sort=False)["model"].transform(lambda names: pd.factorize(names)[0] + 1)
    _curves(axes, rows.assign(place=places), x="place", joined=not many)
    axes.set_xlabel(f"checkpoint, by its place in the {'table' if many else 'series'}")


def _too_many(frame: pd.DataFrame) -> bool:
    return len(frame.assign(asked=_asked(frame)).groupby(["series", "rule", "asked"])) > MOST_CURVES


def _series_said(frame: pd.DataFrame) -> pd.Series[str]:
    """Of each row, how many series share its rule and the number given."""
    kinds = frame.assign(asked=_asked(frame)).groupby(["rule", "asked"])
    return kinds["series"].transform("nunique").astype(str) + " series"


def _curves(axes: Axes, frame: pd.DataFrame, *, x: str, joined: bool = True) -> None:
    """A curve of each series, rule and number given; where they are too many, those of a rule look alike."""
    frame = frame.assign(asked=_asked(frame))
    groups = frame.groupby(["series", "rule", "asked"], sort=False)
    kinds = list(frame.groupby(["rule", "asked"], sort=False).groups)
    many = len(groups) > MOST_CURVES
    named = _series_said(frame) if many else frame["series"]
    for index, ((_, rule, asked), rows) in enumerate(groups):
        axes.errorbar(
            rows[x], rows["activation_ratio"], yerr=rows["activation_ratio_se"], linestyle="-" if joined else "none",
            **look(kinds.index((rule, asked)) if many else index), **BARS,
            label=f"{label(named[rows.index[0]])}, {RULES.get(str(rule), str(rule))}{asked}",
        )  # fmt: skip
        if joined and WITH_KNOB in rows and rows[WITH_KNOB].notna().all():
            # The noise of the one knob moves the whole run: no bar of a point, but a band of the curve.
            low, high = (rows["activation_ratio"] + side * rows[WITH_KNOB] for side in (-1, 1))
            axes.fill_between(rows[x], low, high, color=look(index)["color"], alpha=0.15, linewidth=0)
    axes.set_ylabel(f"activation ratio{_errors_said(frame)}")
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    if len(once) > MOST_INSIDE:
        most = 2 if len(once) > 2 * MOST_INSIDE else 1
        columns = style.columns_for(once, most=most, inches=style.COLUMN_WIDTH_INCHES)
        axes.figure.legend(once.values(), once, loc="outside upper center", ncols=columns)
    else:
        axes.legend(once.values(), once)


def _names(frame: pd.DataFrame) -> list[str]:
    """What each row is called: its series, and its checkpoint where that has another name."""
    return [
        f"{series} {Path(str(model)).name}" if series != Path(str(model)).name else str(series)
        for series, model in zip(frame["series"], frame["model"], strict=True)
    ]


def _side_by_side(axes: Axes, frame: pd.DataFrame, names: list[str]) -> None:
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
    axes.set_xlabel(f"activation ratio ({rules}){_errors_said(frame)}")
    furthest = (frame["activation_ratio"] + frame["activation_ratio_se"]).max()
    axes.set_xlim(0, 1.06 * furthest if furthest > 0 else 1)


def _errors_said(frame: pd.DataFrame) -> str:
    """What is said of errors that hold for the text measured only; tables of before do not tell."""
    told = frame["errors_hold_for"].dropna() if "errors_hold_for" in frame else pd.Series(dtype=str)
    if told.empty or (told == THE_CORPUS).all():
        return ""
    return "\n± standard error, for this text only" + ("" if (told != THE_CORPUS).all() else " in part")


def _asked(frame: pd.DataFrame) -> list[str]:
    """What each row's rule was given, where rows of one rule were given different things; else nothing."""
    words_of_rows = [""] * len(frame)
    for rule, (column, scale, words) in GIVEN.items():
        given = frame[column].where(frame["rule"] == rule) if column in frame else pd.Series(dtype=float)
        if given.nunique() > 1:
            words_of_rows = [
                one if pd.isna(v) else words.format(scale * v)
                for one, v in zip(words_of_rows, given, strict=True)
            ]
    return words_of_rows
