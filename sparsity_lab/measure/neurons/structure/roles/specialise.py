"""Which neurons, or clusters of them, prefer a domain of text: a permutation test over stretches of text.

Emergent Modularity (arXiv 2305.18390) asks which neurons serve which function. Here functions are the domains of the
texts given, and the unit is a stretch of consecutive windows, never a token: tokens of one document are alike, and
shuffling them would call almost any neuron a specialist. The statistic of a neuron is the spread of its firing rate
between domains, sum_d n_d (rate_d - rate)^2; labels are permuted across stretches; p = (1 + #>=) / (1 + R); those
called *specialized* are found by Benjamini and Hochberg's rule, so that at most a share q of them is false.

The same is done with permuted labels in the place of the true ones: what a share of specialized neurons looks like
where there are no domains.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.search.counts import Floats, Ints

FALSE_SHARE = 0.05
PRETENDED = 199  # permuted labelings that stand in for the true one
AT_ONCE = 4_000_000  # statistics held at once
LEAST_UNITS = 4
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Specialised:
    """What the test says of some neurons or clusters.

    Attributes:
        p: float64 [features].
        chosen: bool [features], specialized at the false discovery rate.
        preferred: int64 [features], domain of the highest rate.
        rates: float64 [domains, features].
        contrast: as the function of that name says, over all features.
        share_if_permuted: float64 [labelings], share chosen under permuted labels.
    """

    p: Floats
    chosen: Bools
    preferred: Ints
    rates: Floats
    contrast: float
    share_if_permuted: Floats

    @property
    def share(self) -> float:
        """Share of features that are specialized."""
        return float(self.chosen.mean())

    @property
    def p_of_share(self) -> float:
        """How often permuted labels give as large a share."""
        return float((1 + (self.share_if_permuted >= self.share).sum()) / (1 + len(self.share_if_permuted)))


def specialised(rates: Floats, domains: Ints, *, permutations: int, seed: int) -> Specialised:
    """Test every feature.

    Args:
        rates: float64 [units, features], firing rate in each stretch of text; stretches are of equal length.
        domains: int64 [units], 0 to D - 1.
        permutations: R; the smallest p is 1 / (1 + R).
        seed: of the permutations.

    Raises:
        SparsityLabError: fewer than two domains, or a domain of too few stretches.
    """
    counts = np.bincount(domains)
    if len(counts) < 2 or counts.min() < LEAST_UNITS:
        raise SparsityLabError(
            "Whether neurons prefer a domain cannot be tested",
            why=f"The texts have {counts.tolist()} stretches of windows; each needs {LEAST_UNITS}",
            fix="Give two texts or more, more --tokens, or a smaller --window",
        )
    weights = _labellings(domains, permutations=permutations, seed=seed)
    parts = [
        _tested(rates[:, columns], weights, counts)
        for columns in np.array_split(np.arange(rates.shape[1]), _pieces(rates.shape[1], permutations))
    ]
    p = np.concatenate([part for part in parts], axis=1)
    chosen = np.stack([false_discovery_rate(row) for row in p])
    means = _means(rates, domains, counts)
    return Specialised(
        p=p[0],
        chosen=chosen[0],
        preferred=means.argmax(axis=0),
        rates=means,
        contrast=contrast(rates, domains),
        share_if_permuted=chosen[1:].mean(axis=1),
    )


def contrast(rates: Floats, domains: Ints) -> float:
    """How much rates differ between domains: sum of their standard deviations over domains / sum of their means.

    Neurons that prefer different domains cancel out within a cluster, those that prefer the same one do not.
    """
    means = _means(rates, domains, np.bincount(domains))
    total = float(means.mean(axis=0).sum())
    return float(means.std(axis=0).sum()) / total if total > 0 else 0.0


def false_discovery_rate(p: Floats, *, share: float = FALSE_SHARE) -> Bools:
    """Which of p [features] Benjamini and Hochberg's rule calls discoveries, bool [features]."""
    ordered = np.sort(p)
    below = np.flatnonzero(ordered <= share * np.arange(1, len(p) + 1) / len(p))
    if not len(below):
        return np.zeros(len(p), bool)
    return np.asarray(p <= ordered[below[-1]])


def _labellings(domains: Ints, *, permutations: int, seed: int) -> Floats:
    """Membership float64 [1 + R, domains, units]; the first is the true one."""
    generator = np.random.default_rng((seed, 3))
    labels = np.tile(domains, (1 + permutations, 1))
    labels[1:] = generator.permuted(labels[1:], axis=1)
    return (labels[:, None, :] == np.arange(domains.max() + 1)[:, None]).astype(np.float64)


def _tested(rates: Floats, weights: Floats, counts: Ints) -> Floats:
    """p of the true labeling and of the first `PRETENDED` others, float64 [1 + pretended, features]."""
    labellings, domains, units = weights.shape
    middle = rates - rates.mean(axis=0)
    sums = (weights.reshape(-1, units) @ middle).reshape(labellings, domains, -1)
    spread = (sums**2 / counts[:, None]).sum(axis=1)
    scale = spread.max(axis=0, initial=0.0)
    spread = np.round(
        spread / np.where(scale > 0, scale, 1.0), 9
    )  # equal labelings tie, whatever the order of sums
    rank = rankdata(-spread, method="max", axis=0)
    return np.asarray(rank[: 1 + PRETENDED] / labellings)


def _means(rates: Floats, domains: Ints, counts: Ints) -> Floats:
    member = domains == np.arange(len(counts))[:, None]
    return np.asarray(member.astype(np.float64) @ rates / counts[:, None])


def _pieces(features: int, permutations: int) -> int:
    return max(1, -(-features * (1 + permutations) // AT_ONCE))
