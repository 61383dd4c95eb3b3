"""A ruler as a figure: the loss law and the sigmoid of each task (two steps), or score against size (one)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from sparsity_lab.fitting.density.rulers.ladder import LOSS_UNITS, Ladder, Run
from sparsity_lab.fitting.density.rulers.one_step import OneStepRuler
from sparsity_lab.fitting.density.rulers.ruler import Ruler
from sparsity_lab.fitting.density.rulers.two_step import TwoStepCurve, TwoStepRuler
from sparsity_lab.fitting.plots.canvas import style
from sparsity_lab.fitting.plots.canvas.style import (
    COLOURS,
    MARKERS,
    broken,
    columns_for,
    figure,
    save,
    styled,
)
from sparsity_lab.laws._law import Array

PANEL_INCHES = 1.75
HEIGHT_INCHES = 1.55
PER_ROW = 4
TARGET, TARGET_MARKERS, TARGET_SIZE = "target", ("*", "P", "X", "<", ">", "p"), 4.5


def plot_ruler(ruler: Ruler, stem: Path, *, ladder: Ladder | None = None) -> list[Path]:
    """Write `stem.png` and `stem.svg`."""
    runs = [] if ladder is None else [run.name for run in ladder.runs if run.role == TARGET]
    with styled([*(_words(task) for task in ruler.tasks), *runs]):
        if isinstance(ruler, TwoStepRuler):
            return _two_step(ruler, stem, ladder)
        assert isinstance(ruler, OneStepRuler)
        return _one_step(ruler, stem)


def _two_step(ruler: TwoStepRuler, stem: Path, ladder: Ladder | None) -> list[Path]:
    """Two rows a block of four tasks: the loss law above, the sigmoid below."""
    blocks = -(-len(ruler.tasks) // PER_ROW)
    columns = min(PER_ROW, len(ruler.tasks))
    drawn, grid = figure(
        2 * blocks, columns, width=PANEL_INCHES * columns, height=HEIGHT_INCHES * 2 * blocks + 0.35
    )
    runs = _coloured(ladder) if ladder else []
    for number, task in enumerate(ruler.tasks):
        block, column = divmod(number, PER_ROW)
        upper, lower = grid[2 * block * columns + column], grid[(2 * block + 1) * columns + column]
        upper.set_title(broken(style.label(_words(task)), inches=PANEL_INCHES - 0.3))
        unit = "bits/byte" if ruler.loss_units[task] == LOSS_UNITS["_bpb"] else "nats/token"
        _loss_panel(upper, ruler.curves[task], task, runs)
        _score_panel(lower, ruler.curves[task], task, runs)
        lower.set_xlabel(f"loss ({unit})")
        upper.set_xlabel(r"compute $6ND$ (FLOP)")
        if column == 0:
            upper.set_ylabel(f"loss ({unit})")
            lower.set_ylabel("score")
    for number in range(len(ruler.tasks), blocks * columns):
        block, column = divmod(number, PER_ROW)
        grid[2 * block * columns + column].set_visible(False)
        grid[(2 * block + 1) * columns + column].set_visible(False)
    handles, labels = grid[0].get_legend_handles_labels()
    if handles:
        many = columns_for(labels, most=len(labels), inches=drawn.get_figwidth())
        drawn.legend(handles, labels, loc="outside lower center", ncols=many, handletextpad=0.2)
    return save(drawn, stem)


def _coloured(ladder: Ladder) -> list[tuple[Run, str, str, str]]:
    """Runs with the color, marker and label of their size; only a size's first run carries the label."""
    sizes = sorted({run.params for run in ladder.references})
    seen: set[float] = set()
    coloured = []
    for run in sorted(ladder.references, key=lambda r: r.params):
        number = sizes.index(run.params)
        label = "_nolegend_" if run.params in seen else _size_label(run.params)
        seen.add(run.params)
        coloured.append((run, COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)], label))
    targets = [run for run in ladder.runs if run.role == TARGET]
    return coloured + [
        (run, "#000000", TARGET_MARKERS[number % len(TARGET_MARKERS)], style.label(run.name))
        for number, run in enumerate(targets)
    ]


def _size_label(params: float) -> str:
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if params >= unit:
            return f"{params / unit:.3g}{letter}"
    return f"{params:g}"


