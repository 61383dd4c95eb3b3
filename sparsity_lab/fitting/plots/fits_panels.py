"""The panels of a fit's sheet: curve, residuals, profile, drops, extrapolation, and the numbers in words."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from sparsity_lab.fitting.judge.rivals import HELD_OUT
from sparsity_lab.fitting.judge.verdict import NOT
from sparsity_lab.fitting.judge.windows import forward
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.plots.canvas import style
from sparsity_lab.fitting.plots.canvas.axes import POWERS, plain_ticks
from sparsity_lab.fitting.result import FitResult
from sparsity_lab.fitting.solve import engine
from sparsity_lab.fitting.solved import problem_of
from sparsity_lab.fitting.uncertainty.intervals import Profile
from sparsity_lab.laws._law import AS_IN_TABLE, FALLING, RISING, Array, Law, Variable

SMALL: dict[str, Any] = {"fontsize": 6, "handlelength": 1.2, "labelspacing": 0.3}
MOST_MARKS = 5000
AHEAD = 3.0  # curves are drawn to three times the largest x
BLUE, RED, GREEN, BLACK = style.COLOURS[0], style.COLOURS[1], style.COLOURS[2], style.COLOURS[-1]


def axis_label(variable: Variable) -> str:
    """Meaning and unit."""
    unit = {"tokens/1e9": "10⁹", "fraction": "", AS_IN_TABLE: ""}.get(variable.unit, variable.unit)
    meaning = style.label(variable.meaning)
    return f"{meaning} ({unit})" if unit else meaning


def formula_of(law: Law) -> str:
    """A law's formula as a figure shows it."""
    return f"${law.latex}$" if law.latex else law.formula


def possible(result: FitResult, y: Array) -> Array:
    """A curve where it is within the physical range of y, nan elsewhere."""
    low, high = np.clip(result.series.y_box, *result.law.output_box)
    return np.where((y >= low) & (y <= high), y, math.nan)


def points(axes: Axes, result: FitResult, y: Array, **how: Any) -> None:
    """The points of a series; as pixels where they are more than a vector file should hold one by one."""
    axes.plot(places_of(result), y, **{"linestyle": "", "marker": "o", **how}, rasterized=len(y) > MOST_MARKS)


def places_of(result: FitResult) -> Array:
    """Where the points of a series are drawn: at their x, or one after the other in order of size."""
    series = result.series
    return series.x if series.inputs == 1 else np.arange(1.0, len(series.y) + 1)


def label(axes: Axes, result: FitResult) -> None:
    """Both axes of a panel of points."""
    log_x(axes, result)
    axes.set_ylabel(axis_label(result.series.y_variable))


def log_x(axes: Axes, result: FitResult) -> None:
    """The axis of x: logarithmic where it begins above 0, or points in order of size for several inputs."""
    if result.series.inputs > 1:
        axes.set_xlabel(f"points by {' × '.join(variable.symbol for variable in result.law.inputs)}")
        return
    if result.series.x[0] <= 0:
        axes.set_xlabel(axis_label(result.series.x_variable))
        return
    axes.set_xscale("log")
    if result.series.x.max() < 10 * result.series.x.min():
        plain_ticks(axes.xaxis)
    else:
        axes.xaxis.set_major_locator(LogLocator())
        axes.xaxis.set_major_formatter(POWERS)
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", which="minor", labelbottom=False)  # nor is the place of an empty label sought
    axes.set_xlabel(axis_label(result.series.x_variable))


def grid(result: FitResult, ahead: float) -> Array:
    """Places for a curve over the points and on to larger models, evenly in ln x; in x where that is not above 0."""
    low, high = float(result.series.x.min()), float(result.series.x.max())
    back = result.law.forward == FALLING  # larger models have the smaller losses
    if low > 0:
        return np.geomspace(low / ahead, high, 200) if back else np.geomspace(low, ahead * high, 200)
    beyond = (ahead - 1.0) / AHEAD * (high - low)
    return np.linspace(low - beyond, high, 200) if back else np.linspace(low, high + beyond, 200)


def is_beyond(result: FitResult, x: Array) -> np.ndarray:
    """Which places lie beyond the points, where larger models are."""
    return np.asarray(
        x < result.series.x.min() if result.law.forward == FALLING else x > result.series.x.max()
    )


def short_name(law: str) -> str:
    """The id of a law, or the beginning of a formula without its ranges, as a legend has room for it."""
    return textwrap.shorten(law.partition(";")[0], style.LONG_NAME, placeholder=" …")


def drawn_name(result: FitResult) -> str:
    """What the curve that is drawn is called."""
    return short_name(result.drawn[0].name) + ("" if result.describes else " (rival)")


def against_panel(axes: Axes, result: FitResult) -> None:
    """What the law of several inputs says against what was measured."""
    law, values = result.drawn
    said, y = law.predict(values, result.series.x), result.series.y
    axes.plot(said, y, linestyle="", marker="o", color=BLACK, markersize=2, rasterized=len(y) > MOST_MARKS)
    ends = [min(said.min(), y.min()), max(said.max(), y.max())]
    axes.plot(ends, ends, color=BLUE, linewidth=0.9)
    axes.set_title("Data against law")
    axes.set_xlabel(f"{axis_label(result.series.y_variable)} by {drawn_name(result)}")
    axes.set_ylabel(axis_label(result.series.y_variable))


