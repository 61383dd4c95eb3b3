"""Puts names next to points so that they overlap neither each other, nor other points, nor the frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

FONT_SIZE = 6
ANGLES = np.deg2rad([90, 135, 45, 180, 0, 225, 315, 270, 112, 68, 158, 22, 202, 338, 248, 292])
RADII_POINTS = (7.0, 12.0, 18.0, 26.0, 36.0, 50.0)


def place_labels(
    axes: Axes,
    named: Sequence[tuple[float, float, str]],
    *,
    avoid: Sequence[tuple[float, float]] = (),
    bars: Sequence[tuple[float, float, float]] = (),
) -> list[Annotation]:
    """Annotate points (x, y, text) in data units, each at the nearest free place around it.

    Points in `avoid` and vertical bars (x, low, high) are kept clear where that is possible. Labels far from
    their point get a thin leader.
    """
    drawn = axes.get_figure(root=True)
    assert drawn is not None
    renderer = FigureCanvasAgg(drawn).get_renderer()  # measuring text needs a canvas that can draw
    drawn.draw_without_rendering()
    legend = axes.get_legend()
    taken = [legend.get_window_extent()] if legend is not None else []
    pixels = axes.transData.transform(np.array([*avoid, *((x, y) for x, y, _ in named)]).reshape(-1, 2))
    dots = [Bbox.from_extents(x - 6, y - 6, x + 6, y + 6) for x, y in pixels]
    for x, low, high in bars:
        (left, bottom), (_, top) = axes.transData.transform([(x, low), (x, high)])
        dots.append(Bbox.from_extents(left - 1, bottom, left + 1, top))
    return [_place(axes, (x, y), text, taken=taken, dots=dots, renderer=renderer) for x, y, text in named]


def _place(
    axes: Axes,
    at: tuple[float, float],
    text: str,
    *,
    taken: list[Bbox],
    dots: Sequence[Bbox],
    renderer: RendererBase,
) -> Annotation:
    label = axes.annotate(
        text, at, xytext=(0, 0), textcoords="offset points", fontsize=FONT_SIZE, zorder=5,
        arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "#555555", "shrinkA": 0, "shrinkB": 2},
    )  # fmt: skip
    frame = axes.get_window_extent()
    costs = []
    places = [(radius, angle) for radius in RADII_POINTS for angle in ANGLES]
    for order, (radius, angle) in enumerate(places):
        _move(label, radius, angle)
        box = _extent(label, renderer)
        crossing = _crossings(axes, at, box, taken) if radius > RADII_POINTS[0] else 0
        costs.append((_cost(box, frame, taken=taken, dots=dots) + 800 * crossing + radius, order))
    _move(label, *places[min(costs)[1]])
    taken.append(_extent(label, renderer))
    taken.extend(_leader(axes, at, taken[-1]) if min(costs)[1] >= len(ANGLES) else [])
    return label


def _leader(axes: Axes, at: tuple[float, float], box: Bbox) -> list[Bbox]:
    """Small boxes along the line from a point to its label, both ends left out."""
    start = np.asarray(axes.transData.transform(at))
    end = np.array([np.clip(start[0], box.x0, box.x1), np.clip(start[1], box.y0, box.y1)])
    steps = [start + share * (end - start) for share in np.linspace(0.2, 0.9, 6)]
    return [Bbox.from_extents(x - 1, y - 1, x + 1, y + 1) for x, y in steps]


def _crossings(axes: Axes, at: tuple[float, float], box: Bbox, taken: Sequence[Bbox]) -> int:
    return sum(piece.count_overlaps(taken) > 0 for piece in _leader(axes, at, box))


def _cost(box: Bbox, frame: Bbox, *, taken: Sequence[Bbox], dots: Sequence[Bbox]) -> float:
    """Leaving the frame weighs most, then overlaps with labels, then covering points."""
    outside = not (frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1)
    return 1e3 * box.count_overlaps(taken) + 3e3 * outside + 30 * box.count_overlaps(dots)


def _move(label: Annotation, radius: float, angle: float) -> None:
    across, up = np.cos(angle), np.sin(angle)
    label.set_position((radius * across, radius * up))
    label.set_horizontalalignment("left" if across > 0.4 else "right" if across < -0.4 else "center")
    label.set_verticalalignment("bottom" if up > 0.4 else "top" if up < -0.4 else "center")
    if label.arrow_patch is not None:
        label.arrow_patch.set_visible(radius > RADII_POINTS[0])


def _extent(label: Annotation, renderer: RendererBase) -> Bbox:
    """The text's own box in pixels, without the leader."""
    label.update_positions(renderer)
    return Text.get_window_extent(label, renderer).padded(1)
