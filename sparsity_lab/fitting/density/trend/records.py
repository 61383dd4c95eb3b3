"""Records by release date and the straight line through them, for one world or for thousands at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsity_lab.laws._law import Array


def frontier_mask(days: Array, ln_rho: Array) -> NDArray[np.bool_]:
    """Which entries set a new maximum by date; arrays of shape (..., n), any order of dates."""
    order = np.lexsort((-ln_rho, days), axis=-1)
    sorted_values = np.take_along_axis(ln_rho, order, -1)
    best = np.maximum.accumulate(sorted_values, axis=-1)
    is_record = np.ones(sorted_values.shape, dtype=bool)
    is_record[..., 1:] = sorted_values[..., 1:] > best[..., :-1]
    is_record &= np.isfinite(sorted_values)
    mask = np.zeros_like(is_record)
    np.put_along_axis(mask, order, is_record, -1)
    return mask


def line_through(days: Array, ln_rho: Array, mask: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Slope and intercept of the least-squares line through the masked entries; NaN on a single date.

    The law `densing` is the same line; here it is fitted to thousands of resampled frontiers at once.
    """
    values = np.where(mask, ln_rho, 0.0)
    count = np.maximum(mask.sum(-1), 1)  # an empty frontier gives NaN below, by its square of 0
    mean_day, mean = (days * mask).sum(-1) / count, values.sum(-1) / count
    centred = (days - mean_day[..., None]) * mask
    square = (centred**2).sum(-1)
    slope = np.where(square > 0, (centred * values).sum(-1) / np.where(square > 0, square, 1.0), np.nan)
    return slope, mean - slope * mean_day


def record_lines(days: Array, values: Array, lift: Array | float = 0.0) -> Array:
    """Lines (slope, intercept) through the records of many worlds, shape (worlds, 2).

    Args:
        days: shape (worlds, n), or (n,) where all worlds have the same dates.
        values: ln rho, shape (worlds, n); infinite ones are not records.
        lift: what lies above a value that is only a lower bound. Records are determined by the values alone.
    """
    days = np.broadcast_to(days, values.shape)
    return np.stack(line_through(days, values + lift, frontier_mask(days, values)), axis=1)
