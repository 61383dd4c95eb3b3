"""Density by release date: every model with its interval, the frontier, its line and its band."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from sparsity_lab.fitting.density.densities import Density
from sparsity_lab.fitting.density.options import DensityReport
from sparsity_lab.fitting.density.trend.trend import DensityTrend
from sparsity_lab.fitting.plots.canvas.labels import place_labels
from sparsity_lab.fitting.plots.canvas.style import COLOURS, beside, figure, label, save, styled

WIDTH_INCHES, HEIGHT_INCHES = 5.2, 3.7
MARGIN_DAYS = 25
GREY = "#8a8a8a"


def plot_trend(report: DensityReport, stem: Path) -> list[Path]:
    """Write `stem.png` and `stem.svg`."""
    with styled(density.target.model for density in report.densities):
        drawn, (axes,) = figure(width=WIDTH_INCHES, height=HEIGHT_INCHES)
        dated = [d for d in report.densities if d.released is not None]
        frontier = set(report.trend.frontier) if report.trend else set()
        entered = [d for d in dated if d.rho is not None and d.target.model not in frontier]
        _errorbars(axes, [d for d in entered if _full(d, report)], GREY, "o", "dense models")
        _errorbars(axes, [d for d in entered if not _full(d, report)], "#c4c4c4", "s", "partial tasks or MoE")
        on_frontier = [d for d in dated if d.target.model in frontier]
        _errorbars(axes, on_frontier, COLOURS[1], "D", "frontier")
        _bounds(axes, [d for d in dated if d.rho is None and d.low is not None])
        _scale(axes, dated)
        if report.trend:
            _line(axes, report.trend)
        density = beside(report.ruler.name, r"$\rho=\hat N/N$", "N^/N")
        axes.set_ylabel(f"density {density} (ruler: {label(report.ruler.name)})")
        axes.set_xlabel("release date")
        axes.legend(loc="upper left", handlelength=1.6)
        place_labels(
            axes,
            [(date2num(d.released), d.rho or 0.0, label(d.target.model)) for d in on_frontier],
            avoid=[(date2num(d.released), d.rho) for d in dated if d.rho is not None],
            bars=[
                (date2num(d.released), d.low or d.rho, d.high or d.rho) for d in dated if d.rho is not None
            ],
        )
        return save(drawn, stem)


def _full(density: Density, report: DensityReport) -> bool:
    return len(density.tasks) == len(report.tasks) and not density.target.moe


def _errorbars(axes: Axes, found: Sequence[Density], colour: str, marker: str, label: str) -> None:
    if not found:
        return
    x = date2num([d.released for d in found])
    y = np.array([d.rho for d in found], dtype=float)
    # An open bound runs off the axis, which is how an open interval should look.
    low = np.array([d.low if d.low is not None else 1e-12 for d in found])
    high = np.array([d.high if d.high is not None else 1e12 for d in found])
    axes.errorbar(
        x, y, yerr=[np.maximum(y - low, 0), np.maximum(high - y, 0)], fmt=marker, color=colour, label=label,
        elinewidth=0.6, markersize=3.2, markeredgewidth=0, alpha=0.95, zorder=3 if label == "frontier" else 2,
    )  # fmt: skip


def _bounds(axes: Axes, found: Sequence[Density]) -> None:
    if found:
        x, y = date2num([d.released for d in found]), np.array([d.low for d in found], dtype=float)
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
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0), numticks=20))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _line(axes: Axes, trend: DensityTrend) -> None:
    low, high = axes.get_xlim()
    origin = date2num(trend.origin)
    days = np.linspace(low - origin, high - origin, 120)
    below, middle, above = np.exp(trend.ln_rho_max(days))
    dates = [trend.origin + timedelta(days=float(day)) for day in days]
    doubling = f"doubling in {trend.doubling_days:.0f} days" if trend.doubling_days else "no growth"
    if trend.doubling_days:
        ends = ["open" if end is None else f"{end:.0f}" for end in trend.doubling_interval]
        doubling += f" ({ends[0]} to {ends[1]})"
    axes.plot(date2num(dates), middle, color=COLOURS[0], label=doubling, zorder=1)
    axes.fill_between(date2num(dates), below, above, color=COLOURS[0], alpha=0.13, linewidth=0, zorder=0)
