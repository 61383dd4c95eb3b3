"""Measures one model on one text: dense run, calibration, root finding, sparse run, noise.

At a fixed knob three passes over the whole text suffice: a dense one that calibrates, one that resolves
what the first found, and a sparse one that counts. At PPL-p% a pilot on an eighth of the text finds the
knob roughly; the whole text then takes the calibrating dense pass around it and two or three sparse passes.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Sequence

import numpy as np

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure import noise
from sparsity_lab.measure.counts import Counts, Ints
from sparsity_lab.measure.criteria import Bound, Knob
from sparsity_lab.measure.measurement import Evaluation, Measurement, Spread
from sparsity_lab.measure.search import Root, find
from sparsity_lab.measure.sparse import sparse_pass
from sparsity_lab.measure.subject import Subject

logger = logging.getLogger(__name__)

ALGORITHM = 3  # raised when a change to this room changes numbers; part of every content key
PILOT_SHARE, PILOT_TOKENS, PILOT_WINDOWS = 8, 512, 2
FIXED_SPAN, SEARCH_SPAN = 1.25, 1.7
PILOT_TOLERANCE, PILOT_EVALUATIONS = 0.12, 4  # the pilot's own sampling error is larger
# A search stops at a quarter of the rise's standard error: more digits would describe this text only.
ERROR_SHARE, LEAST_TOLERANCE, MOST_TOLERANCE = 0.25, 0.002, 0.05
NOISY_SHARE = 0.25
OFF_TARGET = 0.1
NEARBY = 0.7  # evaluations this near in x take part in local fits


def at_knob(subject: Subject, *, criterion: str, knob: float, seed: int = 0) -> Measurement:
    """Measure at a fixed knob.

    Raises:
        SparsityLabError: a knob outside the criterion's range, or an implausible dense loss.
    """
    runner = _Runner(subject, criterion, seed)
    runner.knob.check(knob, criterion=criterion)
    runner.pilot()
    runner.calibrate_around(knob, span=FIXED_SPAN)
    runner.bound.refine(knob)
    return runner.result(runner.evaluate(knob), target_nats=None, flags=())


def at_ppl_increase(subject: Subject, *, criterion: str, ppl_increase: float, seed: int = 0) -> Measurement:
    """Measure at the knob where perplexity has risen by `ppl_increase` (a fraction: 0.01 for 1 %).

    Raises:
        SparsityLabError: an increase that is not positive, or an implausible dense loss.
    """
    check_increase(ppl_increase)
    runner = _Runner(subject, criterion, seed)
    if runner.knob.scale == "none":
        raise SparsityLabError(
            f"{criterion} has no knob to search: it drops exact zeros, at no rise of the loss",
            fix="Measure it at --knob 0",
        )
    target_nats = math.log1p(ppl_increase)
    root = runner.search(target_nats, rough=runner.pilot_search(target_nats))
    chosen = runner.evaluate(runner.knob.from_x(root.best.x))
    return runner.result(chosen, target_nats=target_nats, flags=runner.flags(root, chosen, target_nats))


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


def check_plausible(loss_nats: float, *, subject: Subject) -> None:
    """Refuse a dense loss that no trained model has on text it can read.

    Raises:
        SparsityLabError: NaN, or a perplexity above half the vocabulary.
    """
    vocabulary = int(subject.model.get_input_embeddings().weight.shape[0])
    if not math.isfinite(loss_nats):
        raise SparsityLabError(
            "The dense loss is not a number",
            why="The model overflows in this dtype, or its weights are broken",
            fix="Try --dtype float32",
        )
    if loss_nats > math.log(vocabulary / 2):
        raise SparsityLabError(
            f"The dense perplexity is {math.exp(min(loss_nats, 700)):.4g}, above half the vocabulary "
            f"of {vocabulary}: implausible",
            why="The model is untrained, or the text or the tokenizer is not its own",
            fix="Check the text, the tokenizer and the revision",
        )


def pilot_rows(subject: Subject) -> Ints:
    """Evenly spaced windows of the pilot: an eighth of the text, at least 512 tokens and two windows.

    All of the text for a mixture of experts: an expert that no token of the pilot reached would have no curve.
    """
    if any(site.routed for site in subject.sites):
        return subject.all_rows
    windows = subject.windows
    wanted = max(windows.count // PILOT_SHARE, -(-PILOT_TOKENS // windows.window), PILOT_WINDOWS)
    return np.unique(np.linspace(0, windows.count - 1, min(wanted, windows.count)).round().astype(np.int64))


class _Runner:
    """The steps of one measurement, sharing one calibration and one account of evaluations."""

    def __init__(self, subject: Subject, criterion: str, seed: int) -> None:
        module = registry.load("criteria", criterion)
        self.subject, self.criterion = subject, criterion
        self.knob: Knob = module.KNOB
        self.bound: Bound = module.bind(subject, seed=seed)
        self.rows = pilot_rows(subject)
        self.draws = noise.resamples(subject.all_rows, seed=seed)
        self.dense: Counts | None = None
        self.rough: list[Evaluation] = []
        self.full: list[Evaluation] = []
        self.begun_tokens = subject.forward_tokens

    def pilot(self) -> Counts:
        dense = self.bound.pilot(self.rows)
        check_plausible(dense.mean_loss_nats(), subject=self.subject)
        return dense

    def calibrate_around(self, knob: float, *, span: float) -> Counts:
        """Calibrate exactly on the whole text, wider again where the pilot misjudged a layer."""
        for widened in (span, span**2, span**4):
            self.dense = self.bound.calibrate(self.knob.around(knob, span=widened))
            check_plausible(self.dense.mean_loss_nats(), subject=self.subject)
            if self.bound.covers(knob):
                return self.dense
        raise SparsityLabError(
            f"No threshold gives {self.knob.symbol} = {knob:g} in every layer of this model on this text"
        )

    def pilot_search(self, target_nats: float) -> Root:
        dense = self.pilot()

        def rise(x: float) -> float:
            self.rough.append(self._run(self.rows, self.knob.from_x(x), dense=dense))
            return self.rough[-1].rise_nats

        return find(
            rise,
            target_nats=target_nats,
            start=self.knob.to_x(self.knob.start),
            ends=self.knob.ends(),
            tolerance_nats=lambda: PILOT_TOLERANCE * target_nats,
            slope=self.knob.slope,
            most=PILOT_EVALUATIONS,
        )

    def search(self, target_nats: float, *, rough: Root) -> Root:
        def tolerance() -> float:
            error = noise.rise_error_nats(self.draws, self._dense(), self.full[-1].counts)
            share = min(ERROR_SHARE * error / target_nats, MOST_TOLERANCE)
            return max(share, LEAST_TOLERANCE) * target_nats

        return find(
            lambda x: self.evaluate(self.knob.from_x(x)).rise_nats,
            target_nats=target_nats,
            start=rough.best.x,
            ends=self.knob.ends(),
            tolerance_nats=tolerance,
            slope=rough.slope,
        )

    def evaluate(self, knob: float) -> Evaluation:
        """One sparse run over the whole text; the calibration is moved there first where it does not reach."""
        for done in self.full:
            if done.knob == knob:
                return done
        if not self.bound.covers(knob):
            self.calibrate_around(knob, span=SEARCH_SPAN)
        self.full.append(self._run(self.subject.all_rows, knob, dense=self._dense()))
        return self.full[-1]

    def flags(self, root: Root, chosen: Evaluation, target_nats: float) -> tuple[str, ...]:
        error = noise.rise_error_nats(self.draws, self._dense(), chosen.counts)
        raised = {
            "not_reached": not root.reached,
            "noisy": error > NOISY_SHARE * target_nats,
            "not_monotone": self._falls(),
            # The rise can jump across the target, as where a threshold meets SiLU's minimum.
            "off_target": abs(chosen.rise_nats - target_nats) > max(error / 2, OFF_TARGET * target_nats),
        }
        return tuple(word for word, is_raised in raised.items() if is_raised)

    def result(self, chosen: Evaluation, *, target_nats: float | None, flags: tuple[str, ...]) -> Measurement:
        return Measurement(
            criterion=self.criterion,
            knob=chosen.knob,
            ppl_increase_target=None if target_nats is None else math.expm1(target_nats),
            thresholds=self.bound.thresholds(chosen.knob),
            dense=self._dense(),
            sparse=chosen.counts,
            sums=self.bound.sums(),
            sizes=self.subject.sizes,
            spread=self._spread(chosen, target_nats),
            flags=flags,
            searched=(*self.rough, *self.full),
            forward_passes=(self.subject.forward_tokens - self.begun_tokens) / self.subject.tokens_per_pass,
        )

    def _dense(self) -> Counts:
        assert self.dense is not None, "calibrate first"
        return self.dense

    def _run(self, rows: Ints, knob: float, *, dense: Counts) -> Evaluation:
        part = "pilot" if len(rows) < self.subject.windows.count else "sparse run"
        label = f"{part} at {self.knob.symbol} = {knob:.4g}"
        counts = sparse_pass(self.subject, rows, visitor=self.bound.visitor(knob), label=label)
        rise_nats = counts.mean_loss_nats() - dense.mean_loss_nats()
        ratio = counts.activation_ratio(self.subject.sizes)
        inside = self.knob.low < knob < self.knob.high
        x = self.knob.to_x(knob) if inside else 0.0
        return Evaluation(x, knob, rise_nats, ratio, counts)

    def _falls(self) -> bool:
        """Whether the rise falls by more than two of its own paired errors where more is dropped."""
        ordered = sorted(self.full, key=lambda e: e.x)
        for fewer, more in itertools.pairwise(ordered):
            error = noise.rise_error_nats(self.draws, fewer.counts, more.counts)
            if fewer.rise_nats - more.rise_nats > 2 * error:
                return True
        return False

    def _spread(self, chosen: Evaluation, target_nats: float | None) -> Spread:
        """Bootstrap over windows; at PPL-p% each resample moves the knob to where its own rise meets the target."""
        ratios = noise.activation_ratios(self.draws, chosen.counts, sizes=self.subject.sizes)
        rises = noise.loss_deltas_nats(self.draws, self._dense(), chosen.counts)
        knob_interval = None
        if target_nats is not None:
            near = [e for e in (*self.rough, *self.full) if abs(e.x - chosen.x) < NEARBY]
            shifts = self._shifts(near, rises, target_nats)
            ratios = (
                ratios + noise.line_slope(_xs(near), np.array([e.activation_ratio for e in near])) * shifts
            )
            low, high = np.quantile(shifts, (0.025, 0.975))
            ends = sorted((self.knob.from_x(chosen.x + low), self.knob.from_x(chosen.x + high)))
            knob_interval = (ends[0], ends[1])
        low, high = (float(q) for q in np.quantile(ratios, (0.025, 0.975)))
        return Spread(float(ratios.std(ddof=1)), float(rises.std(ddof=1)), knob_interval, (low, high))

    def _shifts(self, near: Sequence[Evaluation], rises: noise.Floats, target_nats: float) -> noise.Floats:
        """How far, in x, each resample's rise moves the crossing: -d(rise) over the local d(rise)/dx."""
        slope = noise.line_slope(_xs(near), np.array([e.rise_nats for e in near]))
        least = 0.3 * target_nats  # a flatter line is noise; ln(rise) grows by at least 0.3 a unit of x
        return (rises.mean() - rises) / max(slope, least)


def _xs(evaluations: Sequence[Evaluation]) -> noise.Floats:
    return np.array([e.x for e in evaluations])
