"""How large and how small the numbers of a table may be that a law is fitted to.

The search raises x to powers of up to 10 and y to the fourth, each in double precision: beyond these bounds these
are infinite or zero, and the least squares have no meaning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from sparsity_lab.errors import SparsityLabError

SMALLEST_X, LARGEST_X = 1e-30, 1e30
WIDEST_X = 1e30  # the largest over the smallest
SMALLEST_Y, LARGEST_Y = 1e-50, 1e50
SCALE_FIX = "Give the column in another unit, so that its numbers are of a usual size, or remove the row"


def beyond_x(value: float) -> str | None:
    """Why a value of x cannot be in a fit, in words; None where it can, as 0 can."""
    return _beyond(value, SMALLEST_X, LARGEST_X)


def beyond_y(value: float) -> str | None:
    """The same for a value of y or its standard error."""
    return _beyond(value, SMALLEST_Y, LARGEST_Y)


def _beyond(value: float, smallest: float, largest: float) -> str | None:
    if value == 0 or smallest <= abs(value) <= largest:
        return None
    return f"{value:g} is not between {smallest:g} and {largest:g} in size, within which laws are fitted"


def too_wide(values: Sequence[float]) -> tuple[int, int] | None:
    """Places of the least and the largest of positive values of x, where they are too far apart for a fit; or None."""
    sizes = [(abs(value), at) for at, value in enumerate(values) if value != 0 and math.isfinite(value)]
    if not sizes:
        return None
    (low, first), (high, last) = min(sizes), max(sizes)
    return (first, last) if high / low > WIDEST_X else None


def apart(path: Path, column: str, ends: Sequence[tuple[int, float]]) -> SparsityLabError:
    """The error for two rows, each with its line and x, that `too_wide` names."""
    (low_line, low), (high_line, high) = ends
    return SparsityLabError(
        f"{path}: rows {low_line} and {high_line}, column {column!r}: their values are too far apart to be fitted",
        why=f"{high:g} is more than {WIDEST_X:g} times {low:g}",
        fix="Correct them, or remove one of the rows",
    )
