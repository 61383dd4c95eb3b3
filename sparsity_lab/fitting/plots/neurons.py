"""Figures of what neurons do, from the tables of `sparsity-lab neurons`: one panel a model, one color a text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator

from sparsity_lab.fitting.plots.canvas import style
from sparsity_lab.fitting.plots.canvas.axes import (
    BARS,
    CHANCE,
    HALF,
    draw_each,
    look,
    named_rows,
    plain_ticks,
)
from sparsity_lab.fitting.plots.canvas.frames import measured_rows
from sparsity_lab.fitting.plots.canvas.panels import PANEL_TITLE_INCHES, names_in, panel_title
from sparsity_lab.fitting.plots.canvas.style import COLOURS, figure, label, save, styled
from sparsity_lab.fitting.plots.experts import expert_figures

MOST_PANELS = 6
PANEL_INCHES = 1.75
LEAST_COUNT = 10  # token ids seen less often are mostly noise
DEAD_FREQUENCY = 1e-3
NEVER = 1e-5 / 2  # where the share of neurons that never fire is drawn, left of the lowest bin
Panel = Callable[[Axes, pd.DataFrame, int], None]  # axes, rows of one model and text, index of the text


def draw_neurons(folder: Path) -> list[Path]:
    """Draw every figure that the tables of a folder allow, as PNG and SVG next to them.

    frequency    neurons by how often they fire, per text (figure 9 of Sparsing Law)
    token_pairs  activation ratio of each token id in one model against another (its figure 10)
    layers, positions, chunks, decode
    expert_load, expert_outputs, expert_routing    of a mixture of experts; see `experts.py`
    """
    read = {path.stem: measured_rows(path) for path in sorted(folder.glob("*.csv"))}
    figures: dict[str, Callable[[Path], list[Path]]] = {
        "frequency": lambda stem: _by_model(read["frequency"].query("layer == 'all'"), _frequency, stem),
        "layers": lambda stem: _by_model(read["neurons"].query("layer != 'all'"), _layers, stem),
        "positions": lambda stem: _by_model(read["positions"], _positions, stem),
        "chunks": lambda stem: _by_model(
            read["chunks"].query("layer == 'all' and tokens <= 64"),
            _chunks,
            stem,
            extra=(("by chance", "--"),),
        ),
    }
    figures |= expert_figures(read)
    if "decode" in read:
        figures["decode"] = lambda stem: _decode(read["decode"].query("layer == 'all'"), stem)
    if "token_pairs" in read:
        figures["token_pairs"] = lambda stem: _pairs(read["token_pairs"], read["tokens"], stem)
    with styled(names_in(*read.values())):
        return draw_each(folder, figures)


def _by_model(
    frame: pd.DataFrame, panel: Panel, stem: Path, *, extra: Sequence[tuple[str, str]] = ()
) -> list[Path]:
    """One panel a model, the first `MOST_PANELS` of them, one color a text; one legend above."""
    models, texts = _shown(list(frame["name"].unique())), list(frame["text"].unique())
    drawn, panels = figure(len(models), 1, height=0.5 + PANEL_INCHES * len(models))
    for axes, model in zip(panels, models, strict=True):
        for index, text in enumerate(texts):
            panel(axes, frame[(frame["name"] == model) & (frame["text"] == text)], index)
        axes.set_title(label(model), loc="left")
        if axes is not panels[-1]:
            axes.set_xlabel("")
    _legend(drawn, texts, extra=extra)
    return save(drawn, stem)


def _frequency(axes: Axes, rows: pd.DataFrame, index: int) -> None:
    fires = rows[rows["high"] > 0]
    middle = np.sqrt(fires["low"].clip(lower=1e-6) * fires["high"])
    axes.plot(middle, 100 * fires["share"], **look(index), markersize=2)
    never = 100 * rows[rows["high"] == 0]["share"].sum()
    axes.plot(NEVER * 1.25**index, never, **look(index), linestyle="", markerfacecolor="white", clip_on=False)
    if index == 0:
        axes.axvline(DEAD_FREQUENCY, **CHANCE)
        axes.text(DEAD_FREQUENCY, 0.97, "dead ", ha="right", va="top", fontsize=6, color="#555555",
                  transform=axes.get_xaxis_transform())  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(NEVER / 2, 1.3)
    axes.set_ylim(0, max(axes.get_ylim()[1] if index else 0, 1.15 * max(never, 100 * fires["share"].max())))
    axes.xaxis.set_major_locator(FixedLocator([NEVER, 1e-4, 1e-3, 1e-2, 1e-1, 1]))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: "never" if value < 1e-5 else f"{100 * value:g}")
    )
    axes.minorticks_off()
    axes.set_xlabel("tokens that a neuron fires on (%)")
    axes.set_ylabel("neurons per bin (%)")


def _layers(axes: Axes, rows: pd.DataFrame, index: int) -> None:
    layer = rows["layer"].astype(int)
    axes.errorbar(
        layer, rows["activation_ratio"], yerr=HALF * rows["activation_ratio_se"], **look(index), **BARS
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(0, max(axes.get_ylim()[1], 1.15 * rows["activation_ratio"].max()))
    axes.set_xlabel("layer")
    axes.set_ylabel("activation ratio")


def _positions(axes: Axes, rows: pd.DataFrame, index: int) -> None:
    """Means of log-spaced runs of positions; the band is 95 %, positions of a run taken as independent."""
    place = rows["position"].to_numpy() + 1
    run = np.ceil(np.log2(place) * 4).astype(int)
    grouped = rows.assign(place=place, squared=rows["activation_ratio_se"] ** 2).groupby(run)
    mean = grouped[["place", "activation_ratio"]].mean()
    error = HALF * np.sqrt(grouped["squared"].sum()) / grouped.size()
    axes.plot(mean["place"], mean["activation_ratio"], **look(index), markersize=2)
    low, high = mean["activation_ratio"] - error, mean["activation_ratio"] + error
    axes.fill_between(mean["place"], low, high, color=look(index)["color"], alpha=0.2, linewidth=0)
    axes.set_xscale("log", base=2)
    plain_ticks(axes.xaxis, LogLocator(base=4))
    axes.set_xlabel("position in the window (tokens)")
    axes.set_ylabel("activation ratio")


def _chunks(axes: Axes, rows: pd.DataFrame, index: int) -> None:
    axes.errorbar(rows["tokens"], rows["cls"], yerr=HALF * rows["cls_se"], **look(index), **BARS)
    axes.plot(
        rows["tokens"], rows["sparsity_by_chance"], color=look(index)["color"], linestyle="--", linewidth=0.8
    )
    axes.set_xscale("log", base=2)
    plain_ticks(axes.xaxis, sorted(rows["tokens"].unique()))
    axes.set_ylim(0, 1)
    axes.set_xlabel("consecutive tokens L")
    axes.set_ylabel("chunk sparsity CLS$_L$")


AGAINST = {"prompt": "the prompt", "continuation": "the text read at the same positions"}


def _decode(frame: pd.DataFrame, stem: Path) -> list[Path]:
    """One row a model and text: how much more is active in what the model writes, paired over prompts."""
    labels = [panel_title(name, text) for name, text in zip(frame["name"], frame["text"], strict=True)]
    lines = sum(1 + words.count("\n") for words in labels)
    drawn, (axes,) = figure(width=style.width_for(labels), height=1.0 + 0.26 * lines)
    for index, (phase, phase_words) in enumerate(AGAINST.items()):
        places = np.arange(len(frame)) + 0.24 * (index - 0.5)
        more, error = frame[f"written_less_{phase}"], HALF * frame[f"written_less_{phase}_se"]
        axes.errorbar(100 * more / frame[phase], places, xerr=100 * error / frame[phase], linestyle="",
                      **look(index), **BARS, label=phase_words)  # fmt: skip
    axes.axvline(0, **CHANCE)
    named_rows(axes, labels)
    axes.set_xlabel("activation ratio of written tokens,\nchange against ... (%, 95 % bars)")
    drawn.legend(loc="outside upper center", ncols=2, handletextpad=0.3, columnspacing=1.0)
    return save(drawn, stem)


def _pairs(pairs: pd.DataFrame, tokens: pd.DataFrame, stem: Path) -> list[Path]:
    """One panel a pair of models and text: each token id a point, larger where frequent; equality dotted where near."""
    shown = pairs.dropna(subset=["correlation"]).head(MOST_PANELS)
    if shown.empty:
        return []
    rows = -(-len(shown) // 2)
    columns = min(2, len(shown))
    drawn, panels = figure(rows, columns, width=3.5 * columns, height=3.2 * rows)
    often = tokens[tokens["count"] >= LEAST_COUNT]
    for axes, pair in zip(panels, shown.to_dict("records"), strict=False):
        here = often[often["text"] == pair["text"]]
        x = here[here["name"] == pair["model"]].set_index("token_id")
        y = here[here["name"] == pair["other"]].set_index("token_id").loc[x.index]
        size = 2 + 6 * np.log10(x["count"] / LEAST_COUNT)
        axes.scatter(
            x["activation_ratio"], y["activation_ratio"], s=size, color=COLOURS[0], alpha=0.4, linewidth=0
        )
        across, up = _around(x["activation_ratio"]), _around(y["activation_ratio"])
        if min(across[1], up[1]) - max(across[0], up[0]) > (across[1] - across[0]) / 2:
            axes.axline((up[0], up[0]), slope=1, **CHANCE)
        axes.set(xlim=across, ylim=up)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        for axis, name in ((axes.xaxis, pair["model"]), (axes.yaxis, pair["other"])):
            axis.set_label_text(style.broken(f"activation ratio, {label(name)}", inches=PANEL_TITLE_INCHES))
        correlation = f"r = {pair['correlation']:.2f} ± {HALF * pair['correlation_se']:.2f}"
        axes.set_title(
            style.broken(f"{label(pair['text'])}: {correlation}", inches=PANEL_TITLE_INCHES), loc="left"
        )
    for unused in panels[len(shown) :]:
        unused.set_axis_off()
    return save(drawn, stem)


def _around(values: pd.Series) -> tuple[float, float]:
    """The range of values and a twentieth of it on each side."""
    low, high = float(values.min()), float(values.max())
    room = (high - low) / 20
    return low - room, high + room


def _shown(names: Sequence[str]) -> list[str]:
    """All names, or of many evenly spaced ones, first and last among them."""
    if len(names) <= MOST_PANELS:
        return list(names)
    return [names[i] for i in np.linspace(0, len(names) - 1, MOST_PANELS).round().astype(int)]


def _legend(drawn: Figure, texts: Sequence[str], *, extra: Sequence[tuple[str, str]]) -> None:
    handles = [Line2D([], [], **look(index), label=label(text)) for index, text in enumerate(texts)]
    handles += [Line2D([], [], color="#555555", linestyle=style, label=said) for said, style in extra]
    names = [str(handle.get_label()) for handle in handles]
    columns = style.columns_for(names, most=min(len(handles), 3), inches=drawn.get_figwidth())
    drawn.legend(handles=handles, loc="outside upper center", ncols=columns, handlelength=1.8)
