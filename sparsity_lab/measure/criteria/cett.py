"""CETT: a neuron is dropped when |a_i| w_i <= eps_l, eps_l the threshold of equal tail truncation error.

Score |a_i| w_i, w_i = ||W_d[:, i]||; one threshold a layer, the largest at which the mean over tokens of
||sum over dropped of a_i W_d[:, i]|| / ||y|| stays <= c in the dense run (ReLU^2 Wins, arXiv 2402.03804;
Sparsing Law, arXiv 2411.02335, section 3). At the c where perplexity has risen by p % this is the
Sparsing Law's PPL-p% sparsity (CETT-PPL-p% in its later version).
"""

from __future__ import annotations

import numpy as np

from sparsity_lab.measure.criteria import Knob, ThresholdDrift
from sparsity_lab.measure.criteria._scores import Score
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.search.counts import Counts, DenseSums, Ints
from sparsity_lab.measure.search.noise import Replicates
from sparsity_lab.measure.thresholds.cett_curves import CettCurves
from sparsity_lab.measure.thresholds.cett_fine import resolve
from sparsity_lab.measure.thresholds.cett_passes import exact_curves, pilot_curves
from sparsity_lab.measure.thresholds.masks import ThresholdVisitor

KNOB = Knob(symbol="c", low=0.0, high=1.0, start=0.1, scale="log", rising=True, slope=2.3, calibrates="cett")


# Edges a few percent apart give a threshold to about 0.2 %, so this much on either side holds the answer.
FINE_SPAN = 1.01
# Leaving edges out moves an interpolated threshold by more than it is wrong by.
DOUBT = 0.01


class Cett:
    """CETT on one model and text."""

    def __init__(self, subject: Subject, *, seed: int) -> None:
        self.subject, self.seed = subject, seed
        self.rough: CettCurves | None = None
        self.exact: CettCurves | None = None
        self.fine: CettCurves | None = None
        self._sums: DenseSums | None = None

    def pilot(self, rows: Ints) -> Counts:
        """Curves over all scores, tails seen through a random projection."""
        self.rough, dense = pilot_curves(self.subject, rows, seed=self.seed)
        return dense

    def calibrate(self, knobs: tuple[float, float]) -> Counts:
        """Exact curves between two knobs, their edges placed by the pilot's."""
        low, high = knobs
        self.exact, dense, self._sums = exact_curves(
            self.subject, self.subject.all_rows, known=self._coarse(), low=low, high=high
        )
        self.fine = None
        return dense

    def _coarse(self) -> CettCurves:
        """The exact curves, good to be carried on a little beyond their ends; before there are such, the pilot's."""
        curves = self.exact or self.rough
        assert curves is not None, "pilot comes first"
        return curves

    def covers(self, knob: float) -> bool:
        """Whether every layer's exact curve holds this CETT."""
        return self.exact is not None and self.exact.cover(knob)

    def doubtful(self, knob: float) -> bool:
        """Whether interpolated thresholds hang on which edges there are."""
        return not self._resolved(knob) and self._coarse().doubt(knob) > DOUBT

    def _resolved(self, knob: float) -> bool:
        return self.fine is not None and self.fine.cover(knob)

    def refine(self, knob: float) -> None:
        """Resolve the curves around one knob activation by activation, where they are exact already.

        Where the mean of few tokens falls back below c after it was a percent above, the first crossing is taken.
        """
        if not 0.0 < knob < 1.0 or self.exact is None or not self.covers(knob):
            return
        near = self.exact.within(*KNOB.around(knob, span=FINE_SPAN))
        self.fine = resolve(self.subject, self.subject.all_rows, known=self.exact, c=knob, near=near)

    def sums(self) -> DenseSums:
        """Per-token CETT at the edges, and the zeros."""
        assert self._sums is not None, "calibrate comes first"
        return self._sums

    def thresholds(self, knob: float) -> list[float]:
        """eps_l(c), float32 values."""
        curves = self.fine if self._resolved(knob) else self._coarse()
        assert curves is not None
        return curves.thresholds(knob)

    def drift(self, knob: float, draws: Replicates, dense: Counts) -> ThresholdDrift | None:
        """ln c of each layer in every replicate, at the thresholds of a knob."""
        if self.exact is None or not 0.0 < knob < 1.0:
            return None
        tokens = draws.sums(dense.reached)
        cett = draws.sums(self.sums().ratio) / np.maximum(tokens, 1e-9)[..., None]
        at_edges = draws.deviations(cett) / np.maximum(cett.mean(axis=0), 1e-30)
        shares = self.exact.between_edges(self.thresholds(knob))
        layers = np.einsum("rle,le->rl", at_edges, shares)
        kept = self.fine.events if self.fine is not None and self._resolved(knob) else None
        if kept is None:
            return ThresholdDrift(layers, None)
        assert self.fine is not None
        of_all = float(dense.reached.sum(axis=0) @ self.subject.sizes)
        return ThresholdDrift(layers, -self.fine.per_log_cett(kept) / of_all)

    def score_weights(self) -> None:
        """W_d alone gives the score's weights."""

    def visitor(self, knob: float) -> ThresholdVisitor:
        """Masks at eps_l(c)."""
        return ThresholdVisitor(self.subject, self.thresholds(knob))


def threshold_score() -> Score:
    """|a_i| ||W_d[:, i]||."""
    return Score(of="a", weight="column-norm")


def bind(subject: Subject, *, seed: int) -> Cett:
    """Tie the criterion to one model and text; the seed draws the pilot's random projection."""
    return Cett(subject, seed=seed)
