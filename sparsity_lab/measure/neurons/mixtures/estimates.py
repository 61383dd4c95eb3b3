"""Numbers of a mixture's experts with errors, and which experts stand out.

    load                 tokens routed to an expert over all that its router sent anywhere
    reuse, CLS_L         as of a layer, over consecutive tokens of the expert: those of a window that came to it
    largest score        the largest |a_i| w_i, in the sparse run before its mask, router weight in it
    largest output       the largest |y_j| of the down projection, in the sparse run, the router weight taken out

Super experts, Su et al. (arXiv 2507.23279), section 3.2.1, equation 6: with a_le the maximum output magnitude of the
down projection of expert e in layer l and A all of them, e is one where a_le > P99.5(A), a_le > max A / 10, and l is a
layer in which massive activations form. The first two conditions make a candidate here; the third is not examined, so
that every model has a candidate (an isolated maximum is beyond the percentile). The authors run the dense
model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsity_lab.measure.neurons.estimates import Estimate, Estimator
from sparsity_lab.measure.neurons.mixtures.counts import ExpertCounts
from sparsity_lab.measure.neurons.mixtures.layers import ModelLayers, Router
from sparsity_lab.measure.neurons.mixtures.segments import SEGMENTS, Performance, best_performance
from sparsity_lab.measure.search.counts import Floats, Ints

PERCENTILE, SHARE_OF_LARGEST = 99.5, 0.1


@dataclass(frozen=True)
class ExpertEstimator:
    """Estimates by expert and by router.

    Attributes:
        whole: estimates of the layers, from the same counts.
        counts: by expert.
        layers: of the model.
    """

    whole: Estimator
    counts: ExpertCounts
    layers: ModelLayers

    def tokens(self, site: int) -> int:
        """Tokens that came to a site."""
        return int(self.counts.reached[:, site].sum())

    def chosen(self, router: int) -> int:
        """k: experts that a router chooses for a token."""
        return int(self.counts.chosen.values[router])

    def load(self, router: Router, site: int) -> Estimate:
        """Share of what a router sent that came to one of its experts."""
        sent = self.counts.reached[:, [one.layer for one in router.sites]].sum(axis=1)
        return self.whole.ratio(self.counts.reached[:, site], sent)

    def activation_ratio(self, site: int) -> Estimate:
        """Active neurons over all of a site, over the tokens that came."""
        active = self.whole.counts.active(self.whole.site_sizes)[:, site]
        return self.whole.ratio(active, self.counts.reached[:, site] * int(self.whole.site_sizes[site]))

    def frequencies(self, site: int) -> Floats:
        """Share of the tokens that came on which each neuron fires, float64 [F]."""
        end = int(self.whole.site_sizes[: site + 1].sum())
        fired = self.whole.counts.fired[:, end - int(self.whole.site_sizes[site]) : end].sum(axis=0)
        return fired / max(self.tokens(site), 1)

    def reuse(self, site: int) -> Estimate:
        """Share of the neurons active on a token that are on the expert's next token too."""
        return self.whole.ratio(self.counts.shared[:, site], self.counts.followed[:, site])

    def reuse_by_chance(self, site: int) -> float:
        """Sum f^2 / sum f over the neurons' frequencies."""
        f = self.frequencies(site)
        return float(f @ f / f.sum()) if f.any() else 0.0

    def union(self, level: int, site: int) -> Estimate:
        """|union| / F of disjoint chunks of 2^level consecutive tokens of the expert."""
        counts, size = self.counts, int(self.whole.site_sizes[site])
        return self.whole.ratio(counts.chunk_active[level, :, site], counts.chunks[level, :, site] * size)

    def union_by_chance(self, level: int, site: int) -> float:
        """Mean over neurons of 1 - (1 - f)^L."""
        return float((1 - (1 - self.frequencies(site)) ** (1 << level)).mean())

    def performance(self, segment: int, routers: slice) -> tuple[Estimate, float]:
        """SRP of some routers' experts together, and its size ratio; NaN where no segment fits into a window."""
        counts = self.counts.segment_counts[SEGMENTS.index(segment)][:, routers].sum(axis=1)
        best = best_performance(counts.sum(axis=0))
        drawn = best_performance(self.whole.draws.sums(counts)).srp
        return Estimate(float(best.srp), self.whole.draws.error(drawn)), float(best.size_ratio)

    def performances(self, segment: int) -> Performance:
        """SRP of each routed expert alone, in the order of routers."""
        return best_performance(self.counts.segment_counts_of_experts[SEGMENTS.index(segment)])

    def cache_hits(self, segment: int, routers: slice) -> Estimate:
        """SCH: needed experts found in the cache of their layer over all needed."""
        hits = self.counts.hits[SEGMENTS.index(segment)][:, routers].sum(axis=1)
        return self.whole.ratio(hits, self.counts.needs[:, routers].sum(axis=1))


def over_median(largest: Floats) -> Floats:
    """Each value over the median of those above 0, float64 as these; NaN where there is none."""
    above = largest[largest > 0]
    return largest / np.median(above) if len(above) else np.full(len(largest), np.nan)


def candidates(largest: Floats) -> Ints:
    """1 where a largest output meets the first two conditions of equation 6, else 0, int64 as these."""
    if not len(largest):
        return np.zeros(0, np.int64)
    beyond = (largest > np.percentile(largest, PERCENTILE)) & (largest > SHARE_OF_LARGEST * largest.max())
    return beyond.astype(np.int64)
