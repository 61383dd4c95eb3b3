"""Neurons grouped into experts of equal size, and the partitions that such a grouping must beat.

Two things neurons can be grouped by, as MoEfication (arXiv 2110.01786) does: how they fire, and where their input
weights point. Both end in balanced k-means, sum over neurons of ||x_i - center of its cluster||^2 with cluster
sizes that differ by one at most; the assignment step is solved exactly, as a linear assignment problem.

    coactivation     x_i = the firing vector of neuron i over tokens, scaled to length one: their inner products
                     are cosines c_ij / sqrt(f_i f_j), so the leading eigenvectors of that matrix represent them
    input-weights    x_i = neuron i's rows of W_g and W_u, scaled to length one
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.optimize import linear_sum_assignment

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.search.counts import Floats, Ints

RESTARTS, ROUNDS = 3, 30
EIGENVECTORS_PER_CLUSTER = 4
STRATUM = 8  # neurons of about one frequency, in the frequency-matched partitions


def capacities(neurons: int, clusters: int) -> Ints:
    """Sizes of clusters, int64 [clusters]; they differ by one at most.

    Raises:
        SparsityLabError: fewer than two clusters, or fewer than two neurons in one.
    """
    if clusters < 2 or neurons // clusters < 2:
        raise SparsityLabError(
            f"{neurons} neurons cannot be put into {clusters} clusters",
            why="There must be two clusters at least, of two neurons or more",
            fix=f"Ask for 2 to {max(2, neurons // 2)} clusters",
        )
    return neurons // clusters + (np.arange(clusters) < neurons % clusters)


def cosines(together: Ints) -> Floats:
    """c_ij / sqrt(f_i f_j) of co-firing counts [..., C, C], own firings on the diagonal; 0 where one never fires."""
    norms = np.sqrt(np.diagonal(together, axis1=-2, axis2=-1).astype(np.float64))
    below = norms[..., :, None] * norms[..., None, :]
    return np.divide(together, below, out=np.zeros(together.shape), where=below > 0)


def firing_places(together: Ints, *, clusters: int) -> Floats:
    """Points [C, n] whose inner products are the cosines, as far as the leading eigenvectors say."""
    values, vectors = eigh(cosines(together))
    count = min(len(values), EIGENVECTORS_PER_CLUSTER * clusters)
    leading = np.maximum(values[-count:], 0.0)
    return np.asarray(vectors[:, -count:] * np.sqrt(leading))


def weight_places(weights: Floats) -> Floats:
    """Rows [C, n] scaled to length one."""
    lengths = np.linalg.norm(weights, axis=1, keepdims=True)
    return np.asarray(weights / np.where(lengths > 0, lengths, 1.0), np.float64)


def balanced_clusters(places: Floats, *, clusters: int, seed: int) -> Ints:
    """The cluster of each point, int64 [C]: the best of a few seeded starts of balanced k-means.

    Args:
        places: points, float64 [C, n].
        clusters: how many.
        seed: the same seed gives the same clusters.

    Raises:
        SparsityLabError: as `capacities`.
    """
    capacities(len(places), clusters)
    best, least = np.zeros(len(places), np.int64), np.inf
    for start in range(RESTARTS):
        labels, inertia = _k_means(places, clusters, np.random.default_rng((seed, start)))
        if inertia < least - 1e-12:
            best, least = labels, inertia
    return best


def _k_means(places: Floats, clusters: int, generator: np.random.Generator) -> tuple[Ints, float]:
    centres = _spread(places, clusters, generator)
    labels = np.full(len(places), -1, np.int64)
    squares = (places**2).sum(axis=1)
    for _ in range(ROUNDS):
        distance = squares[:, None] - 2 * places @ centres.T + (centres**2).sum(axis=1)
        assigned = _assigned(distance)
        if np.array_equal(assigned, labels):
            break
        labels = assigned
        centres = np.stack([places[labels == cluster].mean(axis=0) for cluster in range(clusters)])
    return labels, float(((places - centres[labels]) ** 2).sum())


def _assigned(distance: Floats) -> Ints:
    """The clusters of least total distance [C, clusters] whose sizes differ by one at most.

    Each cluster has as many places as all have, and one to spare; as many spare places as must stay empty are taken
    by stand-ins that can go nowhere else.
    """
    neurons, clusters = distance.shape
    least, over = divmod(neurons, clusters)
    cost = np.repeat(distance, least, axis=1)
    if over:
        far = (float(distance.max()) - float(distance.min()) + 1) * neurons
        stand_ins = np.full((clusters - over, neurons - over), far)
        spare = np.zeros((clusters - over, clusters))
        cost = np.block([[cost, distance], [stand_ins, spare]])
    place = np.concatenate([np.repeat(np.arange(clusters), least), np.arange(clusters)])
    row, column = linear_sum_assignment(cost)
    labels = np.empty(len(row), np.int64)
    labels[row] = place[column]
    return labels[:neurons]


def _spread(places: Floats, clusters: int, generator: np.random.Generator) -> Floats:
    """First centers, each drawn with a chance that grows with the square of its distance (k-means++)."""
    chosen = [int(generator.integers(len(places)))]
    nearest = ((places - places[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < clusters:
        total = nearest.sum()
        chances = nearest / total if total > 0 else None
        chosen.append(int(generator.choice(len(places), p=chances)))
        nearest = np.minimum(nearest, ((places - places[chosen[-1]]) ** 2).sum(axis=1))
    return places[chosen].copy()


def by_frequency(fired: Ints, *, clusters: int) -> Ints:
    """Clusters of neurons that fire equally often, int64 [C]: what knows frequencies and nothing else."""
    slots = np.repeat(np.arange(clusters), capacities(len(fired), clusters))
    labels = np.empty(len(fired), np.int64)
    labels[np.argsort(-fired, kind="stable")] = slots
    return labels


def random_partitions(labels: Ints, *, draws: int, seed: int) -> Ints:
    """Partitions with clusters of the same sizes, at random, int64 [draws, C]."""
    generator = np.random.default_rng((seed, 1))
    return np.stack([generator.permutation(labels) for _ in range(draws)])


def matched_partitions(labels: Ints, fired: Ints, *, draws: int, seed: int) -> Ints:
    """Partitions in which neurons have changed places only with others of about their frequency, int64 [draws, C].

    Neurons are ranked by firings, runs of `STRATUM` of them are shuffled within. What a partition owes to grouping
    often-firing neurons, these have too.
    """
    generator = np.random.default_rng((seed, 2))
    ranked = np.argsort(-fired, kind="stable")
    strata: Sequence[NDArray[np.int64]] = np.split(ranked, range(STRATUM, len(ranked), STRATUM))
    partitions = np.tile(labels, (draws, 1))
    for draw in partitions:
        for stratum in strata:
            draw[stratum] = labels[generator.permutation(stratum)]
    return partitions
