"""Standard errors of what cannot be written as a sum over windows: leave out one stretch of text at a time.

se^2 = (n - 1) / n * sum over stretches of (value without it - mean of these)^2 (Tukey).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sparsity_lab.measure.search.counts import Floats, Ints


def jackknife(value: Callable[[Ints], Floats], stretches: Ints) -> tuple[Floats, Floats]:
    """Values of a function of some stretches, and their standard errors; NaN from fewer than two stretches.

    Args:
        value: takes indices of stretches, gives numbers [k].
        stretches: all of them.
    """
    whole = value(stretches)
    n = len(stretches)
    if n < 2:
        return whole, np.full(len(whole), np.nan)
    without = np.stack([value(np.delete(stretches, stretch)) for stretch in range(n)])
    squares = ((without - without.mean(axis=0)) ** 2).sum(axis=0)
    return whole, np.sqrt((n - 1) / n * squares)
