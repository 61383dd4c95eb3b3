"""Figures of fits: one sheet a series (curve, residuals, profile, drops, extrapolation), one of all."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatterMathtext, LogLocator, MaxNLocator, NullFormatter

from sparsity_lab.fitting.judge.rivals import HELD_OUT
from sparsity_lab.fitting.judge.verdict import NOT
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.plots.canvas import style
from sparsity_lab.fitting.plots.canvas.axes import look
from sparsity_lab.fitting.result import FitResult
from sparsity_lab.fitting.solve import engine
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.fitting.uncertainty.intervals import Profile
from sparsity_lab.laws._law import Array, Law, Variable

SMALL: dict[str, Any] = {"fontsize": 6, "handlelength": 1.2, "labelspacing": 0.3}
MANY, LEGEND_LINE_INCHES = 8, 0.115
MOST_MARKS = 5000
AHEAD = 3.0  # curves are drawn to three times the largest x
BLUE, RED, GREEN, BLACK = style.COLOURS[0], style.COLOURS[1], style.COLOURS[2], style.COLOURS[-1]


def sheet(result: FitResult, stem: Path) -> list[Path]:
    """Write the sheet of one series."""
    with style.styled(_names(result)):
        panels = _panels(result)
        drawn, axes = style.figure(2, (len(panels) + 1) // 2, width=style.PAGE_WIDTH_INCHES, height=4.4)
        for place, panel in zip(axes, panels, strict=False):
            panel(place, result)
        for place in axes[len(panels) :]:
            place.set_axis_off()
        drawn.suptitle(_title(result), fontsize=9)
        return style.save(drawn, stem)


def _names(result: FitResult) -> list[str]:
    """What the figures of a series call by names of the user's."""
    series = result.series
    return [series.name, series.x_variable.meaning, series.y_variable.meaning]


def _title(result: FitResult) -> str:
    """Name and formula, in a line each where the name is long."""
    name = result.series.name
    gap = " " if len(style.label(name)) <= style.LONG_NAME else "\n"
    return f"{style.label(name)}:{gap}{style.beside(name, _formula(result.law), result.law.formula)}"


def _panels(result: FitResult) -> list[Callable[[Axes, FitResult], None]]:
    """The panels that have something to show, the words last."""
    known = {
        _curve: True,
        _residuals: True,
        _profile: _profiled(result) is not None,
        _drops: result.describes and any(row.coefficients for row in result.drop_sensitivity),
        _extrapolation: bool(_extrapolated(result)),
    }
    return [*(panel for panel, shown in known.items() if shown), _words]


def overview(results: Sequence[FitResult], stem: Path) -> list[Path]:
    """Write all series in one figure, one panel a law, each where its curve is drawn."""
    laws = list(dict.fromkeys(result.drawn[0].name for result in results))
    groups = [[result for result in results if result.drawn[0].name == law] for law in laws]
    with style.styled(name for result in results for name in _names(result)):
        columns = [_columns([style.label(result.series.name) for result in group]) for group in groups]
        # A long legend stands below its panel, which grows by its lines.
        extra = [
            LEGEND_LINE_INCHES * (len(group) / count + 2) if len(group) > MANY else 0.0
            for group, count in zip(groups, columns, strict=True)
        ]
        drawn, panels = style.figure(len(laws), 1, height=2.5 * len(laws) + sum(extra))
        for axes, chosen, count in zip(panels, groups, columns, strict=True):
            for i, result in enumerate(chosen):
                _one_of_many(axes, result, i)
            axes.set_title(_formula(chosen[0].drawn[0]))
            _label(axes, chosen[0])
            if len(chosen) > MANY:
                axes.legend(ncols=count, loc="upper center", bbox_to_anchor=(0.45, -0.2), **SMALL)
            else:
                _clear_legend(axes)
        return style.save(drawn, stem)


def _columns(names: Sequence[str]) -> int:
    """Columns of a long legend."""
    return style.columns_for(names, most=2, inches=style.COLUMN_WIDTH_INCHES, size=SMALL["fontsize"])


def axis_label(variable: Variable) -> str:
    """Meaning and unit."""
    unit = {"tokens/1e9": "10⁹", "fraction": "", "as in the table": ""}.get(variable.unit, variable.unit)
    meaning = style.label(variable.meaning)
    return f"{meaning} ({unit})" if unit else meaning


