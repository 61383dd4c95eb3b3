"""What the knob is searched for: a rise of perplexity, or an activation ratio.

A goal turns one sparse run into a value that grows with the knob's coordinate and has a target: the loss
rise in nats, with ln(1 + p) as the target, or the odds of a neuron being dropped, (1 - ratio) / ratio.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sparsity_lab.errors import InapplicableError, SparsityLabError
from sparsity_lab.measure.search import noise
from sparsity_lab.measure.search.counts import Counts, Floats, Ints
from sparsity_lab.measure.search.root import Slope

# A search stops at a quarter of the rise's standard error: more digits would describe this text only.
ERROR_SHARE, LEAST_TOLERANCE, MOST_TOLERANCE = 0.25, 0.002, 0.1
PILOT_TOLERANCE = 0.3  # of the rise: from there the slope leads nearer than the pilot's own sampling error
OFF_TARGET = 0.1
NOISY_SHARE = 0.25
# Shares of the activation ratio wanted, or of 1 - ratio where that is less; LEAST_RATIO keeps odds finite.
RATIO_TOLERANCE, PILOT_RATIO_TOLERANCE, RATIO_OFF_TARGET, LEAST_RATIO = 0.0015, 0.03, 0.01, 1e-9


class Goal(Protocol):
    """What a search wants."""

    @property
    def target(self) -> float:
        """The value wanted, > 0."""
        ...

    def slope(self, guess: float) -> Slope:
        """What is known beforehand of d ln(value) / dx, the criterion's own guess for a loss rise given."""
        ...

    def value(self, rise_nats: float, activation_ratio: float) -> float:
        """The value of one sparse run."""
        ...

    def resampled(self, draws: noise.Replicates, dense: Counts, sparse: Counts, *, sizes: Ints) -> Floats:
        """The value in each replicate of the sample, float64 [replicates]."""
        ...

    def pilot_tolerance(self) -> float:
        """How near the target the pilot's search ends."""
        ...

    def tolerance(self, rise_error_nats: float) -> float:
        """How near the target the search ends, where the loss rise has this standard error."""
        ...

    def off_target(self, value: float, *, rise_error_nats: float) -> bool:
        """Whether the value found is further from the target than noise explains."""
        ...

    def is_noisy(self, rise_error_nats: float, draws: noise.Replicates) -> bool:
        """Whether a loss rise of this standard error says too little."""
        ...

    def check_reach(self, nonzero_ratio: float) -> None:
        """Refuse a target that no knob can meet, the dense run's share of non-zero activations known."""
        ...


@dataclass(frozen=True)
class PplIncrease:
    """Perplexity of the sparse run is 1 + p times that of the dense run (PPL-p%).

    Attributes:
        ppl_increase: p, a fraction.
    """

    ppl_increase: float

    @property
    def target(self) -> float:
        """ln(1 + p), nats."""
        return math.log1p(self.ppl_increase)

    def slope(self, guess: float) -> Slope:
        """The criterion's own, within a factor of two."""
        return Slope(guess)

    def value(self, rise_nats: float, activation_ratio: float) -> float:
        """The loss rise, nats."""
        return rise_nats

    def resampled(self, draws: noise.Replicates, dense: Counts, sparse: Counts, *, sizes: Ints) -> Floats:
        """The loss rise of each replicate, nats."""
        return noise.loss_deltas_nats(draws, dense, sparse)

    def pilot_tolerance(self) -> float:
        """A share of the rise."""
        return PILOT_TOLERANCE * self.target

    def tolerance(self, rise_error_nats: float) -> float:
        """A quarter of the standard error, within limits."""
        share = min(ERROR_SHARE * rise_error_nats / self.target, MOST_TOLERANCE)
        return max(share, LEAST_TOLERANCE) * self.target

    def off_target(self, value: float, *, rise_error_nats: float) -> bool:
        """The rise can jump across the target, as where a threshold meets SiLU's minimum."""
        return abs(value - self.target) > max(rise_error_nats / 2, OFF_TARGET * self.target)

    def is_noisy(self, rise_error_nats: float, draws: noise.Replicates) -> bool:
        """Whether the error is above a quarter of the rise wanted, few windows telling little of it."""
        return rise_error_nats * noise.t_over_normal(draws) > NOISY_SHARE * self.target

    def check_reach(self, nonzero_ratio: float) -> None:
        """Any rise may be met, as far as one can say beforehand."""


