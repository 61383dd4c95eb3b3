"""Figures of fits: one sheet a series (curve, residuals, profile, drops, extrapolation), one of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from sparsity_lab.fitting.plots import fits_panels as panels
from sparsity_lab.fitting.plots.canvas import style
from sparsity_lab.fitting.plots.canvas.axes import look
from sparsity_lab.fitting.result import FitResult

MANY, LEGEND_LINE_INCHES = 8, 0.115


def sheet(result: FitResult, stem: Path) -> list[Path]:
    """Write the sheet of one series."""
    with style.styled(_names(result)):
        chosen = _panels(result)
        drawn, axes = style.figure(2, (len(chosen) + 1) // 2, width=style.PAGE_WIDTH_INCHES, height=4.4)
        for place, panel in zip(axes, chosen, strict=False):
            panel(place, result)
        for place in axes[len(chosen) :]:
            place.set_axis_off()
        drawn.suptitle(_title(result), fontsize=9)
        return style.save(drawn, stem)


def _names(result: FitResult) -> list[str]:
    """What the figures of a series call by names of the user's."""
    series = result.series
    return [series.name, *(variable.meaning for variable in series.x_variables), series.y_variable.meaning]


def _title(result: FitResult) -> str:
    """Name and formula, in a line each where the name is long."""
    name = result.series.name
    gap = " " if len(style.label(name)) <= style.LONG_NAME else "\n"
    return f"{style.label(name)}:{gap}{style.beside(name, panels.formula_of(result.law), result.law.formula)}"


def _panels(result: FitResult) -> list[Callable[[Axes, FitResult], None]]:
    """The panels that have something to show, the words last."""
    curves = panels.extrapolated(result)
    shown: list[tuple[Callable[[Axes, FitResult], None], bool]] = [
        (panels.curve_panel if result.series.inputs == 1 else panels.against_panel, True),
        (panels.residuals_panel, True),
        (panels.profile_panel, panels.profiled(result) is not None),
        (panels.drops_panel, result.describes and any(row.coefficients for row in result.drop_sensitivity)),
        (partial(panels.extrapolation_panel, curves=curves), bool(curves)),
        (panels.words_panel, True),
    ]
    return [panel for panel, is_shown in shown if is_shown]


def overview(results: Sequence[FitResult], stem: Path) -> list[Path]:
    """Write all series in one figure, one panel a law, each where its curve is drawn."""
    laws = list(dict.fromkeys(result.drawn[0].name for result in results))
    groups = [[result for result in results if result.drawn[0].name == law] for law in laws]
    with style.styled(name for result in results for name in _names(result)):
        columns = [_columns([style.label(result.series.name) for result in group]) for group in groups]
        # A long legend is placed below its panel, which grows by its lines.
        extra = [
            LEGEND_LINE_INCHES * (len(group) / count + 2) if len(group) > MANY else 0.0
            for group, count in zip(groups, columns, strict=True)
        ]
        drawn, places = style.figure(len(laws), 1, height=2.5 * len(laws) + sum(extra))
        for axes, chosen, count in zip(places, groups, columns, strict=True):
            for i, result in enumerate(chosen):
                _one_of_many(axes, result, i)
            axes.set_title(panels.formula_of(chosen[0].drawn[0]))
            panels.label(axes, chosen[0])
            if len(chosen) > MANY:
                axes.legend(ncols=count, loc="upper center", bbox_to_anchor=(0.45, -0.2), **panels.SMALL)
            else:
                _clear_legend(axes)
        return style.save(drawn, stem)


def _columns(names: Sequence[str]) -> int:
    """Columns of a long legend."""
    return style.columns_for(names, most=2, inches=style.COLUMN_WIDTH_INCHES, size=panels.SMALL["fontsize"])


def _clear_legend(axes: Axes) -> None:
    """A legend that covers no point and no curve; below the panel where no place within is free."""
    how: dict[str, Any] = {"handlelength": 1.2, "columnspacing": 0.8}
    names = axes.get_legend_handles_labels()[1]
    most = style.columns_for(names, most=3, inches=style.COLUMN_WIDTH_INCHES)
    whole = axes.get_figure(root=True)
    assert whole is not None
    engine = whole.get_layout_engine()
    assert engine is not None
    engine.execute(whole)
    places = np.concatenate([line.get_transform().transform(line.get_xydata()) for line in axes.get_lines()])
    for columns in [count for count in (2, 1, 3) if count <= most]:
        legend = axes.legend(ncols=columns, loc="best", **how)
        legend.set_in_layout(False)
        if legend.get_window_extent().padded(3.0).count_contains(places) == 0:
            return
    axes.legend(ncols=most, loc="upper center", bbox_to_anchor=(0.5, -0.25), **how)


def _one_of_many(axes: Axes, result: FitResult, i: int) -> None:
    # After a round of colors the markers move on by one, so that no two series look alike.
    colour, marker = look(i)["color"], look(i + i // len(style.COLOURS))["marker"]
    name = style.label(result.series.name)
    panels.points(
        axes, result, result.series.y, marker=marker, color=colour, markersize=2.5, alpha=0.6, label=name
    )
    law, values = result.drawn
    if result.series.inputs > 1:
        axes.plot(panels.places_of(result), law.predict(values, result.series.x), color=colour, linewidth=0.7)
        return
    inside = panels.grid(result, 1.0)
    axes.plot(inside, law.predict(values, inside), color=colour)
    ahead = panels.grid(result, panels.AHEAD)
    ahead = ahead[panels.is_beyond(result, ahead)]
    axes.plot(ahead, panels.possible(result, law.predict(values, ahead)), color=colour, linestyle=":")