def _loss_panel(
    axes: Axes, curve: TwoStepCurve, task: str, runs: Sequence[tuple[Run, str, str, str]]
) -> None:
    for run, colour, marker, words in runs:
        flops = 6 * run.params * run.tokens
        (drawn,) = axes.plot(
            flops, run.final_loss(task), linestyle="none", marker=marker, color=colour, label=words
        )
        if run.role == TARGET:
            drawn.set(markersize=TARGET_SIZE, markeredgewidth=0)
    point = replace(curve.loss, **{k: v[:1] for k, v in vars(curve.loss).items()})
    targets = [(run, marker) for run, _, marker, _ in runs if run.role == TARGET]
    for number, (run, marker) in enumerate(targets):
        axes.plot(
            6 * run.params * run.tokens, point.predict(run.params, np.array([run.tokens])), linestyle="none",
            marker=marker, markersize=TARGET_SIZE, markerfacecolor="white", markeredgecolor="#000000",
            markeredgewidth=0.5, label="_nolegend_" if number else "extrapolated", zorder=1,
        )  # fmt: skip
    for params, colour in {run.params: colour for run, colour, *_ in runs if run.role != TARGET}.items():
        tokens = np.array([run.tokens for run, *_ in runs if run.params == params])
        line = np.geomspace(tokens.min(), tokens.max(), 50)
        axes.plot(6 * params * line, point.predict(params, line), color=colour, linewidth=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=100, numticks=6))


def _score_panel(
    axes: Axes, curve: TwoStepCurve, task: str, runs: Sequence[tuple[Run, str, str, str]]
) -> None:
    shown = []
    for run, colour, marker, _ in runs:
        losses, scores = run.smoothed(task)
        thin = slice(None, None, max(1, len(losses) // 15))
        size, shade, layer = (TARGET_SIZE, 1.0, 4) if run.role == TARGET else (1.6, 0.7, 2)
        axes.plot(losses[thin], scores[thin], linestyle="none", marker=marker, color=colour, alpha=shade,
                  markersize=size, markeredgewidth=0, zorder=layer)  # fmt: skip
        shown.append((losses.min(), losses.max()))
    low, high = (min(s[0] for s in shown), max(s[1] for s in shown)) if shown else (0.2, 3.0)
    reached = [low for (run, *_), (low, _) in zip(runs, shown, strict=True) if run.role != TARGET]
    grid = np.linspace(low * 0.9, high, 150)
    all_draws = curve.scores.score(-grid[:, None])
    below, above = np.quantile(all_draws[:, 1:], [0.025, 0.975], axis=1)
    _curve(
        axes, grid, all_draws[:, 0], inside=grid >= min(reached, default=low), color="#333333", linewidth=1.0
    )
    axes.fill_between(grid, below, above, color="#333333", alpha=0.15, linewidth=0)


def _curve(
    axes: Axes, at: Array, values: Array, *, inside: NDArray[np.bool_], color: str, linewidth: float
) -> None:
    """A curve, dashed where it is extrapolated: outside what the reference models reach."""
    axes.plot(at, np.where(inside, values, np.nan), color=color, linewidth=linewidth, zorder=3)
    axes.plot(at, values, color=color, linewidth=0.6 * linewidth, linestyle=(0, (3, 2)), zorder=3)


def _one_step(ruler: OneStepRuler, stem: Path) -> list[Path]:
    groups: list[tuple[str, ...]] = [(task,) for task in ruler.tasks]
    if len(ruler.tasks) > 1:
        groups.append(ruler.tasks)
    columns = min(PER_ROW, len(groups))
    rows = -(-len(groups) // columns)
    drawn, grid = figure(
        rows, columns, width=max(3.5, PANEL_INCHES * columns), height=max(2.4, HEIGHT_INCHES * rows)
    )
    for axes, group in zip(grid, groups, strict=False):
        _one_panel(axes, ruler, group)
    for axes in grid[len(groups) :]:
        axes.set_visible(False)
    for number in range(len(groups)):
        if number + columns >= len(groups):
            grid[number].set_xlabel("parameters" if ruler.size_unit == "params" else "training FLOP")
        if number % columns == 0:
            grid[number].set_ylabel("score")
    return save(drawn, stem)


def _one_panel(axes: Axes, ruler: OneStepRuler, tasks: tuple[str, ...]) -> None:
    curve = ruler.curve(tasks)
    sizes = np.array([p.size for p in ruler.points])
    scores = np.array([np.mean([p.scores[task] for task in tasks]) for p in ruler.points])
    grid = np.geomspace(sizes.min() / 3, sizes.max() * 3, 120)
    lines = curve.score(np.log(grid)[:, None])
    below, above = np.quantile(lines[:, 1:], [0.025, 0.975], axis=1)
    axes.fill_between(grid, below, above, color=COLOURS[0], alpha=0.15, linewidth=0)
    inside = (grid >= sizes.min()) & (grid <= sizes.max())
    _curve(axes, grid, lines[:, 0], inside=inside, color=COLOURS[0], linewidth=1.2)
    axes.plot(sizes, scores, linestyle="none", marker="o", color="#000000", markersize=3)
    axes.set_xscale("log")
    axes.set_title(
        broken(style.label(_words(tasks[0])), inches=PANEL_INCHES)
        if len(tasks) == 1
        else f"mean of {len(tasks)}"
    )


def _words(task: str) -> str:
    return task.replace("_", " ")
