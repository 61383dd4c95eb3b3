"""The errors of one measurement, from replicates of its sample.

At a fixed knob each replicate finds the thresholds of that knob for itself; at a knob that was searched for each moves
the knob to a crossing of its own. What moves x, the coordinate of the knob, moves ratio and rise along with it, by
their slopes, and these are estimated from whatever was evaluated around the answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sparsity_lab.measure.criteria import Bound, Knob, ThresholdDrift
from sparsity_lab.measure.search import noise
from sparsity_lab.measure.search.counts import Counts, Floats, Ints
from sparsity_lab.measure.search.crossing import Crossing, Together, crossings, seen_slope, shared_slope
from sparsity_lab.measure.search.measurement import KNOB, KNOB_FOUND, THRESHOLDS, Errors, Evaluation
from sparsity_lab.measure.search.targets import Goal, PplIncrease

NEARBY = 0.7  # evaluations this near in x take part in local fits
AT_ANSWER = 0.05  # evaluations this near the answer count on both sides of it


@dataclass(frozen=True)
class Around:
    """What was evaluated around an answer.

    Attributes:
        chosen: the answer.
        parts: evaluations of parts of the text, those of one part together.
        whole: evaluations of the whole text.
        windows: of the whole text.
    """

    chosen: Evaluation
    parts: tuple[list[Evaluation], ...]
    whole: list[Evaluation]
    windows: int

    def near(self) -> list[Evaluation]:
        """The evaluations of the whole text that take part in local fits."""
        return [e for e in self.whole if abs(e.x - self.chosen.x) < NEARBY]

    def values(self, value: Callable[[Evaluation], float], *, side: int = 0) -> list[Together]:
        """A number at all evaluations near the answer, by the windows they were made on.

        Args:
            value: the number.
            side: -1 for those below the answer, 1 for those above it, 0 for both.
        """
        near = (
            [e for e in group if abs(off := e.x - self.chosen.x) < NEARBY and side * off > -AT_ANSWER]
            for group in (*self.parts, self.whole)
        )
        return [
            Together(
                xs_of(group), np.array([value(e) for e in group]), len(group[0].counts.rows) / self.windows
            )
            for group in near
            if group
        ]


@dataclass(frozen=True)
class Noise:
    """The errors of an answer.

    Attributes:
        around: the answer, and what was evaluated around it.
        draws: replicates of the sample.
        dense: the dense run.
        sizes: F of each layer, int64 [layers].
        knob: the criterion's.
        bound: the criterion on this model and text.
        stop_nats: the error of the loss rise that decided where the search stopped.
    """

    around: Around
    draws: noise.Replicates
    dense: Counts
    sizes: Ints
    knob: Knob
    bound: Bound
    stop_nats: float

    def at_knob_found(self, goal: Goal, crossing: Crossing) -> Errors:
        """Where the knob was searched for."""
        shifts = self._shifts(goal, crossing)
        ratios, rises = self._deviations()
        ratio_jitter = rise_jitter = 0.0
        slope = shared_slope(self.around.values(lambda e: e.activation_ratio))
        if isinstance(goal, PplIncrease):
            ratios, ratio_jitter = ratios + slope * shifts, slope * crossing.error
        else:
            per_x = shared_slope(self.around.values(lambda e: e.rise_nats))
            rises, rise_jitter = rises + per_x * shifts, per_x * crossing.error
        drift = self._drift()
        moved = shifts if drift is None else shifts + drift.layers.mean(axis=1)
        return Errors(
            math.hypot(noise.rms(ratios), ratio_jitter), math.hypot(noise.rms(rises), rise_jitter),
            self._interval(math.hypot(noise.rms(moved), crossing.error)),
            self.draws.t, self.draws.units, KNOB_FOUND,
            self.draws.components(ratios), self.draws.components(rises), slope, self.stop_nats,
        )  # fmt: skip

    def at_knob_given(self, *, is_given: bool) -> Errors:
        """At a fixed knob, or under fixed thresholds where `is_given`."""
        ratios, rises = self._deviations()
        drift, held, slope = self._drift(), THRESHOLDS, None
        if drift is not None and drift.ratio_slopes is not None:  # thresholds go back to their layers' knob
            held, slope = KNOB, float(drift.ratio_slopes.sum())
            ratios = ratios - drift.layers @ drift.ratio_slopes
            # By the slope that is usual for the criterion: one run at one knob does not tell its own.
            rises = rises - self.knob.slope * self.around.chosen.rise_nats * drift.layers.mean(axis=1)
        elif self.knob.calibrates == "nothing" and not is_given:
            held = KNOB
        return Errors(
            noise.rms(ratios), noise.rms(rises), None, self.draws.t, self.draws.units, held,
            self.draws.components(ratios), self.draws.components(rises), slope, self.stop_nats,
        )  # fmt: skip

    def _deviations(self) -> tuple[Floats, Floats]:
        """Of activation ratio and loss rise at these thresholds, float64 [replicates] each."""
        counts = self.around.chosen.counts
        ratios = noise.activation_ratios(self.draws, counts, sizes=self.sizes)
        rises = noise.loss_deltas_nats(self.draws, self.dense, counts)
        return self.draws.deviations(ratios), self.draws.deviations(rises)

    def _drift(self) -> ThresholdDrift | None:
        return self.bound.drift(self.around.chosen.knob, self.draws, self.dense)

    def _interval(self, error: float) -> tuple[float, float]:
        """95 % interval of the knob, the error of its coordinate given."""
        half, x = self.draws.t * error, self.around.chosen.x
        low, high = sorted((self.knob.from_x(x - half), self.knob.from_x(x + half)))
        return low, high

    def _shifts(self, goal: Goal, crossing: Crossing) -> Floats:
        """How far, in x, each replicate moves the crossing, as in a whole resample."""

        def value(evaluation: Evaluation) -> float:
            return goal.value(evaluation.rise_nats, evaluation.activation_ratio)

        prior = goal.slope(self.knob.slope)
        near = [self.around.chosen] if prior.exact else self.around.near()
        values = np.array([value(e) for e in near])
        drawn = [goal.resampled(self.draws, self.dense, e.counts, sizes=self.sizes) for e in near]
        slope = crossing.slope
        if not prior.exact:
            below, above = (self.around.values(value, side=side) for side in (-1, 1))
            slope = seen_slope(below, above, slope=prior)
        found = crossings(xs_of(near), np.stack(drawn, axis=1), values, target=goal.target, slope=slope)
        return self.draws.deviations(found)


def xs_of(evaluations: list[Evaluation]) -> Floats:
    """Their coordinates, float64 [n]."""
    return np.array([e.x for e in evaluations])
