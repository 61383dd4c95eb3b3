"""Numbers with errors from neuron counts: ratios of sums, and what replicates of the windows make of them.

    activation ratio    active neurons / (tokens F)
    dead, hot           share of neurons that fire on < 0.1 % of tokens, on > 50 %
    reuse               sum |S_t and S_{t+1}| / sum |S_t|, over tokens with a successor in their window
    CLS_L               1 - |union over L consecutive tokens| / F (BlockFFN, arXiv 2507.08771)
    aggregated          1 - |union over the first t tokens of a window| / F (ReLU Strikes Back, 2310.04564)

Of a mixture of experts a layer has the neurons of all its experts, and those of experts a token does not go to are not
active on it. Ratios and shares of tokens are of the tokens that came: active neurons over those of the experts a token
went to, firings over the tokens that came to a neuron's expert. Reuse, unions and chance are of all tokens and neurons.

Reuse and unions by chance are their expected values if neurons fired at their own frequencies, independently at each
token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sparsity_lab.measure.neurons.counts import NeuronCounts, by_layer
from sparsity_lab.measure.search import noise
from sparsity_lab.measure.search.counts import Floats, Ints

DEAD_FREQUENCY, HOT_FREQUENCY = 1e-3, 0.5
QUANTILES = {"frequency_p10": 0.1, "frequency_median": 0.5, "frequency_p90": 0.9}
FREQUENCY_BLOCK = 4_000_000  # frequencies held at once
CHUNK_TOKENS = (1, 2, 4, 8, 16, 32, 64)


class Estimate(NamedTuple):
    """A number and its standard error."""

    value: float
    se: float


def drawn_ratios(draws: noise.Replicates, above: Ints | Floats, below: Ints | Floats) -> Floats:
    """Sum over sum of per-group values [groups] in each replicate, float64 [replicates]; 0 where the lower sum is."""
    drawn = draws.sums(below)
    return np.divide(draws.sums(above), drawn, out=np.zeros(len(drawn)), where=drawn != 0)


def ratio_of(draws: noise.Replicates, above: Ints | Floats, below: Ints | Floats) -> Estimate:
    """Sum over sum of per-group values [groups], with its standard error; 0 where the lower sum is."""
    total = float(below.sum())
    if total == 0:
        return Estimate(0.0, 0.0)
    return Estimate(float(above.sum() / total), draws.error(drawn_ratios(draws, above, below)))


@dataclass(frozen=True)
class Estimator:
    """Estimates from the counts of one model on one text.

    Attributes:
        counts: of the whole text.
        sizes: neurons of each layer, int64 [layers].
        sample: how the windows were taken from the text.
        draws: replicates of the groups of windows.
        site_sizes: F of each site, int64 [sites]: where there are no experts, of each layer.
    """

    counts: NeuronCounts
    sizes: Ints
    sample: str
    draws: noise.Replicates
    site_sizes: Ints

    @classmethod
    def of(
        cls, counts: NeuronCounts, sizes: Ints, *, sample: str, site_sizes: Ints | None = None
    ) -> Estimator:
        """Of windows that were taken from their text in this way."""
        draws = noise.replicates(np.flatnonzero(counts.windows), sample=sample)
        return cls(counts, sizes, sample, draws, sizes if site_sizes is None else site_sizes)

    @property
    def at_hand(self) -> Ints:
        """Neurons that a token comes to, summed over tokens, int64 [groups, layers]."""
        experts = self.counts.experts
        return self.counts.tokens[:, None] * self.sizes if experts is None else experts.at_hand

    def chunk_at_hand(self, level: int) -> Ints:
        """Neurons that any of 2^level tokens comes to, summed over disjoint chunks, int64 [groups, layers]."""
        if self.counts.experts is None:
            return self.chunks(level)[:, None] * self.sizes
        return self.counts.experts.chunk_at_hand[level]

    def chunks(self, level: int) -> Ints:
        """Disjoint chunks of 2^level tokens, int64 [groups]."""
        return self.counts.windows * (self.counts.window >> level)

    @property
    def sizes_at_hand(self) -> Ints | Floats:
        """Neurons of each layer that one token comes to, [layers]; their mean, where tokens differ."""
        experts = self.counts.experts
        return self.sizes if experts is None else experts.at_hand.sum(axis=0) / self.counts.tokens.sum()

    @property
    def reached(self) -> Ints:
        """Tokens that came to each site, int64 [groups, sites]."""
        experts = self.counts.experts
        sites = len(self.site_sizes)
        return np.repeat(self.counts.tokens[:, None], sites, axis=1) if experts is None else experts.reached

    def ratio(self, above: Ints | Floats, below: Ints | Floats) -> Estimate:
        """Sum over sum of per-group values [groups]; 0 where the lower sum is."""
        return ratio_of(self.draws, above, below)

    def over(self, per_layer: Ints, units: Ints, *, layer: int | None) -> Estimate:
        """Share of F in sums [groups, layers] over so many units [groups]; all layers for None."""
        chosen = slice(None) if layer is None else slice(layer, layer + 1)
        return self.ratio(per_layer[:, chosen].sum(axis=1), units * int(self.sizes[chosen].sum()))

    def activation_ratio(self, *, layer: int | None = None) -> Estimate:
        """Active neurons over those a token comes to."""
        chosen = slice(None) if layer is None else slice(layer, layer + 1)
        active = self.counts.active(self.sizes)
        return self.ratio(active[:, chosen].sum(axis=1), self.at_hand[:, chosen].sum(axis=1))

    def reuse(self, *, layer: int | None = None) -> Estimate:
        """Share of a token's neurons that fire on the next one too."""
        chosen = slice(None) if layer is None else slice(layer, layer + 1)
        counts = self.counts
        return self.ratio(counts.shared[:, chosen].sum(axis=1), counts.followed[:, chosen].sum(axis=1))

    def reuse_by_chance(self, *, layer: int | None = None) -> float:
        """Sum f^2 / sum f over neurons of frequencies f."""
        f = self.frequencies(layer=layer)
        return float(f @ f / f.sum()) if f.any() else 0.0

    def union(self, level: int, *, layer: int | None = None) -> Estimate:
        """|union| / F of disjoint chunks of 2^level tokens."""
        return self.over(self.counts.chunk_active[level], self.chunks(level), layer=layer)

    def prefix(self, level: int, *, layer: int | None = None) -> Estimate:
        """|union| / F of the first 2^level tokens of a window."""
        return self.over(self.counts.prefix_active[level], self.counts.windows, layer=layer)

    def union_by_chance(self, level: int, *, layer: int | None = None) -> float:
        """Mean over neurons of 1 - (1 - f)^L."""
        return float((1 - (1 - self.frequencies(layer=layer)) ** (1 << level)).mean())

    def frequencies(self, *, layer: int | None = None) -> Floats:
        """Share of all tokens each neuron fires on, float64 [F] of one layer or [N] of all."""
        frequency = self.counts.fired.sum(axis=0) / self.counts.tokens.sum()
        if layer is None:
            return frequency
        return by_layer(frequency, self.sizes)[layer]

    def frequency_scalars(self) -> list[dict[str, float]]:
        """Dead and hot share, share that never fires, quantiles of frequency; for all layers, then each layer."""
        return self.summaries(self.sizes)

    def summaries(self, sizes: Ints) -> list[dict[str, float]]:
        """The same for all neurons, then for each of these parts of them, int64 [parts]."""
        values = self._summarised(self.counts.fired.sum(axis=0), self.reached.sum(axis=0)[None], sizes)
        drawn = np.concatenate(list(self._drawn_summaries(sizes)), axis=2)
        errors = np.sqrt((self.draws.deviations(np.moveaxis(drawn, 2, 0)) ** 2).mean(axis=0))
        names = ("dead_share", "hot_share", "never_share", *QUANTILES)
        rows = []
        for part in range(values.shape[1]):
            row: dict[str, float] = {}
            for index, name in enumerate(names):
                row |= {name: float(values[index, part, 0]), f"{name}_se": float(errors[index, part])}
            rows.append(row)
        return rows

    def _drawn_summaries(self, sizes: Ints) -> Iterator[Floats]:
        draws, counts = self.draws, self.counts
        step = max(1, FREQUENCY_BLOCK // counts.fired.shape[1])
        for start in range(0, len(draws.weights), step):
            part = draws._replace(weights=draws.weights[start : start + step])
            experts = counts.experts
            reached = part.sums(counts.tokens)[:, None] if experts is None else part.sums(experts.reached)
            yield self._summarised(part.sums(counts.fired), reached, sizes)

    def _summarised(self, fired: Ints | Floats, reached: Ints | Floats, sizes: Ints) -> Floats:
        """[3 + quantiles, 1 + parts, draws] of firings [draws, N] on tokens that came to the sites [draws, sites]."""
        frequency = shares_of_tokens(fired, reached, self.site_sizes)
        parts = [frequency, *by_layer(frequency, sizes)]
        return np.stack([_summary(part) for part in parts], axis=1)


def shares_of_tokens(fired: Ints | Floats, reached: Ints | Floats, site_sizes: Ints) -> Floats:
    """Share of the tokens that came to it on which each neuron fires, float64 [draws, N]; 0 where none came.

    Args:
        fired: tokens it fires on, [N] or [draws, N], sites side by side.
        reached: tokens that came, [draws, sites], or [draws, 1] where all sites see as many.
        site_sizes: F of each site, int64 [sites].
    """
    came = reached if reached.shape[-1] == 1 else np.repeat(reached, site_sizes, axis=-1)
    return np.atleast_2d(fired).astype(np.float64) / np.where(came > 0, came, 1)


def _summary(frequency: Floats) -> Floats:
    """Dead, hot and never share and the quantiles, [3 + quantiles, draws], of frequencies [draws, F]."""
    shares = [
        (frequency < DEAD_FREQUENCY).mean(axis=1),
        (frequency > HOT_FREQUENCY).mean(axis=1),
        (frequency <= 0).mean(axis=1),
    ]
    return np.stack([*shares, *np.quantile(frequency, list(QUANTILES.values()), axis=1)])


def token_ratios(counts: NeuronCounts, sizes: Ints | Floats, ids: Ints) -> tuple[Floats, Floats]:
    """Activation ratio of token ids and its standard error, windows as clusters; NaN error from one window alone.

    Args:
        counts: of the whole text.
        sizes: F of each layer, or of a mixture the neurons there that one token comes to.
        ids: token ids that occur, int64 [ids].
    """
    n, windows = counts.token_count[ids], counts.token_windows[ids]
    mean = counts.token_active[:, ids].sum(axis=0) / n
    ss, sn, nn = counts.token_squares[:, ids]
    squares = np.maximum(ss - 2 * mean * sn + mean**2 * nn, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(np.where(windows > 1, squares * windows / (windows - 1), np.nan)) / n
    return mean / sizes.sum(), error / sizes.sum()


def position_ratios(counts: NeuronCounts, sizes: Ints | Floats) -> tuple[Floats, Floats]:
    """Activation ratio at each position of the window and its standard error over windows, float64 [T] each.

    `sizes` are as in `token_ratios`.
    """
    windows = counts.windows.sum()
    mean = counts.position_active.sum(axis=0) / windows
    variance = np.maximum(counts.position_square / windows - mean**2, 0.0) / max(windows - 1, 1)
    return mean / sizes.sum(), np.sqrt(variance) / sizes.sum()


def histogram(frequency: Floats, edges: Sequence[float]) -> Ints:
    """Neurons by frequency, int64 [edges]: first those that never fire, then each bin (low, high]."""
    below = np.searchsorted(np.sort(frequency), np.asarray(edges), side="right")
    return np.diff(below, prepend=0)
