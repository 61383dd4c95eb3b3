"""The test of domains against permutations counted one by one, its false discoveries, and drift between checkpoints."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control, kstest, spearmanr

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.neurons.estimates import Estimate
from sparsity_lab.measure.neurons.structure.roles.drift import Habits, between_halves, likeness, settles
from sparsity_lab.measure.neurons.structure.roles.jackknife import jackknife
from sparsity_lab.measure.neurons.structure.roles.specialise import (
    contrast,
    false_discovery_rate,
    specialised,
)


def test_p_is_that_of_permutations_counted_one_by_one():
    generator = np.random.default_rng(0)
    rates, domains = generator.random((12, 5)), np.array([0] * 5 + [1] * 7)
    rates[:, 1] = 0.25  # a neuron that does not vary
    rates[:5, 2] += 2
    found = specialised(rates, domains, permutations=200, seed=7)
    labels = np.tile(domains, (201, 1))
    labels[1:] = np.random.default_rng((7, 3)).permuted(labels[1:], axis=1)
    for feature in range(5):
        spread = []
        for one in labels:
            means = [rates[one == d, feature].mean() for d in (0, 1)]
            whole = rates[:, feature].mean()
            spread.append(5 * (means[0] - whole) ** 2 + 7 * (means[1] - whole) ** 2)
        as_large = sum(s >= spread[0] - 1e-9 for s in spread[1:])
        assert found.p[feature] == pytest.approx((1 + as_large) / 201)
    assert found.p[1] == 1
    assert found.preferred[2] == 0
    assert found.chosen[2]


def test_false_discoveries_are_those_of_benjamini_and_hochberg():
    generator = np.random.default_rng(1)
    for power in (1, 3, 10):
        p = generator.random(200) ** power
        assert np.array_equal(false_discovery_rate(p), false_discovery_control(p) <= 0.05)
    assert not false_discovery_rate(np.full(9, 0.9)).any()


def test_neurons_without_a_domain_are_rarely_called_specialised_though_stretches_differ():
    """Each stretch has a level of its own, as documents do; a test over tokens would call nearly all specialised."""
    shares, p = [], []
    for seed in range(25):
        generator = np.random.default_rng(seed)
        rates = 0.2 + 0.1 * generator.standard_normal((24, 40))
        found = specialised(rates, np.repeat([0, 1, 2], 8), permutations=99, seed=seed)
        shares.append(found.share)
        p.extend(found.p[:4])
    assert np.mean(shares) < 0.02
    assert kstest(p, "uniform").pvalue > 0.01


def test_planted_specialists_are_found_with_the_domain_they_prefer():
    generator = np.random.default_rng(2)
    domains = np.repeat([0, 1, 2], 10)
    rates = 0.2 + 0.02 * generator.standard_normal((30, 50))
    for neuron in range(15):
        rates[domains == neuron % 3, neuron] += 0.1
    found = specialised(rates, domains, permutations=1999, seed=0)
    assert found.chosen[:15].all()
    assert found.chosen[15:].sum() <= 3
    assert found.preferred[:15].tolist() == [neuron % 3 for neuron in range(15)]
    assert found.p_of_share == 1 / 200
    assert found.share_if_permuted.mean() < 0.02


def test_contrast_is_lost_where_neurons_of_several_domains_are_put_together():
    means = np.array([[0.3, 0.1, 0.1], [0.1, 0.3, 0.1], [0.1, 0.1, 0.3]])
    domains = np.repeat([0, 1, 2], 4)
    rates = np.repeat(means, 4, axis=0)
    assert contrast(rates, domains) == pytest.approx(np.std([0.3, 0.1, 0.1]) * 3 / 0.5)
    assert contrast(rates.mean(axis=1, keepdims=True), domains) == pytest.approx(0)


def test_one_domain_or_few_stretches_are_refused():
    for domains in (np.zeros(12, int), np.array([0] * 9 + [1] * 3)):
        with pytest.raises(SparsityLabError, match="cannot be tested"):
            specialised(np.ones((12, 3)), domains, permutations=19, seed=0)


def test_the_jackknife_of_a_mean_is_the_standard_error():
    values = np.random.default_rng(3).normal(size=(8, 1))
    value, error = jackknife(lambda rows: values[rows].mean(axis=0), np.arange(8))
    assert value == pytest.approx(values.mean(axis=0))
    assert error == pytest.approx(values.std(axis=0, ddof=1) / np.sqrt(8))


def habits(rates, generator, *, tokens=400):
    """Eight stretches of independent neurons that fire at these rates."""
    keep = generator.random((8, tokens, len(rates))) < rates
    sketch = np.einsum("eti,etj->eij", keep.astype(np.int64), keep.astype(np.int64))
    return Habits(np.full(8, tokens), keep.sum(axis=1), keep.sum(axis=1) * 2.0, (sketch,))


def test_likeness_is_one_with_itself_and_falls_with_what_changed():
    generator = np.random.default_rng(4)
    rates = generator.uniform(0.02, 0.5, 30)
    one = habits(rates, generator)
    assert [found.value for found in likeness(one, one).values()] == pytest.approx([1, 1, 1])
    moved = likeness(one, habits(generator.permutation(rates), generator))
    near = likeness(one, habits(np.clip(rates + 0.02, 0, 1), generator))
    assert near["frequency"].value > 0.9 > moved["frequency"].value
    expected = spearmanr(one.fired.sum(axis=0), one.fired.sum(axis=0)).statistic
    assert between_halves(one)["frequency"] < expected
    assert near["frequency"].se > 0


def test_frequency_is_compared_by_rank():
    generator = np.random.default_rng(5)
    one, other = (habits(generator.uniform(0.02, 0.5, 30), generator) for _ in range(2))
    expected = spearmanr(one.fired.sum(axis=0), other.fired.sum(axis=0)).statistic
    assert likeness(one, other)["frequency"].value == pytest.approx(expected)


def test_patterns_settle_where_all_later_ones_are_surely_alike():
    sure, unsure = Estimate(0.95, 0.01), Estimate(0.95, 0.05)
    assert settles([Estimate(0.5, 0.01), sure, sure]) == 1
    assert settles([sure, unsure, sure]) == 2
    assert settles([sure, Estimate(0.8, 0.01)]) is None
    assert settles([sure]) == 0
