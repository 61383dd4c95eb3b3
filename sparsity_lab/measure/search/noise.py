"""How far a measured number is from noise: replicates of the sample, dense and sparse run paired.

A replicate weighs every unit of the sample a little more or less, as half a resample would. Under a spread sample
the units are windows (or groups of neighbors), and each difference between one and the next is put in with a sign:
successive difference replication (Fay and Train 1995, Proc. Section on Government Statistics, ASA, 154-159), whose
standard error of a mean is

    sqrt(sum (x_{i+1} - x_i)^2 / (2 n (n - 1)))

and leaves out what the order of a text explains, which a stratified sample holds fixed. At the head of a text, or on
the whole of it, neighboring windows are alike and only long stretches tell something: four blocks, whose signs are
balanced (Fay's method of balanced repeated replication). The signs are the columns of a Hadamard matrix, so that
errors of sums are exact and nothing is drawn. The sparse and the dense loss of a window always go together: their
difference is far less noisy than either.

Intervals are Student's t times the error. What no replicate of one text can show is how another text would differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special
from scipy.linalg import hadamard

from sparsity_lab.measure.search.counts import Counts, Floats, Ints
from sparsity_lab.settings import SPREAD

NORMAL = float(special.ndtri(0.975))  # half a 95 % interval in standard errors that are known
TAIL = 0.025  # beyond either end of a 95 % interval
STEP = 0.5  # of a resample's way from the sample: weights stay positive
BLOCKS = 4  # of a head or a whole text
LEAST_REPLICATES, MOST_UNITS = 64, 1024
FEW_UNITS = 16  # fewer are flagged
HEAD_DRAWS, HEAD_BLOCK_TOKENS, HEAD_BLOCKS = 1000, 4096, 8  # of `head_draws`


class Replicates(NamedTuple):
    """A sample, weighed in other ways.

    Attributes:
        rows: int64 [windows seen], which windows.
        begins: int64 [units], place in `rows` of the first window of each unit.
        weights: float64 [replicates, units], 1 on average.
        freedom: degrees of freedom of errors.
        step: of a resample's way from the sample.
        signs: of each difference or block in each replicate, [replicates, differences or blocks]; see `components`.
    """

    rows: Ints
    begins: Ints
    weights: Floats
    freedom: float
    step: float = STEP
    signs: Floats = np.ones((1, 1))

    @property
    def units(self) -> int:
        """Number of units."""
        return len(self.begins)

    @property
    def t(self) -> float:
        """Student's t: half a 95 % interval in standard errors."""
        return float(special.stdtrit(self.freedom, 0.975))

    def t_of_largest(self, differences: int) -> float:
        """Standard errors that the largest of so many differences exceeds by chance in one of 40 samples (Bonferroni).

        For one difference it is Student's t.
        """
        return float(special.stdtrit(self.freedom, 1.0 - TAIL / differences))

    def sums(self, values: Floats | Ints) -> Floats:
        """The sum of a number over the windows in each replicate, float64 [replicates, ...].

        Args:
            values: [windows, ...] of all windows, seen or not.
        """
        of_units = np.add.reduceat(values[self.rows].astype(np.float64), self.begins)
        return np.asarray(np.tensordot(self.weights, of_units, axes=1))

    def deviations(self, values: Floats) -> Floats:
        """How far a number [replicates, ...] would be off in a resample; the mean square is its variance."""
        return np.asarray((values - values.mean(axis=0)) / self.step)

    def components(self, deviations: Floats) -> Floats:
        """The parts of an error, each of one difference or block: the sum of their squares is the variance.

        Of two numbers from the same windows, or of two checkpoints on the same text, the sum of products is the
        covariance.

        Args:
            deviations: from `deviations`, float64 [replicates].
        """
        return np.asarray(self.signs.T @ deviations / len(deviations))

    def error(self, values: Floats) -> float:
        """The standard error of a number from its values [replicates]."""
        return rms(self.deviations(values))


