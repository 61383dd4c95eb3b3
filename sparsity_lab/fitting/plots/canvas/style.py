"""One look for all figures: column width, color-blind safe, units on axes, PNG and SVG.

Figures are made with the object interface, never with pyplot's global state, so that plotting is safe in
threads and needs no display. Any name in a figure goes through `label`.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

import matplotlib
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from sparsity_lab import labels
from sparsity_lab.fitting.figures import KINDS, file_of
from sparsity_lab.fitting.plots.canvas import fonts
from sparsity_lab.store.records import write_bytes

COLUMN_WIDTH_INCHES = 3.5
PAGE_WIDTH_INCHES = 7.0
GOLDEN = 0.68
LONG_NAME = 24  # columns: with longer names next to its rows, a figure takes the page's width
UNSEEN = "\N{ZERO WIDTH SPACE}"
# Okabe and Ito's palette, black last; yellow is left out because it vanishes on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

PNG_EFFORT = 3  # of 9: the next levels take twice as long for a twentieth of the bytes

_RC = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.35,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 300,
    "svg.hashsalt": "sparsity-lab",  # the same figure gives the same bytes
    "axes.prop_cycle": cycler(color=COLOURS),
}
_SHOWN: ContextVar[Mapping[str, str] | None] = ContextVar("_SHOWN", default=None)


@contextmanager
def styled(names: Iterable[object] = ()) -> Iterator[None]:
    """The house style for figures made and saved inside, whatever the user's configuration of matplotlib.

    Args:
        names: those that the figures show by `label`; fonts are chosen for them, and shortened ones stay distinct.
    """
    texts = [str(name) for name in names]
    chosen = fonts.families(texts)
    defaults = {key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"}
    with matplotlib.rc_context({**defaults, **_RC, "font.family": chosen}):
        before = _SHOWN.set(labels.shown(texts, is_drawn=lambda one: fonts.is_drawn(one, chosen)))
        try:
            yield
        finally:
            _SHOWN.reset(before)


def label(name: object) -> str:
    """A name as a figure shows it: in one line, whole or cut, and no part of it read as mathematics or as hidden."""
    text = str(name)
    shown = (_SHOWN.get() or {}).get(text)
    if shown is None:
        chosen = [fonts.USUAL, *matplotlib.rcParams["font.family"]]
        shown = labels.shown([text], is_drawn=lambda one: fonts.is_drawn(one, chosen))[text]
    # Legends leave out what begins with an underscore.
    return (UNSEEN if shown.startswith("_") else "") + shown.replace("$", r"\$")


def beside(name: object, formula: str, plain: str) -> str:
    """What to write in one text with a name: the formula, or in plain letters where mathematics cannot set the name."""
    return formula if all(map(fonts.is_usual, label(name))) else plain


def drawable(text: str) -> str:
    """A text without mathematics, at any length, its characters spelled out that no font has."""
    chosen = [fonts.USUAL, *matplotlib.rcParams["font.family"]]
    return labels.spelled(text, is_drawn=lambda one: fonts.is_drawn(one, chosen))


def figure(
    rows: int = 1, columns: int = 1, *, width: float = COLUMN_WIDTH_INCHES, height: float | None = None
) -> tuple[Figure, list[Axes]]:
    """A figure and its axes, row by row; sizes in inches."""
    drawn = Figure(figsize=(width, height or width / columns * GOLDEN * rows))
    grid = drawn.subplots(rows, columns, squeeze=False)
    return drawn, [axes for line in grid for axes in line]


def width_for(names: Sequence[str]) -> float:
    """Inches of a figure with such labels next to its rows: a column, or the page where they are long."""
    longest = max((len(name) for name in names), default=0)
    return COLUMN_WIDTH_INCHES if longest <= LONG_NAME else PAGE_WIDTH_INCHES


def columns_for(names: Iterable[str], *, most: int, inches: float, size: float = 7) -> int:
    """Columns of a legend whose entries have these labels, so that it is not wider than its figure."""
    widest = (
        max((inches_of(name, size=size) for name in names), default=0.0) + 0.4
    )  # the line before it, and a gap
    return max(1, min(most, int(inches / widest)))


def broken(text: str, *, inches: float, size: float = 8) -> str:
    """A title in as many lines as it needs."""
    wide = inches_of(text, size=size)
    if wide <= inches:
        return text
    return "\n".join(textwrap.wrap(text, max(12, int(len(text) * inches / wide) - 1)))


def inches_of(text: str, *, size: float) -> float:
    """Width of a text in inches; size in points."""
    return (
        float(renderer().get_text_width_height_descent(text, FontProperties(size=size), ismath=False)[0])
        / 100
    )


@cache
def renderer() -> RendererAgg:
    """Measures text; 100 of its units are an inch."""
    return FigureCanvasAgg(Figure(dpi=100)).get_renderer()


def undrawn(stem: Path) -> list[Path]:
    """Draw no figure; remove that of an earlier run, whose rows are no longer in the table."""
    for suffix in (".png", ".svg"):
        stem.with_suffix(suffix).unlink(missing_ok=True)
    return []


def save(drawn: Figure, stem: Path) -> list[Path]:
    """Write `stem.png` and `stem.svg`, whole or not at all; the same figure gives the same bytes.

    Panels are placed once, by the sizes of the SVG's text: placing them costs as much as drawing.
    """
    streams = {kind: io.BytesIO() for kind in KINDS}
    drawn.dpi = matplotlib.rcParams["savefig.dpi"]
    FigureCanvasSVG(drawn).print_svg(streams["svg"], metadata={"Date": None})
    drawn.set_layout_engine("none")
    drawn.dpi = matplotlib.rcParams["savefig.dpi"]  # an SVG's is its own
    how = {"compress_level": PNG_EFFORT}
    FigureCanvasAgg(drawn).print_png(streams["png"], metadata={"Software": None}, pil_kwargs=how)
    for kind, stream in streams.items():
        write_bytes(file_of(stem, kind), stream.getvalue())
    return [file_of(stem, kind) for kind in KINDS]