def _clear_legend(axes: Axes) -> None:
    """A legend that covers no point and no curve; below the panel where no place within is free."""
    look: dict[str, Any] = {"handlelength": 1.2, "columnspacing": 0.8}
    names = axes.get_legend_handles_labels()[1]
    most = style.columns_for(names, most=3, inches=style.COLUMN_WIDTH_INCHES)
    for columns in [count for count in (2, 1, 3) if count <= most]:
        legend = axes.legend(ncols=columns, loc="best", **look)
        legend.set_in_layout(False)
        whole = axes.get_figure(root=True)
        assert whole is not None
        whole.draw_without_rendering()
        box = legend.get_window_extent().padded(3.0)
        places = [line.get_transform().transform(line.get_xydata()) for line in axes.get_lines()]
        if box.count_contains(np.concatenate(places)) == 0:
            return
    axes.legend(ncols=most, loc="upper center", bbox_to_anchor=(0.5, -0.25), **look)


def _formula(law: Law) -> str:
    return f"${law.latex}$" if law.latex else law.formula


def _possible(result: FitResult, y: Array) -> Array:
    """A curve where it is within the physical range of y, nan elsewhere."""
    low, high = result.series.y_box
    return np.where((y >= low) & (y <= high), y, math.nan)


def _one_of_many(axes: Axes, result: FitResult, i: int) -> None:
    # After a round of colours the markers move on by one, so that no two series look alike.
    colour, marker = look(i)["color"], look(i + i // len(style.COLOURS))["marker"]
    name = style.label(result.series.name)
    _points(axes, result, result.series.y, marker=marker, color=colour, markersize=2.5, alpha=0.6, label=name)
    law, values = result.drawn
    inside = _grid(result.series.x, 1.0)
    axes.plot(inside, law.predict(values, inside), color=colour)
    ahead = np.geomspace(result.series.x[-1], AHEAD * result.series.x[-1], 60)
    axes.plot(ahead, _possible(result, law.predict(values, ahead)), color=colour, linestyle=":")


def _points(axes: Axes, result: FitResult, y: Array, **how: Any) -> None:
    """The points of a series; as pixels where they are more than a vector file should hold one by one."""
    axes.plot(result.series.x, y, **{"linestyle": "", "marker": "o", **how}, rasterized=len(y) > MOST_MARKS)


def _curve(axes: Axes, result: FitResult) -> None:
    x = _grid(result.series.x, AHEAD)
    if (shade := result.band) is not None:
        low, high = (np.clip(edge, *result.series.y_box) for edge in (shade.low, shade.high))
        axes.fill_between(shade.x, low, high, color=BLUE, alpha=0.2, linewidth=0, label="95 % band")
    _points(axes, result, result.series.y, color=BLACK, markersize=2, label="data")
    law, values = result.drawn
    curve = law.predict(values, x)
    curve = np.where(x > result.series.x[-1], _possible(result, curve), curve)
    axes.plot(x, curve, color=BLUE, label=law.name if result.describes else f"{law.name} (rival)")
    limit = result.limit
    if result.verdict.word != NOT and math.isfinite(limit):
        axes.axhline(limit, color=GREEN, linestyle="--", linewidth=0.9, label="limit")
    axes.set_title("Data and law" if result.describes else "Data and best rival")
    _label(axes, result)
    axes.legend(loc="best", **SMALL)


def _residuals(axes: Axes, result: FitResult) -> None:
    axes.axhline(0, color=BLACK, linewidth=0.6)
    law, values = result.drawn
    left = result.residuals if result.describes else result.series.y - law.predict(values, result.series.x)
    _points(axes, result, 1e3 * left, color=BLUE, markersize=2.5, linestyle="-", linewidth=0.5)
    correlation = f" (lag-1 correlation {result.lag1:.2f})" if result.describes else f" of {law.name}"
    axes.set_title(f"Residuals{correlation}")
    _log_x(axes, result)
    axes.set_ylabel("data less law (10⁻³)")


def _profile(axes: Axes, result: FitResult) -> None:
    name, found = result.law.asymptote, _profiled(result)
    assert found is not None
    axes.set_title(f"Profile of {name}")
    value, sse = np.array(found.curve).T
    axes.plot(value, sse / result.sse, color=BLUE)
    axes.axhline(found.level / result.sse, color=RED, linestyle="--", linewidth=0.9, label="95 % level")
    reach = max(found.high - found.low, 1e-12, 1e-9 * max(abs(found.low), abs(found.high)))
    axes.set_xlim(found.low - 0.25 * reach, found.high + 0.25 * reach)
    axes.set_ylim(0.98, 1 + 1.8 * (found.level / result.sse - 1))
    axes.set_xlabel(f"{name} (held)")
    axes.set_ylabel("sum of squares / least")
    axes.legend(loc="upper center")


def _profiled(result: FitResult) -> Profile | None:
    """The profile of the asymptote, where there is a curve to draw."""
    found = result.profiles.get(result.law.asymptote or "")
    return None if found is None or len(found.curve) < 2 or result.sse == 0 else found


def _drops(axes: Axes, result: FitResult) -> None:
    rows = [row for row in result.drop_sensitivity if row.coefficients]
    name = result.law.asymptote or result.law.parameters[0].name
    low, high = result.series.y_box
    dropped, values = np.array([(row.dropped, row.coefficients[name]) for row in rows], dtype=float).T
    physical = (values >= low) & (values <= high)
    axes.plot(dropped, np.where(physical, values, np.nan), "o-", color=BLUE, markersize=2.5)
    axes.axvline(result.series.dropped, color=RED, linestyle="--", linewidth=0.9, label="used here")
    if not physical.all():
        # Pinned to the lower frame: their values lie far outside and would flatten all others.
        place = axes.get_xaxis_transform()
        axes.plot(dropped[~physical], np.zeros((~physical).sum()), "x", color=RED, transform=place,
                  clip_on=False, label="outside physical range")  # fmt: skip
    axes.set_title("Leading points dropped")
    axes.set_xlim(-0.5, dropped[-1] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("points dropped")
    axes.set_ylabel(name)
    axes.margins(y=0.25)
    axes.legend(loc="best", **SMALL)


def _extrapolation(axes: Axes, result: FitResult) -> None:
    series, first = result.series, math.ceil(HELD_OUT * len(result.series.y))
    axes.axhline(0, color=BLACK, linewidth=0.6)
    for colour, (name, curve) in zip((BLUE, RED, GREEN), _extrapolated(result).items(), strict=False):
        how = {"color": colour, "markersize": 2, "linestyle": "-", "linewidth": 0.6, "label": name}
        _points(axes, result, 1e3 * (curve - series.y), **how)
    axes.axvspan(series.x[first - 1], series.x[-1], color=BLACK, alpha=0.07, linewidth=0, label="held out")
    axes.set_title("Fitted to the first 70 %")
    _log_x(axes, result)
    axes.set_ylabel("law less data (10⁻³)")
    axes.legend(loc="best", **SMALL)


def _extrapolated(result: FitResult) -> dict[str, Array]:
    """Rival -> its curve, fitted to the first points; of the three best that have enough of them."""
    series, first = result.series, math.ceil(HELD_OUT * len(result.series.y))
    shown = [r.law for r in result.comparison.rivals if r.law != "constant" and r.describes][:3]
    curves = {name: _from_first(load_law(name), series.x, series.y, first) for name in shown}
    return {name: curve for name, curve in curves.items() if curve is not None}


def _from_first(law: Law, x: Array, y: Array, first: int) -> Array | None:
    if first < len(law.parameters) + 1:
        return None
    part = Problem.of(law, x[:first], y[:first])
    return part.curve(engine.solve(part), x)


def _words(axes: Axes, result: FitResult) -> None:
    """The verdict and the numbers in words."""
    axes.set_axis_off()
    lines = [result.verdict.word.upper()]
    if not result.describes:
        lines.append(f"best rival by AICc: {result.comparison.best_by_aicc}")
    lines += textwrap.wrap(result.verdict.reason, 34)
    if result.verdict.bound:
        lines.append(result.verdict.bound)
    values = [
        f"{name} = {c.value:.3g}  [{_end(c.low)}, {_end(c.high)}]" for name, c in result.coefficients.items()
    ]
    points = f"{len(result.series.y)} points, {result.series.dropped} dropped, {result.decades:.2f} decades"
    lines += ["", *values, "", points]
    condition = f", condition {result.condition:.2g}" if math.isfinite(result.condition) else ""
    if result.describes:
        lines += [f"mean |residual| {result.mae:.2g}{condition}"]
    axes.text(0.0, 1.0, "\n".join(lines), va="top", ha="left", fontsize=6.5, transform=axes.transAxes)


def _end(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "open"


def _label(axes: Axes, result: FitResult) -> None:
    _log_x(axes, result)
    axes.set_ylabel(axis_label(result.series.y_variable))


def _log_x(axes: Axes, result: FitResult) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator())
    axes.xaxis.set_major_formatter(LogFormatterMathtext())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(axis_label(result.series.x_variable))


def _grid(x: Array, ahead: float) -> Array:
    return np.geomspace(x[0], ahead * x[-1], 200)