@dataclass(frozen=True)
class TargetRatio:
    """The activation ratio is a given one.

    Attributes:
        activation_ratio: the ratio, inside 0 to 1.
    """

    activation_ratio: float

    @property
    def target(self) -> float:
        """Odds of a neuron being dropped."""
        return (1.0 - self.activation_ratio) / self.activation_ratio

    def slope(self, guess: float) -> Slope:
        """Counts are exact, so two of them say more than any guess."""
        return Slope(1.0, factor=30.0, spread=0.01, exact=True)

    def value(self, rise_nats: float, activation_ratio: float) -> float:
        """Odds of a neuron being dropped."""
        return (1.0 - activation_ratio) / max(activation_ratio, LEAST_RATIO)

    def resampled(self, draws: noise.Replicates, dense: Counts, sparse: Counts, *, sizes: Ints) -> Floats:
        """Odds in each replicate."""
        ratios = np.maximum(noise.activation_ratios(draws, sparse, sizes=sizes), LEAST_RATIO)
        return (1.0 - ratios) / ratios

    def pilot_tolerance(self) -> float:
        """A share of the ratio, as odds."""
        return PILOT_RATIO_TOLERANCE * self._odds_per_share

    def tolerance(self, rise_error_nats: float) -> float:
        """A share of the ratio, as odds."""
        return RATIO_TOLERANCE * self._odds_per_share

    def off_target(self, value: float, *, rise_error_nats: float) -> bool:
        """Rules that keep whole neurons of a token move the ratio in steps."""
        return abs(value - self.target) > RATIO_OFF_TARGET * self._odds_per_share

    def is_noisy(self, rise_error_nats: float, draws: noise.Replicates) -> bool:
        """No rise is wanted that the error could be compared with."""
        return False

    def check_reach(self, nonzero_ratio: float) -> None:
        """A ratio above the share of non-zero activations is beyond any knob.

        Raises:
            InapplicableError: exact zeros alone bring the ratio below the target.
        """
        if self.activation_ratio > nonzero_ratio:
            raise InapplicableError(
                f"An activation ratio of {self.activation_ratio:g} cannot be reached: only {nonzero_ratio:.4f} of "
                "this model's activations are not zero, and exact zeros are inactive at every knob",
                fix=f"Give a ratio below {nonzero_ratio:.4f}",
            )

    @property
    def _odds_per_share(self) -> float:
        """d odds over the share by which the ratio moves."""
        return min(self.activation_ratio, 1.0 - self.activation_ratio) / self.activation_ratio**2


def check_increase(ppl_increase: float) -> None:
    """Refuse a perplexity increase that is not a positive fraction.

    Raises:
        SparsityLabError: not above 0, or above 10 (1000 %).
    """
    if not 0 < ppl_increase <= 10:
        raise SparsityLabError(
            f"A perplexity increase of {ppl_increase:.4g} is not a positive fraction",
            fix="Write 1% or 0.01 for one percent",
        )


def check_ratio(activation_ratio: float) -> None:
    """Refuse an activation ratio that is not inside 0 to 1.

    Raises:
        SparsityLabError: not above 0 and below 1.
    """
    if not 0 < activation_ratio < 1:
        raise SparsityLabError(
            f"An activation ratio of {activation_ratio:.4g} is not between 0 and 1",
            fix="Write 0.3 or 30% for three neurons of ten",
        )
