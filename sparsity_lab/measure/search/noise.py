"""How far a measured number is from noise: block bootstrap over windows, dense and sparse run paired.

Neighbouring windows come from one document, so whole blocks of them are drawn (circular blocks; Politis and
Romano 1992): of n^(1/3) windows or 4,096 tokens, whichever is more, but at least eight blocks. The sparse and
the dense loss of a window are always drawn together: their difference is far less noisy than either.

Few blocks understate the spread by the factor sqrt(1 - 1/blocks), which is put back. What no resampling of one
text can show is how another text would differ.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from sparsity_lab.measure.search.counts import Counts, Floats, Ints

RESAMPLES = 1000
BLOCK_TOKENS, LEAST_BLOCKS = 4096, 8


class Resamples(NamedTuple):
    """Bootstrap resamples of the windows seen.

    Attributes:
        rows: int64 [windows seen], which windows.
        weights: float64 [resamples, windows seen], how often each window is drawn, the distance from once
            widened for the small number of blocks.
        blocks: how many blocks a resample draws.
    """

    rows: Ints
    weights: Floats
    blocks: int


def resamples(rows: Ints, *, window: int, seed: int, count: int = RESAMPLES) -> Resamples:
    """Draw circular blocks of windows.

    Args:
        rows: indices of the windows seen, in the order of the text.
        window: tokens of one.
        seed: the same seed gives the same draws.
        count: number of resamples.
    """
    n = len(rows)
    length = block_length(n, window=window)
    blocks = -(-n // length)
    generator = np.random.default_rng(seed)
    starts = generator.integers(0, n, size=(count, blocks, 1))
    drawn = ((starts + np.arange(length)) % n).reshape(count, -1)[:, :n]
    weights = np.zeros((count, n))
    np.add.at(weights, (np.repeat(np.arange(count), n), drawn.ravel()), 1.0)
    widened = math.sqrt(blocks / max(blocks - 1, 1))
    return Resamples(rows, 1.0 + widened * (weights - 1.0), blocks)


def block_length(windows: int, *, window: int) -> int:
    """Windows of one block."""
    wanted = max(round(windows ** (1 / 3)), round(BLOCK_TOKENS / window))
    return max(1, min(wanted, windows // LEAST_BLOCKS))


def loss_deltas_nats(draws: Resamples, dense: Counts, sparse: Counts) -> Floats:
    """Mean loss difference sparse - dense of each resample, float64 [resamples], nats."""
    rows = draws.rows
    difference = draws.weights @ (sparse.loss_nats[rows] - dense.loss_nats[rows])
    return difference / (draws.weights @ dense.predicted[rows])


def activation_ratios(draws: Resamples, sparse: Counts, *, sizes: Ints) -> Floats:
    """Activation ratio of each resample, float64 [resamples]."""
    active = draws.weights @ sparse.active[draws.rows].sum(axis=1)
    return active / (draws.weights @ (sparse.reached[draws.rows] @ sizes))


def rise_error_nats(draws: Resamples, dense: Counts, sparse: Counts) -> float:
    """Paired standard error of L_sparse - L_dense, nats."""
    return float(loss_deltas_nats(draws, dense, sparse).std(ddof=1))


def t_over_normal(draws: Resamples) -> float:
    """How much wider Student's t makes a 95 % interval than the normal distribution, for as many blocks."""
    return float(stats.t.ppf(0.975, max(draws.blocks - 1, 1)) / stats.norm.ppf(0.975))


def line_slope(xs: Floats, ys: Floats) -> float:
    """Least-squares slope of y against x; 0 where x does not vary."""
    centred = xs - xs.mean()
    square = float(centred @ centred)
    return float(centred @ ys) / square if square > 1e-12 else 0.0
