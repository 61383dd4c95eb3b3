"""Quantiles and tails of the distributions that fits are judged by.

Those of scipy.special, which are what scipy.stats returns to the last digit: importing the latter takes longer than
fitting a series, and each of its calls longer than a step of a fit.
"""

from __future__ import annotations

from scipy import special


def f_quantile(share: float, above: float, below: float) -> float:
    """The value that a share of an F distribution lies below, of so many degrees of freedom above and below."""
    return float(special.fdtri(above, below, share))


def f_tail(value: float, above: float, below: float) -> float:
    """The share of an F distribution beyond a value."""
    return float(special.fdtrc(above, below, value))


def t_quantile(share: float, freedom: float) -> float:
    """The value that a share of Student's distribution lies below."""
    return float(special.stdtrit(freedom, share))


def t_tail(value: float, freedom: float) -> float:
    """The share of Student's distribution beyond a value."""
    return float(special.stdtr(freedom, -value))


def normal_quantile(share: float) -> float:
    """The value that a share of the normal distribution lies below."""
    return float(special.ndtri(share))


def chi_squared_quantile(share: float, freedom: float) -> float:
    """The value that a share of a chi-squared distribution lies below."""
    return float(2.0 * special.gammaincinv(freedom / 2.0, share))


def binomial_interval(hits: float, trials: int, level: float = 0.95) -> tuple[float, float]:
    """The Clopper-Pearson interval of a share of hits; these need not be a whole number."""
    tail = (1 - level) / 2
    low = float(special.betaincinv(hits, trials - hits + 1, tail)) if hits > 0 else 0.0
    high = float(special.betaincinv(hits + 1, trials - hits, 1 - tail)) if hits < trials else 1.0
    return low, high
