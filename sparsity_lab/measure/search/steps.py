"""The steps of one measurement: pilot, calibration, search, sparse runs, and the noise of what came out."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.criteria import Bound, Knob
from sparsity_lab.measure.criteria._by_threshold import Given
from sparsity_lab.measure.model.passes import Subject, pilot_rows
from sparsity_lab.measure.model.plausible import check_plausible, untrained
from sparsity_lab.measure.search import noise
from sparsity_lab.measure.search.counts import Counts, Ints
from sparsity_lab.measure.search.crossing import Crossing, fit
from sparsity_lab.measure.search.errors import AT_ANSWER, NEARBY, Around, Noise, xs_of
from sparsity_lab.measure.search.measurement import (
    Errors,
    Evaluation,
    Measurement,
)
from sparsity_lab.measure.search.part import Merged
from sparsity_lab.measure.search.root import MOST_EVALUATIONS, Root, RootSearch
from sparsity_lab.measure.search.targets import Goal, PplIncrease
from sparsity_lab.measure.thresholds.masks import sparse_pass
from sparsity_lab.settings import SPREAD

PILOT_EVALUATIONS, NOISY_EVALUATIONS = 4, 3
SEARCH_SPAN = 1.7
LARGEST_LOSS_NATS = 700.0  # exp of it is still a number
APART, ASIDE = 0.15, 0.3  # in x: evaluations must be apart to tell a slope, or part of the text is run aside
ASIDE_EVERY, ASIDE_LEAST = 4, 4  # one of so many windows is run aside on either side, and no fewer than these


@dataclass(frozen=True)
class Settled:
    """Where a search ended.

    Attributes:
        chosen: the evaluation that is the answer.
        crossing: where a fit to the evaluations near it meets the target.
        reached: whether any evaluation came to the target.
    """

    chosen: Evaluation
    crossing: Crossing
    reached: bool = True


class Runner:
    """The steps of one measurement, sharing one calibration and one account of evaluations."""

    def __init__(self, subject: Subject, criterion: str, seed: int, *, bound: Bound | None = None) -> None:
        module = registry.load("criteria", criterion)
        self.subject, self.criterion, self.seed = subject, criterion, seed
        self.knob: Knob = module.KNOB
        self.bound: Bound = bound or module.bind(subject, seed=seed)
        self.is_given = isinstance(self.bound.rule if isinstance(self.bound, Merged) else self.bound, Given)
        self.rows = pilot_rows(subject)
        windows = subject.windows
        self.draws = noise.replicates(subject.all_rows, sample=windows.sample, documents=windows.units)
        self.stop_draws = (
            self.draws
            if windows.sample == SPREAD
            else noise.head_draws(subject.all_rows, window=windows.window, seed=seed)
        )
        self.dense: Counts | None = None
        self.rough: list[Evaluation] = []
        self.aside: list[list[Evaluation]] = []
        self.full: list[Evaluation] = []
        self.resolving = False
        self.begun_tokens = subject.forward_tokens

    def pilot(self) -> Counts:
        """Calibrate roughly on part of the text; its dense counts."""
        dense = self.bound.pilot(self.rows)
        check_plausible(dense.mean_loss_nats(), subject=self.subject)
        return dense

    def calibrate_around(self, knob: float, *, span: float) -> Counts:
        """Calibrate exactly on the whole text; wider where the pilot misjudged a layer, at last for every knob."""
        everywhere = (self.knob.low, self.knob.high)
        for knobs in (self.knob.around(knob, span=span), self.knob.around(knob, span=span**2), everywhere):
            self.dense = self.bound.calibrate(knobs)
            check_plausible(self.dense.mean_loss_nats(), subject=self.subject)
            if self.bound.covers(knob):
                return self.dense
        raise SparsityLabError(
            f"No threshold gives {self.knob.symbol} = {knob:g} in every layer of this model on this text",
            fix="Give another --knob, or a longer text",
        )

    def pilot_search(self, goal: Goal) -> Root:
        """Find the knob roughly, on part of the text."""
        dense = self.pilot()

        def value(x: float) -> float:
            self.rough.append(self._run(self.rows, self.knob.from_x(x), dense=dense))
            return goal.value(self.rough[-1].rise_nats, self.rough[-1].activation_ratio)

        return RootSearch(
            target=goal.target,
            start=self.knob.to_x(self.knob.start),
            ends=self.knob.ends(),
            tolerance=goal.pilot_tolerance,
            slope=goal.slope(self.knob.slope),
            most=PILOT_EVALUATIONS,
        ).root(value)

    def search(self, goal: Goal, *, start: float, slope: float) -> Root:
        """Find the knob on the whole text, from a coordinate and d ln(value) / dx known before."""
        prior = goal.slope(self.knob.slope)
        return RootSearch(
            target=goal.target,
            start=start,
            ends=self.knob.ends(),
            tolerance=lambda: goal.tolerance(self._rise_error_nats(self.full[-1])),
            slope=replace(prior, guess=slope),
            enough=MOST_EVALUATIONS if prior.exact else NOISY_EVALUATIONS,
        ).root(lambda x: self._value(goal, x))

    def settle(self, goal: Goal, root: Root) -> Settled:
        """The answer; where thresholds at it are in doubt, found once more with thresholds resolved at every step."""
        settled = self._at_crossing(goal, root)
        if not self.bound.doubtful(settled.chosen.knob):
            return settled
        self.resolving = True
        # What the evaluations before say of distances stays of use, where the target lies they do not say.
        self.rough, self.full = [*self.rough, *self.full], []
        root = self.search(goal, start=settled.crossing.x, slope=settled.crossing.slope)
        return self._at_crossing(goal, root, slope=settled.crossing.slope)

    def _at_crossing(self, goal: Goal, root: Root, *, slope: float | None = None) -> Settled:
        """The answer at the crossing of a local fit, by one more sparse run where the best one is not there."""
        best = self.evaluate(self.knob.from_x(root.best.x))
        prior = goal.slope(self.knob.slope)
        if not root.reached:
            return Settled(best, Crossing(best.x, prior.guess, 0.0), reached=False)
        if prior.exact:  # nothing to gain by a fit
            return Settled(best, Crossing(best.x, root.slope, 0.0))
        near = self._near(best.x)
        xs, values = xs_of(near), np.array([goal.value(e.rise_nats, e.activation_ratio) for e in near])
        crossing = fit(
            xs, values, target=goal.target, slope=prior if slope is None else replace(prior, guess=slope)
        )
        missed = abs(crossing.x - best.x) * crossing.slope * goal.target
        low, high = self.knob.ends()
        if missed <= goal.tolerance(self._rise_error_nats(best)) or not low < crossing.x < high:
            return Settled(best, crossing)
        settled = self.evaluate(self.knob.from_x(crossing.x))
        # Where the value jumps across the target, or has less noise than the curve is off, no fit is the better answer.
        misses = [abs(goal.value(e.rise_nats, e.activation_ratio) - goal.target) for e in (best, settled)]
        missed_it = misses[1] > max(self._rise_error_nats(settled) / 2, misses[0])
        return Settled(best if missed_it else settled, crossing)

    def evaluate(self, knob: float) -> Evaluation:
        """One sparse run over the whole text; the calibration is moved there first where it does not reach."""
        for done in self.full:
            if done.knob == knob:
                return done
        if not self.bound.covers(knob):
            self.calibrate_around(knob, span=SEARCH_SPAN)
        if self.resolving:
            self.bound.refine(knob)
        self.full.append(self._run(self.subject.all_rows, knob, dense=self._dense()))
        return self.full[-1]

    def noisy(self, evaluation: Evaluation, ppl_increase: float | None) -> tuple[str, ...]:
        """The flag of a loss rise with too large an error for the rise that its knob was set at, if any."""
        error = noise.rise_error_nats(self.draws, self._dense(), evaluation.counts)
        is_raised = ppl_increase is not None and PplIncrease(ppl_increase).is_noisy(error, self.draws)
        return ("noisy",) if is_raised else ()

    def take(self, knob: float, sparse: Counts, *, dense: Counts, forward_tokens: int) -> None:
        """Take in a sparse run over the whole text that was made before, at the cost of `forward_tokens`."""
        self.begun_tokens -= forward_tokens
        self.full.append(self._evaluation(knob, sparse, dense=dense))

    def flags(self, settled: Settled, goal: Goal) -> tuple[str, ...]:
        """Findings about a number found by a search."""
        chosen = settled.chosen
        error = noise.rise_error_nats(self.draws, self._dense(), chosen.counts)
        value = goal.value(chosen.rise_nats, chosen.activation_ratio)
        raised = {
            "not_reached": not settled.reached,
            "noisy": goal.is_noisy(error, self.draws),
            "not_monotone": self._falls(),
            "off_target": goal.off_target(value, rise_error_nats=error),
        }
        return tuple(word for word, is_raised in raised.items() if is_raised)

    def result(
        self,
        chosen: Evaluation,
        *,
        goal: Goal | None = None,
        crossing: Crossing | None = None,
        flags: tuple[str, ...] = (),
    ) -> Measurement:
        """The measurement at one evaluation, found by a search for `goal` or at a knob given."""
        weights = self.bound.score_weights()
        errors = self._errors(chosen, goal, crossing)
        return Measurement(
            criterion=self.criterion,
            knob=chosen.knob,
            ppl_increase_target=goal.ppl_increase if isinstance(goal, PplIncrease) else None,
            thresholds=chosen.thresholds,
            dense=self._dense(),
            sparse=chosen.counts,
            sums=self.bound.sums(),
            sizes=self.subject.sizes,
            errors=errors,
            flags=(
                *flags,
                *self._few_units(),
                *untrained(self._dense().mean_loss_nats(), subject=self.subject),
            ),
            searched=(*self.rough, *(aside[0] for aside in self.aside), *self.full),
            forward_passes=(self.subject.forward_tokens - self.begun_tokens) / self.subject.tokens_per_pass,
            score_weights=None if weights is None else tuple(weights),
        )

    def _value(self, goal: Goal, x: float) -> float:
        done = self.evaluate(self.knob.from_x(x))
        if len(self.full) == 1:
            goal.check_reach(
                self.bound.sums().nonzero.sum() / (self._dense().reached.sum(axis=0) @ self.subject.sizes)
            )
        return goal.value(done.rise_nats, done.activation_ratio)

    def _dense(self) -> Counts:
        assert self.dense is not None, "calibrate first"
        return self.dense

    def _rise_error_nats(self, evaluation: Evaluation) -> float:
        """The error that decides where a search stops."""
        return noise.rise_error_nats(self.stop_draws, self._dense(), evaluation.counts)

    def _few_units(self) -> tuple[str, ...]:
        is_few = self.subject.windows.sample == SPREAD and self.draws.units < noise.FEW_UNITS
        return ("few_units",) if is_few else ()

    def _run(self, rows: Ints, knob: float, *, dense: Counts) -> Evaluation:
        part = "pilot" if len(rows) < self.subject.windows.count else "sparse run"
        label = f"{part} at {self.knob.symbol} = {knob:.4g}"
        counts = sparse_pass(self.subject, rows, visitor=self.bound.visitor(knob), label=label)
        if not counts.mean_loss_nats() < LARGEST_LOSS_NATS:
            raise SparsityLabError(
                f"The loss of the sparse run at {self.knob.symbol} = {knob:.4g} is {counts.mean_loss_nats():.4g} nats",
                why="The model overflows in this dtype once neurons are dropped",
                fix="Use --dtype float32, or a smaller --knob or --ppl-increase",
            )
        return self._evaluation(knob, counts, dense=dense)

    def _evaluation(self, knob: float, counts: Counts, *, dense: Counts) -> Evaluation:
        rise_nats = counts.mean_loss_nats() - dense.mean_loss_nats()
        ratio = counts.activation_ratio(self.subject.sizes)
        inside = self.knob.low < knob < self.knob.high
        x = self.knob.to_x(knob) if inside else 0.0
        return Evaluation(x, knob, rise_nats, ratio, counts, self.bound.thresholds(knob))

    def _near(self, x: float) -> list[Evaluation]:
        return [e for e in self.full if abs(e.x - x) < NEARBY]

    def _see_slope(self, chosen: Evaluation) -> None:
        """See to it that evaluations on both sides of the answer tell how ratio and rise move with the knob.

        Where the whole text was not evaluated far enough from it, a part is run aside; how the answer itself does on
        that part is known.
        """
        every = int(np.clip(self.subject.windows.count // ASIDE_LEAST, 1, ASIDE_EVERY))
        for side in (-1, 1):
            if any(side * (e.x - chosen.x) > APART for e in self._near(chosen.x)):
                continue
            x = float(np.clip(chosen.x + side * ASIDE, *self.knob.ends()))
            rows = self.subject.all_rows[(side > 0) * every // 2 :: every]
            if abs(x - chosen.x) > AT_ANSWER:
                dense = self._dense().losses_of(rows)
                aside = self._run(rows, self.knob.from_x(x), dense=dense)
                self.aside.append([aside, self._evaluation(chosen.knob, chosen.counts.of(rows), dense=dense)])

    def _errors(self, chosen: Evaluation, goal: Goal | None, crossing: Crossing | None) -> Errors:
        if goal is not None:
            self._see_slope(chosen)
        found = Noise(
            Around(chosen, (self.rough, *self.aside), self.full, self.subject.windows.count),
            self.draws, self._dense(), self.subject.sizes, self.knob, self.bound, self._rise_error_nats(chosen),
        )  # fmt: skip
        if goal is None or crossing is None:
            return found.at_knob_given(is_given=self.is_given)
        return found.at_knob_found(goal, crossing)

    def _falls(self) -> bool:
        """Whether the rise falls where more is dropped, by more than chance gives between any two knobs tried."""
        pairs = list(itertools.pairwise(sorted(self.full, key=lambda e: e.x)))
        most = self.draws.t_of_largest(max(len(pairs), 1))
        return any(
            fewer.rise_nats - more.rise_nats
            > most * noise.rise_error_nats(self.draws, fewer.counts, more.counts)
            for fewer, more in pairs
        )
