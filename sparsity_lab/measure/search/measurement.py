"""What one measurement yields: counts of the dense and the sparse run, and how sure the numbers are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparsity_lab.measure.search.counts import Counts, DenseSums, Floats, Ints

KNOB, KNOB_FOUND, THRESHOLDS = "this knob", "the knob found", "these thresholds"  # what errors are at

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Evaluation:
    """One sparse run at one knob.

    Attributes:
        x: coordinate of the knob on which the search runs.
        knob: the knob.
        rise_nats: L_sparse - L_dense over the windows of the run.
        activation_ratio: counted in this run.
        counts: its counts.
        thresholds: those it ran under, per layer, or None for rules without.
    """

    x: float
    knob: float
    rise_nats: float
    activation_ratio: float
    counts: Counts
    thresholds: list[float] | None


@dataclass(frozen=True)
class Errors:
    """Standard errors of one measurement.

    Attributes:
        activation_ratio: of the ratio; at PPL-p% the noise of the knob found is in it.
        loss_delta_nats: of L_sparse - L_dense, paired over windows.
        knob: of the knob found, its 95 % interval; None at a fixed knob.
        t: half a 95 % interval in standard errors.
        units: how many parts of the text they come from.
        held: what is held while the text varies: `KNOB_FOUND`, `KNOB` or `THRESHOLDS`.
        ratio_components: of the activation ratio's error; see `noise.Replicates.components`.
        rise_components: of the loss rise's, nats.
        ratio_slope: d activation ratio / dx at the knob, x its coordinate; None where it is not known.
        stop_nats: the error of the loss rise that decided where the search stopped.
    """

    activation_ratio: float
    loss_delta_nats: float
    knob: tuple[float, float] | None
    t: float
    units: int
    held: str
    ratio_components: Floats
    rise_components: Floats
    ratio_slope: float | None
    stop_nats: float


@dataclass(frozen=True)
class Measurement:
    """The result of one measurement.

    Attributes:
        criterion: id of the criterion.
        knob: where the activation ratio was counted.
        ppl_increase_target: p, or None at a fixed knob.
        thresholds: on the score, per layer, or None for rules without.
        dense: counts of the dense run.
        sparse: counts of the sparse run at `knob`.
        sums: what the dense run summed in addition.
        sizes: F of each layer, int64 [layers].
        errors: standard errors.
        flags: findings, each a word.
        searched: every evaluation of the search, pilot first.
        forward_passes: tokens passed through the model over tokens of the text.
        score_weights: [F] of each layer, where a weight of the criterion's score was measured on the text.
    """

    criterion: str
    knob: float
    ppl_increase_target: float | None
    thresholds: list[float] | None
    dense: Counts
    sparse: Counts
    sums: DenseSums
    sizes: Ints
    errors: Errors
    flags: tuple[str, ...]
    searched: tuple[Evaluation, ...]
    forward_passes: float
    score_weights: tuple[Tensor, ...] | None = None

    @property
    def activation_ratio(self) -> float:
        """1 - |D|/F over valid tokens and layers, counted in the sparse run."""
        return self.sparse.activation_ratio(self.sizes)

    @property
    def spread(self) -> Errors:
        """The errors, by the name they had before samples were spread."""
        return self.errors

    @property
    def activation_ratio_interval(self) -> tuple[float, float]:
        """95 % interval of the activation ratio."""
        half = self.errors.t * self.errors.activation_ratio
        return max(0.0, self.activation_ratio - half), min(1.0, self.activation_ratio + half)

    @property
    def loss_delta_nats(self) -> float:
        """L_sparse - L_dense."""
        return self.sparse.mean_loss_nats() - self.dense.mean_loss_nats()

    @property
    def ppl_ratio(self) -> float:
        """Perplexity of the sparse run over that of the dense run."""
        return math.exp(self.loss_delta_nats)

    @property
    def nonzero_ratio(self) -> float:
        """Share of exactly non-zero activations of the dense run."""
        return float(self.sums.nonzero.sum() / (self.dense.reached.sum(axis=0) @ self.sizes))
