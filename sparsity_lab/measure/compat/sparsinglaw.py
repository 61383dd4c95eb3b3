"""The released algorithm of Sparsing Law, reproduced in our own words: the slow second path.

What it computes is the paper's (arXiv 2411.02335, section 3 and algorithm 1); how it does so is that of the
code at github.com/thunlp/SparsingLaw (`src/`). For L layers and T tokens:

1. c is bisected on [0, 1] until the bracket is no wider than 1e-6: 20 times. The bracket's lower end moves up
   where exp(L_sparse - L_dense) < 1 + p. The answer is the bracket's middle, evaluated once more: 21 evaluations.
2. Each evaluation is a dense forward pass that keeps every layer's activations, a search for each layer's
   threshold, and a sparse forward pass: 42 forward passes in all.
3. A layer's candidates are 65,536 evenly spaced scores |a_i| w_i from the smallest of all to the 0.99 quantile
   of every n-th one, n = max(TF // 65,536, 1). A neuron above the last candidate can never be dropped, which
   leaves every layer at least about 1 % of its activations.
4. Their index is bisected: 16 times the tail's product W_d (a masked to scores <= t), in float32, whose mean
   ratio to ||W_d a|| is read by the host. With the one whole product that makes 17 L products and 16 L host
   syncs an evaluation: 357 L and 336 L in all.
5. The threshold is the candidate below the one the bisection ends at. So the last candidate is never taken,
   and where the first one is beyond c already (at c = 0, say) the index is -1: the *last* candidate.
6. A token with ||W_d a|| = 0 makes the mean NaN, which is not above c: such a layer drops all its grid allows.
7. Applied is |a_i| < eps / w_i, strict, in the model's dtype, though the search dropped scores <= t. Exact zeros
   count as active where eps = 0.

What differs, on purpose or because the released code says nothing: text, windows, BOS and the loss are this
package's, so that both paths measure the same tokens (the released script takes one sentence, its BOS among
the tokens). Several windows pass one at a time; their activations are all kept, and one threshold a layer is
found over all of them. The masked copy is made in one step rather than by a clone and an assignment, which takes
as long. Standard errors are ours, at the knob found; the released code has none. Its baselines FAT-eps and
Top-k (k of a whole layer's tokens taken together) are not reproduced.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.compat.layer_search import LayerThreshold, layer_threshold
from sparsity_lab.measure.criteria.cett import KNOB
from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.model.passes import BatchVisitor, Subject
from sparsity_lab.measure.model.plausible import check_plausible, untrained
from sparsity_lab.measure.search import noise
from sparsity_lab.measure.search.counts import Counts, DenseSums, Ints
from sparsity_lab.measure.search.measurement import THRESHOLDS, Errors, Evaluation, Measurement
from sparsity_lab.measure.search.targets import PplIncrease, check_increase
from sparsity_lab.measure.thresholds.cett_passes import bias_free_norms
from sparsity_lab.measure.thresholds.masks import CountingVisitor, sparse_pass
from sparsity_lab.progress import SILENT

KNOB_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Reproduced:
    """An answer of the released algorithm, and what it cost.

    Attributes:
        measurement: the numbers, in the form of every measurement.
        layers: the last evaluation's search in each layer.
        products: float32 down projections of one layer over all tokens, in addition to those of the forward passes.
        syncs: times the host waited for a mean ratio.
    """

    measurement: Measurement
    layers: tuple[LayerThreshold, ...]
    products: int
    syncs: int

    @property
    def knob(self) -> float:
        """c."""
        return self.measurement.knob

    @property
    def thresholds(self) -> list[float]:
        """On the score, layer by layer; applied strictly."""
        return [layer.eps for layer in self.layers]

    @property
    def activation_ratio(self) -> float:
        """Counted in the sparse run."""
        return self.measurement.activation_ratio

    @property
    def loss_delta_nats(self) -> float:
        """L_sparse - L_dense."""
        return self.measurement.loss_delta_nats

    @property
    def forward_passes(self) -> float:
        """Over the whole text."""
        return self.measurement.forward_passes


def at_cett(subject: Subject, *, c: float) -> Reproduced:
    """The released algorithm at a fixed CETT.

    Args:
        subject: model and text; its batch size is not used.
        c: the CETT, 0 to 1.

    Raises:
        SparsityLabError: c out of range, a mixture of experts, or an implausible dense loss.
    """
    KNOB.check(c, criterion="cett")
    run = _Run(subject)
    run.evaluate(c)
    return run.answer()


def at_ppl_increase(subject: Subject, *, ppl_increase: float) -> Reproduced:
    """The released algorithm at PPL-p%, run to its own tolerance.

    Args:
        subject: model and text; its batch size is not used.
        ppl_increase: p, a fraction (0.01 for 1 %).

    Raises:
        SparsityLabError: p that is not positive, a mixture of experts, or an implausible dense loss.
    """
    check_increase(ppl_increase)
    run, low, high = _Run(subject), 0.0, 1.0
    with subject.progress.track("sparsinglaw", math.ceil(-math.log2(KNOB_TOLERANCE)) + 1) as advance:
        while high - low > KNOB_TOLERANCE:
            middle = (low + high) / 2
            if math.exp(run.evaluate(middle).rise_nats) < 1.0 + ppl_increase:
                low = middle
            else:
                high = middle
            advance(1)
        run.evaluate((low + high) / 2)
        advance(1)
    return run.answer(ppl_increase=ppl_increase, reached=high < 1.0)


class _Run:
    """Evaluations of one search, with an account of what they cost."""

    def __init__(self, subject: Subject) -> None:
        if any(site.routed for site in subject.sites):
            raise SparsityLabError(
                "The released algorithm of Sparsing Law has no mixtures of experts", fix="Leave --compat out"
            )
        # The search reports its own progress, not that of each pass.
        self.subject = replace(subject, batch_size=1, forward_tokens=0, progress=SILENT)
        self.evaluations: list[Evaluation] = []
        self.layers: tuple[LayerThreshold, ...] = ()
        self.dense: Counts | None = None
        self.sums: DenseSums | None = None
        self.products = self.syncs = 0

    def evaluate(self, c: float) -> Evaluation:
        """One dense run, the thresholds, one sparse run."""
        dense = self._calibrate(c)
        visitor = _StrictVisitor(self.subject, [layer.eps for layer in self.layers])
        counts = sparse_pass(
            self.subject, self.subject.all_rows, visitor=visitor, label=f"sparse, c = {c:.6f}"
        )
        rise_nats = counts.mean_loss_nats() - dense.mean_loss_nats()
        x = KNOB.to_x(c) if KNOB.low < c < KNOB.high else 0.0
        ratio = counts.activation_ratio(self.subject.sizes)
        self.evaluations.append(Evaluation(x, c, rise_nats, ratio, counts, [one.eps for one in self.layers]))
        return self.evaluations[-1]

    def _calibrate(self, c: float) -> Counts:
        subject, kept = self.subject, _Kept(self.subject, tally=self.sums is None)
        losses = subject.losses(subject.all_rows, visitor=kept, label=f"dense, c = {c:.6f}", outputs=True)
        self.dense = subject.counts(subject.all_rows, losses)
        if kept.sums is not None:
            check_plausible(self.dense.mean_loss_nats(), subject=subject)
            self.sums = kept.sums
        self.layers = tuple(
            layer_threshold(torch.cat(kept.activations[site.layer]), site.down_weight(), c=c)
            for site in subject.sites
        )
        self.products += sum(layer.products for layer in self.layers)
        self.syncs += sum(layer.syncs for layer in self.layers)
        return self.dense

    def answer(self, *, ppl_increase: float | None = None, reached: bool = True) -> Reproduced:
        """The last evaluation as a measurement, with errors at its thresholds."""
        assert self.dense is not None, "evaluate first"
        assert self.sums is not None
        chosen, subject = self.evaluations[-1], self.subject
        draws = noise.replicates(subject.all_rows, sample=subject.windows.sample)
        ratios = draws.deviations(noise.activation_ratios(draws, chosen.counts, sizes=subject.sizes))
        rises = draws.deviations(noise.loss_deltas_nats(draws, self.dense, chosen.counts))
        error = noise.rms(rises)
        raised = {"not_reached": not reached, "capped": any(layer.capped for layer in self.layers)}
        if ppl_increase is not None:
            goal = PplIncrease(ppl_increase)
            raised["noisy"] = goal.is_noisy(error, draws)
            raised["off_target"] = goal.off_target(chosen.rise_nats, rise_error_nats=error)
        flags = tuple(word for word, is_raised in raised.items() if is_raised)
        flags += untrained(self.dense.mean_loss_nats(), subject=subject)
        measurement = Measurement(
            criterion="cett",
            knob=chosen.knob,
            ppl_increase_target=ppl_increase,
            thresholds=chosen.thresholds,
            dense=self.dense,
            sparse=chosen.counts,
            sums=self.sums,
            sizes=subject.sizes,
            errors=Errors(
                noise.rms(ratios),
                error,
                None,
                draws.t,
                draws.units,
                THRESHOLDS,
                draws.components(ratios),
                draws.components(rises),
                None,
                error,
            ),
            flags=flags,
            searched=tuple(self.evaluations),
            forward_passes=subject.forward_tokens / subject.tokens_per_pass,
        )
        return Reproduced(measurement, self.layers, self.products, self.syncs)


class _Kept(BatchVisitor):
    """Keeps the activations of every layer and token."""

    def __init__(self, subject: Subject, *, tally: bool) -> None:
        self.subject = subject
        self.activations: list[list[Tensor]] = [[] for _ in subject.sites]
        layers = len(subject.sites)
        self.sums = DenseSums.empty(subject.windows.count, layers, 0) if tally else None
        self.rows: Ints = subject.all_rows[:0]

    def begin(self, rows: Ints) -> None:
        """Note which window comes."""
        self.rows = rows

    def visit_output(self, site: FfnSite, a: Tensor, y: Tensor) -> None:
        """Keep one window's activations [tokens, F]; count zeros where asked, for the record."""
        a = self.subject.valid(a)
        self.activations[site.layer].append(a.flatten(0, 1).clone())
        if self.sums is not None:
            zero = bias_free_norms(site, self.subject.valid(y)) == 0
            self.sums.zero_outputs[self.rows, site.layer] = int(zero.sum())
            self.sums.nonzero[self.rows, site.layer] = int((a != 0).sum())


class _StrictVisitor(CountingVisitor):
    """Zeroes |a_i| < eps / w_i, both in the model's dtype, and counts the rest."""

    def __init__(self, subject: Subject, thresholds: list[float]) -> None:
        super().__init__(subject)
        self.limits = [
            eps / site.down_weight().detach().norm(dim=0)
            for site, eps in zip(subject.sites, thresholds, strict=True)
        ]

    def visit(self, site: FfnSite, a: Tensor, s: Tensor | None) -> Tensor:
        """Mask one site's activations."""
        drop = a.abs() < self.limits[site.layer]
        self.count(site, ~drop)
        return torch.where(drop, 0.0, a)
