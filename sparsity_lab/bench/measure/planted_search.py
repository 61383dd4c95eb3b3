"""A search without a model: the loss rises along a planted curve, and every window has noise of its own.

A curve gives the loss rise at each coordinate x = ln c of CETT's knob, in units of the rise that is searched for. The
rise of a window departs from it by Gaussian noise with a standard deviation that grows with the square root of the
curve, as it does on trained models, whose windows gain and lose by single neurons. The noise of a window is nearly the
same at knobs that are near: its correlation is exp(-|x - x'| / `LENGTH`), but for a share `JITTER` that each knob has
for itself, as neurons flip at their thresholds. The search itself is the one that measures: only the passes through
a model and the calibration are replaced.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

import numpy as np
import torch
from torch import Tensor

from sparsity_lab.bench.measure.planted_curves import PlantedCurve
from sparsity_lab.measure.criteria.cett import KNOB
from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.model.passes import BatchVisitor, Subject
from sparsity_lab.measure.model.windows import Windows
from sparsity_lab.measure.search import engine
from sparsity_lab.measure.search.counts import Counts, DenseSums, Floats, Ints
from sparsity_lab.measure.search.measurement import Measurement
from sparsity_lab.measure.search.noise import Replicates
from sparsity_lab.measure.search.steps import Runner
from sparsity_lab.measure.search.targets import OFF_TARGET, PplIncrease
from sparsity_lab.measure.thresholds.masks import CountingVisitor

WINDOW, NEURONS, VOCABULARY, DENSE_NATS = 512, 4096, 1000, 3.0
LENGTH, JITTER = 5.0, 0.02  # as between knobs of relu-2m and silu-2m on WikiText-2
SMOOTH_WAVES, FAST_WAVES, FAST = (
    160,
    40,
    1e5,
)  # of the noise; FAST, in radians per x, leaves no two knobs alike
CROSSINGS, SLOPES = (-3.3, -1.6), (1.7, 2.9)  # of curves: x where they meet the target, d ln(rise) / dx
HALF_ACTIVE = -4.3  # x at which half of the neurons are active
GRID = 20_001
LEAST_FALL = 1e-9  # of the target: less is rounding


@dataclass(frozen=True)
class CurveFacts:
    """What a curve says of a search, free of noise.

    Attributes:
        not_reached: no knob has the rise that is searched for.
        off_target: no knob has a rise that the flag of that name would let pass.
        fall: by how much the rise falls at most where more is dropped, over the target.
        ratio: activation ratio where the target is first met; NaN where it is not.
    """

    not_reached: bool
    off_target: bool
    fall: float
    ratio: float


@dataclass(frozen=True)
class PlantedData:
    """One data set: a curve, and the noise of each window.

    Attributes:
        curve: of the loss rise.
        crossing, slope: of it.
        target_nats: the rise that is searched for.
        noise: standard error of the rise where the curve meets the target, over the target.
        waves: radians per x of the waves that the noise is made of, float64 [waves].
        heights: of each, float64 [waves].
        phases: float64 [windows, waves].
    """

    curve: PlantedCurve
    crossing: float
    slope: float
    target_nats: float
    noise: float
    waves: Floats
    heights: Floats
    phases: Floats

    @classmethod
    def drawn(
        cls, curve: PlantedCurve, *, target_nats: float, noise: float, windows: int, seed: int
    ) -> PlantedData:
        """Draw crossing, slope and noise.

        Args:
            curve: of the loss rise.
            target_nats: the rise that is searched for.
            noise: standard error of the rise at the target, over the target.
            windows: how many.
            seed: of what is drawn.
        """
        random = np.random.default_rng(seed)
        crossing, slope = random.uniform(*CROSSINGS), random.uniform(*SLOPES)
        smooth = (
            random.standard_cauchy(SMOOTH_WAVES) / LENGTH
        )  # exp(-|x|) is the transform of a Cauchy density
        waves = np.concatenate([smooth, random.normal(scale=FAST, size=FAST_WAVES)])
        shares = np.repeat([(1 - JITTER) / SMOOTH_WAVES, JITTER / FAST_WAVES], [SMOOTH_WAVES, FAST_WAVES])
        phases = random.uniform(0, 2 * math.pi, (windows, len(waves)))
        crossing = crossing if curve.crossing is None else curve.crossing
        return cls(curve, crossing, slope, target_nats, noise, waves, np.sqrt(2 * shares), phases)

    @property
    def windows(self) -> int:
        """Number of windows."""
        return len(self.phases)

    def shares(self, x: Floats) -> Floats:
        """The rise of the curve over the target, float64 [n]."""
        return self.curve.shape(x - self.crossing, self.slope)

    def rises_nats(self, x: float) -> Floats:
        """Loss rise of each window, mean over its predictions, float64 [windows]."""
        share = float(self.shares(np.array([x]))[0])
        departures = np.cos(self.waves * x + self.phases) @ self.heights
        spread = self.noise * math.sqrt(self.windows * share)
        return self.target_nats * (share + spread * departures)

    def falls_between(self, x: Floats) -> bool:
        """Whether the curve falls between two of some knobs."""
        return _fall(self.shares(np.sort(x))) > LEAST_FALL

    def facts(self) -> CurveFacts:
        """What is right, by the curve alone."""
        x = np.linspace(*KNOB.ends(), GRID)
        shares = self.shares(x)
        is_met = bool((shares >= 1).any())
        return CurveFacts(
            not_reached=not is_met,
            off_target=bool((np.abs(shares - 1) > OFF_TARGET).all()),
            fall=_fall(shares),
            ratio=activation_ratio(float(x[np.argmax(shares >= 1)])) if is_met else math.nan,
        )


def _fall(shares: Floats) -> float:
    """By how much a curve falls at most, its x in order."""
    return float((np.maximum.accumulate(shares) - shares).max())


def activation_ratio(x: float) -> float:
    """Of every window alike."""
    return 1 / (1 + math.exp(x - HALF_ACTIVE))


class PlantedVisitor(CountingVisitor):
    """Says at which knob a pass is made, and counts what is active there."""

    def __init__(self, subject: Subject, knob: float) -> None:
        super().__init__(subject)
        self.x = KNOB.to_x(knob)

    def count_rows(self, rows: Ints) -> None:
        """Count the active neurons of some windows."""
        active = round(activation_ratio(self.x) * NEURONS * WINDOW)
        self.batches.append(np.full((len(rows), 1), active, np.int64))


class PlantedSubject(Subject):
    """A text whose losses are planted; there is no model."""

    def __init__(self, data: PlantedData, *, sample: str) -> None:
        embeddings = SimpleNamespace(weight=np.empty((VOCABULARY, 0)))
        site = cast(FfnSite, SimpleNamespace(intermediate_size=NEURONS, layer=0, routed=False))
        windows = Windows(torch.zeros((data.windows, WINDOW), dtype=torch.int64), None, "", sample=sample)
        super().__init__(SimpleNamespace(get_input_embeddings=lambda: embeddings), [site], windows, 1)
        self.data = data

    def losses(self, rows: Ints, *, visitor: BatchVisitor, label: str, outputs: bool = False) -> Floats:
        """Summed loss of each of the windows `rows`, float64 [rows], nats."""
        self.reached = np.zeros((self.windows.count, 1), np.int64)
        self.reached[rows] = WINDOW
        self.forward_tokens += len(rows) * WINDOW
        losses = np.full(self.windows.count, DENSE_NATS)
        if isinstance(visitor, PlantedVisitor):
            visitor.count_rows(rows)
            losses += self.data.rises_nats(visitor.x)
        return np.asarray(losses[rows] * self.windows.predictions_per_window)


class PlantedRule:
    """CETT's place in a search: nothing is calibrated, every knob is covered."""

    def __init__(self, subject: PlantedSubject) -> None:
        self.subject, self.is_calibrated = subject, False

    def pilot(self, rows: Ints) -> Counts:
        """The dense losses of some windows."""
        return self.subject.counts(rows, self.subject.losses(rows, visitor=BatchVisitor(), label=""))

    def calibrate(self, knobs: tuple[float, float]) -> Counts:
        """The dense losses of all windows."""
        self.is_calibrated = True
        return self.pilot(self.subject.all_rows)

    def refine(self, knob: float) -> None:
        """Nothing to refine."""

    def sums(self) -> DenseSums:
        """No activation is zero."""
        sums = DenseSums.empty(self.subject.windows.count, 1, 0)
        sums.nonzero[:] = NEURONS * WINDOW
        return sums

    def covers(self, knob: float) -> bool:
        """Any knob, once there is a dense run."""
        return self.is_calibrated

    def doubtful(self, knob: float) -> bool:
        """Nothing is interpolated."""
        return False

    def drift(self, knob: float, draws: Replicates, dense: Counts) -> None:
        """Nothing is calibrated."""

    def visitor(self, knob: float) -> CountingVisitor:
        """What makes a pass at this knob."""
        return PlantedVisitor(self.subject, knob)

    def thresholds(self, knob: float) -> list[float] | None:
        """None."""
        return None

    def score_weights(self) -> list[Tensor] | None:
        """None."""
        return None


def planted_search(data: PlantedData, *, sample: str) -> Measurement:
    """Search the knob on a planted curve.

    Args:
        data: curve and noise.
        sample: how the windows were taken; errors of a search hang on it.
    """
    subject = PlantedSubject(data, sample=sample)
    runner = Runner(subject, "cett", 0, bound=PlantedRule(subject))
    return engine.searched(runner, PplIncrease(math.expm1(data.target_nats)))
