"""Planted clusters are found, and where there is nothing to find p is uniform."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.neurons.structure.clustering import clusters as c
from sparsity_lab.measure.neurons.structure.clustering.coactivation import (
    best_partner,
    partners,
    strongest_pairs,
)
from sparsity_lab.measure.neurons.structure.clustering.quality import best_clusters, by_cluster
from sparsity_lab.measure.neurons.structure.rows import chance_of


def planted(generator, *, tokens, neurons, clusters, inside=0.6, outside=0.02):
    """Masks bool [tokens, neurons]: each token turns on two of the clusters, whose labels are returned too."""
    labels = generator.permutation(np.arange(neurons) % clusters)
    on = np.argsort(generator.random((tokens, clusters)), axis=1)[:, :2]
    chance = np.where((labels == on[:, :1]) | (labels == on[:, 1:]), inside, outside)
    return generator.random((tokens, neurons)) < chance, labels


def together(keep):
    return keep.astype(np.int64).T @ keep


def inside(keep, partitions, *, clusters, best=1):
    counted = by_cluster(torch.from_numpy(keep)[None], torch.from_numpy(partitions), clusters=clusters)
    found = best_clusters(counted, most=best).values.sum(dim=(0, 1, 3)).double().numpy()
    return found / keep.sum()


def same(one, other):
    """Whether two partitions are the same but for names."""
    return len(set(zip(one.tolist(), other.tolist(), strict=True))) == len(set(one.tolist()))


@pytest.mark.parametrize(("neurons", "clusters"), [(48, 4), (50, 6), (64, 16)])
def test_planted_clusters_are_found_and_beat_both_nulls(neurons, clusters):
    generator = np.random.default_rng(neurons)
    keep, labels = planted(generator, tokens=1500, neurons=neurons, clusters=clusters)
    first, second = keep[:750], keep[750:]
    found = c.balanced_clusters(
        c.firing_places(together(first), clusters=clusters), clusters=clusters, seed=0
    )
    assert same(found, labels)
    assert sorted(np.bincount(found)) == sorted(c.capacities(neurons, clusters))
    for draw in (
        c.random_partitions(found, draws=99, seed=0),
        c.matched_partitions(found, first.sum(axis=0), draws=99, seed=0),
    ):
        shares = inside(second, np.concatenate([found[None], draw]), clusters=clusters)
        assert chance_of(shares[0], shares[1:]) == 0.01
        assert shares[0] > 1.3 * shares[1:].mean()


@pytest.mark.parametrize("kind", ["random", "matched"])
def test_independent_neurons_give_a_uniform_p(kind):
    """Neurons alike, each firing on its own: the clusters found on one part are worth nothing on another."""
    p = []
    for seed in range(60):
        generator = np.random.default_rng(seed)
        keep = generator.random((300, 24)) < 0.3
        found = c.balanced_clusters(c.firing_places(together(keep[:150]), clusters=4), clusters=4, seed=seed)
        drawn = (
            c.random_partitions(found, draws=39, seed=seed)
            if kind == "random"
            else c.matched_partitions(found, keep[:150].sum(axis=0), draws=39, seed=seed)
        )
        shares = inside(keep[150:], np.concatenate([found[None], drawn]), clusters=4)
        p.append(chance_of(shares[0], shares[1:]))
    assert kstest(p, "uniform").pvalue > 0.01
    assert min(p) < 0.15
    assert max(p) > 0.85


def test_frequency_alone_beats_random_partitions_but_not_matched_ones():
    """Independent neurons of unlike frequency: grouping hot ones helps, and says nothing of co-activation."""
    generator = np.random.default_rng(0)
    chances = np.repeat([0.02, 0.05, 0.2, 0.6], 16)
    keep = generator.random((4000, 64)) < chances
    labels = c.by_frequency(keep[:2000].sum(axis=0), clusters=4)
    assert same(labels, np.repeat(np.arange(4), 16))
    random = c.random_partitions(labels, draws=99, seed=0)
    matched = c.matched_partitions(labels, keep[:2000].sum(axis=0), draws=99, seed=0)
    shares = inside(keep[2000:], np.concatenate([labels[None], random, matched]), clusters=4)
    assert chance_of(shares[0], shares[1:100]) == 0.01
    assert chance_of(shares[0], shares[100:]) > 0.05


def test_weights_that_point_alike_are_grouped():
    generator = np.random.default_rng(1)
    directions = generator.normal(size=(4, 16))
    labels = generator.permutation(np.arange(40) % 4)
    weights = directions[labels] * generator.uniform(0.1, 5, size=(40, 1)) + 0.05 * generator.normal(
        size=(40, 16)
    )
    assert same(c.balanced_clusters(c.weight_places(weights), clusters=4, seed=0), labels)


def test_balanced_k_means_is_no_worse_than_any_swap():
    """A local optimum: no exchange of two neurons between two clusters brings points nearer to their centres."""
    places = np.random.default_rng(2).normal(size=(24, 3))
    labels = c.balanced_clusters(places, clusters=4, seed=0)
    centres = np.stack([places[labels == one].mean(axis=0) for one in range(4)])
    distance = ((places[:, None] - centres) ** 2).sum(axis=2)
    for a in range(24):
        for b in range(24):
            gain = distance[a, labels[a]] + distance[b, labels[b]]
            assert gain <= distance[a, labels[b]] + distance[b, labels[a]] + 1e-9


def test_partitions_keep_their_sizes_and_matched_ones_their_frequencies():
    generator = np.random.default_rng(3)
    labels, fired = generator.permutation(np.arange(83) % 7), generator.integers(0, 1000, 83)
    ranked = np.argsort(-fired, kind="stable")
    for draw in c.matched_partitions(labels, fired, draws=9, seed=0):
        for start in range(0, 83, c.STRATUM):
            stratum = ranked[start : start + c.STRATUM]
            assert sorted(draw[stratum]) == sorted(labels[stratum])
    for draw in c.random_partitions(labels, draws=9, seed=0):
        assert np.array_equal(np.bincount(draw), np.bincount(labels))


def test_too_many_clusters_are_refused():
    with pytest.raises(SparsityLabError, match="20 neurons cannot be put into 11 clusters"):
        c.capacities(20, 11)


def test_partners_are_the_most_similar_and_are_judged_on_other_text():
    generator = np.random.default_rng(4)
    keep = generator.random((2000, 20)) < 0.1
    keep[:, 7] = keep[:, 3] & (generator.random(2000) < 0.9)
    keep[:, 11] = False
    both = np.stack([together(keep[:1000]), together(keep[1000:])])
    places, values = partners(both[0])
    for i in range(20):
        similar = {}
        for j in set(range(20)) - {i}:
            a, b = keep[:1000, i], keep[:1000, j]
            similar[j] = (a & b).sum() / np.sqrt(a.sum() * b.sum()) if a.any() and b.any() else 0.0
        top = sorted(similar, key=lambda j: (-similar[j], j))[: places.shape[1]]
        assert values[i] == pytest.approx([similar[j] for j in top])
        assert places[i].tolist() == [j if similar[j] > 0 else -1 for j in top]
    row = strongest_pairs(both, np.arange(20) * 2, tokens=np.array([1000, 1000]))[0]
    a, b = keep[1000:, 3], keep[1000:, 7]
    assert (row["neuron"], row["partner"]) == (6, 14)
    assert row["together_tokens"] == (a & b).sum()
    assert row["cosine"] == pytest.approx((a & b).sum() / np.sqrt(a.sum() * b.sum()))
    assert row["jaccard"] == pytest.approx((a & b).sum() / (a | b).sum())
    assert row["by_chance"] == pytest.approx(np.sqrt(a.mean() * b.mean()))


def test_the_best_partner_of_independent_neurons_is_no_better_than_chance():
    """Judged where it was found it would be far above: the largest of 39 noisy cosines."""
    generator = np.random.default_rng(5)
    keep = generator.random((8, 400, 40)) < 0.05
    sketch = np.stack([together(part) for part in keep])
    cosine, chance = best_partner(sketch, np.full(8, 400))
    assert abs(cosine.value - chance.value) < 4 * cosine.se
    assert partners(sketch[:4].sum(axis=0))[1][:, 0].mean() > chance.value + 5 * cosine.se
