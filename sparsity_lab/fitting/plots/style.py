"""One look for all figures: column width, colour-blind safe, units on axes, PNG and SVG.

Figures are made with the object interface, never with pyplot's global state, so that plotting is safe in
threads and needs no display.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparsity_lab.records import write_bytes

COLUMN_WIDTH_INCHES = 3.5
GOLDEN = 0.68
# Okabe and Ito's palette, black last; yellow is left out because it vanishes on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

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


@contextmanager
def styled() -> Iterator[None]:
    """The house style for figures made and saved inside."""
    with matplotlib.rc_context(_RC):
        yield


def figure(
    rows: int = 1, columns: int = 1, *, width: float = COLUMN_WIDTH_INCHES, height: float | None = None
) -> tuple[Figure, list[Axes]]:
    """A figure and its axes, row by row; sizes in inches."""
    drawn = Figure(figsize=(width, height or width / columns * GOLDEN * rows))
    grid = drawn.subplots(rows, columns, squeeze=False)
    return drawn, [axes for line in grid for axes in line]


def measured_rows(table: Path) -> pd.DataFrame:
    """The rows of a table of `sparsity-lab measure` that hold numbers."""
    frame = pd.read_csv(table)
    return frame[frame["failed"].isna()].reset_index(drop=True) if "failed" in frame else frame


def undrawn(stem: Path) -> list[Path]:
    """No figure: one of an earlier run is removed, whose rows are no more in the table."""
    for suffix in (".png", ".svg"):
        stem.with_suffix(suffix).unlink(missing_ok=True)
    return []


def save(drawn: Figure, stem: Path) -> list[Path]:
    """Write `stem.png` and `stem.svg`, whole or not at all; the same figure gives the same bytes."""
    written = []
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        stream = io.BytesIO()
        drawn.savefig(stream, format=kind, metadata=metadata)
        path = stem.with_name(f"{stem.name}.{kind}")
        write_bytes(path, stream.getvalue())
        written.append(path)
    return written
