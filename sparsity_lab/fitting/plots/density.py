"""Density by release date, with the frontier, its line and its band; and task by task, as a heat map of log2 rho."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.ticker import LogLocator

from sparsity_lab.fitting.density.densities import PARTIAL, REFERENCE, Density
from sparsity_lab.fitting.density.inversion import EXTRAPOLATED
from sparsity_lab.fitting.density.options import DensityReport
from sparsity_lab.fitting.density.trend.entering import kept_out, lower_bound
from sparsity_lab.fitting.density.trend.published import published_words
from sparsity_lab.fitting.density.trend.trend import DensityTrend, doubling
from sparsity_lab.fitting.plots.canvas.axes import plain_ticks
from sparsity_lab.fitting.plots.canvas.labels import place_labels
from sparsity_lab.fitting.plots.canvas.style import (
    COLOURS,
    beside,
    broken,
    figure,
    label,
    save,
    styled,
    width_for,
)

WIDTH_INCHES, HEIGHT_INCHES = 5.2, 3.7
MARGIN_DAYS = 25
GREY, PALE = "#8a8a8a", "#c4c4c4"
FRONTIER, IN_TREND, OTHERS = "records", "in the trend, no record", "partial tasks or MoE"
BEYOND_SIZES, OF_RULER = "outside the ruler's sizes", "the ruler's own models"
INTERVALS = "bars and band: 95 % intervals"
# Of ticks at years, months, days and shorter: each says its year, which an axis that begins within one would not.
DATE_FORMATS = ["%Y", "%b %Y", "%d %b %Y", "%H:%M", "%H:%M", "%S.%f"]
# Hollow: not in the trend.
KINDS = {
    IN_TREND: (GREY, "o"),
    BEYOND_SIZES: (GREY, "v"),
    OF_RULER: (COLOURS[2], "^"),
    OTHERS: (PALE, "s"),
}


def plot_trend(report: DensityReport, stem: Path) -> list[Path]:
    """Write `stem.png` and `stem.svg`."""
    with styled(density.target.model for density in report.densities):
        drawn, (axes,) = figure(width=WIDTH_INCHES, height=HEIGHT_INCHES)
        dated = [d for d in report.densities if d.released is not None]
        frontier = set(report.trend.frontier) if report.trend else set()
        bounds = [(d, bound) for d in dated if (bound := _bound(d, report)) is not None]
        numbers = [d for d in dated if d.rho is not None and not any(d is bounded for bounded, _ in bounds)]
        on_frontier = [d for d in numbers if d.target.model in frontier]
        _errorbars(axes, on_frontier, COLOURS[1], "D", FRONTIER)
        others = [d for d in numbers if d.target.model not in frontier]
        for name, (colour, marker) in KINDS.items():
            _errorbars(axes, [d for d in others if _kind(d, report) == name], colour, marker, name)
        _bounds(axes, bounds)
        _scale(axes, dated)
        drawn_lines = _line(axes, report.trend) if report.trend else []
        density = beside(report.ruler.name, r"$\rho=\hat N/N$", "N^/N")
        axes.set_ylabel(f"density {density} (ruler: {label(report.ruler.name)})")
        axes.set_xlabel("release date")
        axes.legend(loc="upper left", handlelength=1.6, title=INTERVALS, title_fontsize=7, alignment="left")
        place_labels(
            axes,
            [(date2num(d.released), d.rho or 0.0, label(d.target.model)) for d in on_frontier],
            avoid=[*((date2num(d.released), d.rho) for d in dated if d.rho is not None), *drawn_lines],
            bars=[
                (date2num(d.released), d.low or d.rho, d.high or d.rho) for d in dated if d.rho is not None
            ],
        )
        return save(drawn, stem)


def _kind(density: Density, report: DensityReport) -> str:
    """Under which name of `KINDS` a model is drawn that is no record."""
    out = kept_out(density, report.entering)
    return {"": IN_TREND, EXTRAPOLATED: BEYOND_SIZES, REFERENCE: OF_RULER}.get(out, OTHERS)


def _errorbars(axes: Axes, models: Sequence[Density], colour: str, marker: str, label: str) -> None:
    if not models:
        return
    x = date2num([d.released for d in models])
    y = np.array([d.rho for d in models], dtype=float)
    # An open bound runs off the axis, which is how an open interval should look.
    low = np.array([d.low if d.low is not None else 1e-12 for d in models])
    high = np.array([d.high if d.high is not None else 1e12 for d in models])
    axes.errorbar(
        x, y, yerr=[np.maximum(y - low, 0), np.maximum(high - y, 0)], fmt=marker, color=colour, label=label,
        elinewidth=0.6, markersize=3.2, alpha=0.95, zorder=3 if label == FRONTIER else 2,
        markeredgewidth=0 if label in (FRONTIER, IN_TREND) else 0.7,
        markerfacecolor=colour if label in (FRONTIER, IN_TREND) else "white",
    )  # fmt: skip


def _bound(density: Density, report: DensityReport) -> float | None:
    """The lower bound that a model is drawn at; None where it has a number that counts, or no such bound."""
    bound = None if kept_out(density, report.entering) else lower_bound(density, report.entering)
    return bound if density.rho is not None or bound is not None else density.low


def _bounds(axes: Axes, models: Sequence[tuple[Density, float]]) -> None:
    if models:
        x, y = date2num([d.released for d, _ in models]), np.array([bound for _, bound in models])
        axes.plot(x, y, linestyle="none", marker=r"$\uparrow$", markersize=6, color=COLOURS[3],
                  label="beyond the ruler (lower bound)", zorder=3)  # fmt: skip


def _scale(axes: Axes, dated: Sequence[Density]) -> None:
    values = [v for d in dated for v in (d.rho, d.low if d.rho is None else None) if v is not None]
    axes.set_yscale("log")
    if values:
        axes.set_ylim(min(values) / 2, max(values) * 5)
        span = date2num(
            [min(d.released for d in dated if d.released), max(d.released for d in dated if d.released)]
        )
        axes.set_xlim(span[0] - MARGIN_DAYS, span[1] + MARGIN_DAYS)
    locator = AutoDateLocator(minticks=4, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(
        ConciseDateFormatter(locator, formats=DATE_FORMATS, zero_formats=DATE_FORMATS, show_offset=False)
    )
    plain_ticks(axes.yaxis, LogLocator(base=10, subs=(1.0, 2.0, 5.0), numticks=20))


def _line(axes: Axes, trend: DensityTrend) -> list[tuple[float, float]]:
    """Draw the corrected line with its band, and the uncorrected one; returns points along both."""
    low, high = axes.get_xlim()
    origin = date2num(trend.origin)
    days = np.linspace(low - origin, high - origin, 120)
    below, middle, above = np.exp(trend.ln_rho_max(days))
    dates = [trend.origin + timedelta(days=float(day)) for day in days]
    growth = f"doubling in {trend.doubling_days:.0f} days" if trend.doubling_days else "no growth"
    if trend.doubling_days:
        ends = ["open" if end is None else f"{end:.0f}" for end in trend.doubling_interval]
        growth += f" ({ends[0]} to {ends[1]})"
    plain = doubling(trend.slope)
    without = f"{plain:.0f} days" if plain else "no growth"
    uncorrected = np.exp(trend.intercept + trend.slope * days)
    axes.plot(date2num(dates), middle, color=COLOURS[0], label=growth, zorder=1)
    axes.plot(
        date2num(dates), uncorrected, color=COLOURS[0], linewidth=0.8,
        linestyle=(0, (4, 2)), label=f"uncorrected: {without}", zorder=1,
    )  # fmt: skip
    axes.plot([], [], linestyle="none", label=f"published: {published_words()} days")
    axes.fill_between(date2num(dates), below, above, color=COLOURS[0], alpha=0.13, linewidth=0, zorder=0)
    return [
        (float(x), float(y))
        for line in (middle, uncorrected)
        for x, y in zip(date2num(dates), line, strict=True)
    ]


ROW_INCHES, HEAD_INCHES = 0.105, 0.75
FONT_SIZE = 5.2
COLOUR_MAP = "RdBu"
LARGEST_EXPONENT = 5


def plot_heat(report: DensityReport, stem: Path) -> list[Path]:
    """Write `stem.png` and `stem.svg`; bounds are printed as `>` and `<` in the color of the bound.

    Cells in italics lie outside the ruler's sizes, means in brackets are of some of the tasks, the ruler's own models
    have names in their color, and models without a date stand below a line.
    """
    ordered = report.by_date
    columns = [("mean", {d.target.model: d for d in report.densities})]
    columns += [(task, {d.target.model: d for d in densities}) for task, densities in report.per_task.items()]
    cells = [[densities.get(d.target.model) for _, densities in columns] for d in ordered]
    models = [d.target.model for d in ordered]
    with styled([*models, *(name for name, _ in columns)]):
        drawn, (axes,) = figure(width=width_for(models), height=HEAD_INCHES + ROW_INCHES * len(ordered))
        values = np.array([[_log2(cell) for cell in row] for row in cells])
        limit = min(LARGEST_EXPONENT, max(1, int(np.ceil(np.nanmax(np.abs(values))))))
        shown = axes.imshow(
            np.ma.masked_invalid(values), cmap=COLOUR_MAP, norm=Normalize(-limit, limit), aspect="auto",
            interpolation="nearest",
        )  # fmt: skip
        _print_cells(axes, cells, values, limit)
        _label(axes, [label(name) for name in models], [label(name) for name, _ in columns])
        said = _marked(axes, ordered)
        bar = drawn.colorbar(shown, ax=axes, location="bottom", fraction=0.025, pad=0.012, aspect=40)
        ticks = list(range(-limit, limit + 1))
        bar.set_ticks(ticks, labels=[_power(t) for t in ticks])
        density = beside(report.ruler.name, r"$\rho$", "N^/N")
        bar.set_label(f"density {density} (ruler: {label(report.ruler.name)})")
        marks = broken("; ".join(said), inches=drawn.get_figwidth() - 0.2, size=FONT_SIZE + 1)
        drawn.supxlabel(marks, fontsize=FONT_SIZE + 1)
        bar.outline.set_linewidth(0.4)
        return save(drawn, stem)


def _log2(cell: Density | None) -> float:
    if cell is None:
        return float("nan")
    value = cell.rho if cell.rho is not None else cell.low if cell.low is not None else cell.high
    return float(np.log2(value)) if value else float("nan")


def _print_cells(axes: Axes, cells: list[list[Density | None]], values: np.ndarray, limit: int) -> None:
    for row, line in enumerate(cells):
        for column, cell in enumerate(line):
            if cell is not None:
                dark = abs(values[row, column]) > 0.62 * limit
                axes.text(column, row, _text(cell), ha="center", va="center", fontsize=FONT_SIZE,
                          color="white" if dark else "black",
                          style="italic" if EXTRAPOLATED in cell.flags else "normal")  # fmt: skip


def _text(cell: Density) -> str:
    bound = f">{cell.low:.2g}" if cell.low is not None else f"<{cell.high:.2g}" if cell.high else "?"
    text = f"{cell.rho:.2g}" if cell.rho is not None else bound
    return f"({text})" if PARTIAL in cell.flags else text


def _marked(axes: Axes, models: Sequence[Density]) -> list[str]:
    """Set apart the ruler's own models and those without a date; returns what the figure must say of its marks."""
    said = []
    if any(EXTRAPOLATED in density.flags for density in models):
        said.append(f"italic: {BEYOND_SIZES}")
    if any(PARTIAL in density.flags for density in models):
        said.append("in brackets: mean of fewer tasks")
    own = [row for row, density in enumerate(models) if REFERENCE in density.flags]
    for row in own:
        axes.get_yticklabels()[row].set_color(COLOURS[2])
    if own:
        said.append(f"green: {OF_RULER}")
    dated = sum(density.released is not None for density in models)
    if 0 < dated < len(models):
        axes.axhline(dated - 0.5, color="black", linewidth=0.6)
        said.append("below the line: no date")
    return said


def _label(axes: Axes, models: list[str], tasks: list[str]) -> None:
    axes.grid(visible=False)
    axes.set_yticks(range(len(models)), labels=models, fontsize=FONT_SIZE)
    axes.set_xticks(range(len(tasks)), labels=tasks, fontsize=FONT_SIZE + 0.8)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _power(exponent: int) -> str:
    return f"{2**exponent}" if exponent >= 0 else f"1/{2**-exponent}"