def curve_panel(axes: Axes, result: FitResult) -> None:
    """Points, curve, band and limit."""
    x = grid(result, AHEAD)
    if (shade := result.band) is not None:
        box = np.clip(result.series.y_box, *result.law.output_box)
        low, high = (np.clip(edge, *box) for edge in (shade.low, shade.high))
        axes.fill_between(shade.x, low, high, color=BLUE, alpha=0.2, linewidth=0, label="95 % band")
    points(axes, result, result.series.y, color=BLACK, markersize=2, label="data")
    law, values = result.drawn
    curve = law.predict(values, x)
    curve = np.where(is_beyond(result, x), possible(result, curve), curve)
    axes.plot(x, curve, color=BLUE, label=drawn_name(result))
    limit = result.limit
    if result.verdict.word != NOT and math.isfinite(limit):
        axes.axhline(limit, color=GREEN, linestyle="--", linewidth=0.9, label="limit")
    axes.set_title("Data and law" if result.describes else "Data and best rival")
    label(axes, result)
    axes.legend(loc="best", **SMALL)


def residuals_panel(axes: Axes, result: FitResult) -> None:
    """Points less curve."""
    axes.axhline(0, color=BLACK, linewidth=0.6)
    law, values = result.drawn
    left = result.residuals if result.describes else result.series.y - law.predict(values, result.series.x)
    known = result.describes and math.isfinite(result.lag1)
    points(axes, result, 1e3 * left, color=BLUE, markersize=2.5, linestyle="-", linewidth=0.5)
    correlation = f" (lag-1 correlation {result.lag1:.2f})" if known else f" of {short_name(law.name)}"
    axes.set_title(f"Residuals{correlation}")
    log_x(axes, result)
    axes.set_ylabel("data less law (10⁻³)")


def profile_panel(axes: Axes, result: FitResult) -> None:
    """The objective with the asymptote held."""
    name, found = result.law.asymptote, profiled(result)
    assert found is not None
    axes.set_title(f"Profile of {name}")
    value, objective = np.array(found.curve).T
    least = result.solution.objective
    axes.plot(value, objective / least, color=BLUE)
    axes.axhline(found.level / least, color=RED, linestyle="--", linewidth=0.9, label="95 % level")
    reach = max(found.high - found.low, 1e-12, 1e-9 * max(abs(found.low), abs(found.high)))
    axes.set_xlim(found.low - 0.25 * reach, found.high + 0.25 * reach)
    axes.set_ylim(0.98, 1 + 1.8 * (found.level / least - 1))
    axes.set_xlabel(f"{name} (held)")
    axes.set_ylabel("objective / least")
    axes.legend(loc="upper center")


def profiled(result: FitResult) -> Profile | None:
    """The profile of the asymptote, where there is a curve to draw."""
    found = result.profiles.get(result.law.asymptote or "")
    return None if found is None or len(found.curve) < 2 or result.solution.objective == 0 else found


def drops_panel(axes: Axes, result: FitResult) -> None:
    """The asymptote against the number of leading points left out."""
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


def extrapolation_panel(axes: Axes, result: FitResult, curves: Mapping[str, Array]) -> None:
    """Laws fitted to the first points, less all points; `curves` are those of `extrapolated`."""
    series, first = result.series, math.ceil(HELD_OUT * len(result.series.y))
    axes.axhline(0, color=BLACK, linewidth=0.6)
    for colour, (name, curve) in zip((BLUE, RED, GREEN), curves.items(), strict=False):
        how = {
            "color": colour,
            "markersize": 2,
            "linestyle": "-",
            "linewidth": 0.6,
            "label": short_name(name),
        }
        points(axes, result, 1e3 * (curve - series.y), **how)
    places = places_of(result)
    order = forward(series.x, way_of(result))
    held = places[order[first - 1 :]]
    axes.axvspan(held.min(), held.max(), color=BLACK, alpha=0.07, linewidth=0, label="held out")
    axes.set_title("Fitted to the first 70 %")
    log_x(axes, result)
    axes.set_ylabel("law less data (10⁻³)")
    axes.legend(loc="best", **SMALL)


def extrapolated(result: FitResult) -> dict[str, Array]:
    """Rival -> its curve, fitted to the first points as the fit itself; of the three best that have enough of them."""
    series, first = result.series, math.ceil(HELD_OUT * len(result.series.y))
    shown = [load_law(r.law) for r in result.comparison.rivals if r.law != "constant" and r.describes]
    enough = [law for law in shown if first > len(law.parameters)][:3]
    curves, kept = {}, forward(series.x, way_of(result))[:first]
    for law in enough:
        whole = problem_of(law, series, result.spec)
        ((part, solution),) = engine.solve_parts(whole, [kept])
        curves[law.name] = part.curve(solution, series.x)
    return curves


def way_of(result: FitResult) -> str:
    """Which way x goes as models grow, by the law or any of its rivals, as `rivals.compare` takes it."""
    laws = [result.law, *(load_law(rival.law) for rival in result.comparison.rivals)]
    return FALLING if any(law.forward == FALLING for law in laws) else RISING


def words_panel(axes: Axes, result: FitResult) -> None:
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