def replicates(rows: Ints, *, sample: str, documents: Sequence[int] | None = None) -> Replicates:
    """Replicates of the windows seen.

    Args:
        rows: indices of the windows, or of groups of neighbors, in the order of the text.
        sample: how they were taken from it; see `settings`.
        documents: which one each of all windows is of, where that is known: then they are the units.
    """
    own = np.arange(len(rows))
    if sample == SPREAD and documents is not None and len(rows):
        own = np.flatnonzero(np.diff(np.array(documents)[rows], prepend=-1))
    n = len(own)
    units = min(n, MOST_UNITS if sample == SPREAD else BLOCKS)
    begins = own[-(-np.arange(units) * n // units)]
    if units < 2:
        weights = np.ones((LEAST_REPLICATES, units))
        return Replicates(rows, begins, weights, 1.0, STEP, np.zeros((LEAST_REPLICATES, 0)))
    order = max(LEAST_REPLICATES, 1 << units.bit_length())
    signs = hadamard(order)[:, 1 : units + (sample != SPREAD)].astype(np.float64)
    if sample == SPREAD:
        moved = np.zeros((order, units))
        moved[:, :-1] -= signs
        moved[:, 1:] += signs
        moved *= math.sqrt(units / (2 * (units - 1)))
    else:
        moved = (signs - signs.mean(axis=1, keepdims=True)) * math.sqrt(units / (units - 1))
    return Replicates(rows, begins, 1.0 + STEP * moved, freedom_of(units, sample=sample), STEP, signs)


def freedom_of(units: int, *, sample: str) -> float:
    """Degrees of freedom of a variance from so many units; differences of neighbors overlap."""
    return 2 * (units - 1) ** 2 / (3 * units - 4) if sample == SPREAD and units > 1 else max(units - 1.0, 1.0)


def t_of(units: int, *, sample: str) -> float:
    """Student's t of so many units: half a 95 % interval in standard errors."""
    return float(special.stdtrit(freedom_of(units, sample=sample), 0.975))


def weight_count(windows: int, *, sample: str) -> int:
    """How many weights all replicates of so many windows have."""
    if sample != SPREAD:
        return HEAD_DRAWS * windows
    units = min(windows, MOST_UNITS)
    return max(LEAST_REPLICATES, 1 << units.bit_length()) * units


def head_draws(rows: Ints, *, window: int, seed: int) -> Replicates:
    """Circular blocks of windows, drawn (Politis and Romano 1992): where a search at a head stops hangs on these.

    They understate what another part of the text would give, but the numbers that go by a content key depend on them.
    """
    n = len(rows)
    length = max(1, min(max(round(n ** (1 / 3)), round(HEAD_BLOCK_TOKENS / window)), n // HEAD_BLOCKS))
    blocks = -(-n // length)
    starts = np.random.default_rng(seed).integers(0, n, size=(HEAD_DRAWS, blocks, 1))
    drawn = ((starts + np.arange(length)) % n).reshape(HEAD_DRAWS, -1)[:, :n]
    weights = np.zeros((HEAD_DRAWS, n))
    np.add.at(weights, (np.repeat(np.arange(HEAD_DRAWS), n), drawn.ravel()), 1.0)
    widened = math.sqrt(blocks / max(blocks - 1, 1))
    step = math.sqrt(1.0 - 1.0 / HEAD_DRAWS)
    weighed = 1.0 + widened * (weights - 1.0)
    return Replicates(rows, np.arange(n), weighed, max(blocks - 1.0, 1.0), step)


def rms(deviations: Floats) -> float:
    """The root of the mean square."""
    return float(np.sqrt(np.mean(deviations**2)))


def loss_deltas_nats(draws: Replicates, dense: Counts, sparse: Counts) -> Floats:
    """Mean loss difference sparse - dense of each replicate, float64 [replicates], nats."""
    return draws.sums(sparse.loss_nats - dense.loss_nats) / draws.sums(dense.predicted)


def activation_ratios(draws: Replicates, sparse: Counts, *, sizes: Ints) -> Floats:
    """Activation ratio of each replicate, float64 [replicates]."""
    return draws.sums(sparse.active.sum(axis=1)) / draws.sums(sparse.reached @ sizes)


def rise_error_nats(draws: Replicates, dense: Counts, sparse: Counts) -> float:
    """Paired standard error of L_sparse - L_dense, nats."""
    return draws.error(loss_deltas_nats(draws, dense, sparse))


def t_over_normal(draws: Replicates) -> float:
    """How much wider Student's t makes a 95 % interval than the normal distribution."""
    return draws.t / NORMAL
