"""SRP and SCH against the definitions of Liang et al. (arXiv 2505.16056) on planted routes."""

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from plain_mixture import cache_hits

from sparsity_lab.measure.neurons.mixtures.segments import (
    best_performance,
    cache_size,
    segment_cache_hits,
    segment_frequencies,
)


def chosen(rows, tokens, experts, k, *, stay=0.5, seed=0):
    """Routes, bool [rows, tokens, experts], k experts a token, that keep the last token's with a chance."""
    generator = np.random.default_rng(seed)
    routed = np.zeros((rows, tokens, experts), bool)
    for row in range(rows):
        now = generator.choice(experts, k, replace=False)
        for t in range(tokens):
            if generator.random() > stay:
                now = generator.choice(experts, k, replace=False)
            routed[row, t, now] = True
    return routed


def performance(routed, *, segment):
    f = segment_frequencies(torch.from_numpy(routed), segment=segment).numpy()
    return best_performance(np.bincount(f.ravel(), minlength=segment + 1))


def best_of_all_routers(routed, *, segment):
    """The largest F1 of any segment router, equation 5: every choice for every expert and segment is tried."""
    rows, tokens, experts = routed.shape
    f = [int(routed[r, p : p + segment, e].sum())
         for r in range(rows) for p in range(tokens - segment + 1) for e in range(experts)]  # fmt: skip
    best = 0.0
    for said in product((0, 1), repeat=len(f)):
        above = 2 * sum(one * went for one, went in zip(said, f, strict=True))
        best = max(best, above / (segment * sum(said) + sum(f)))
    return best


@pytest.mark.parametrize(("rows", "tokens", "experts", "segment"), [(1, 5, 3, 2), (2, 4, 2, 2), (1, 6, 3, 3)])
def test_srp_is_the_best_f1_of_every_segment_router(rows, tokens, experts, segment):
    for seed in range(4):
        routed = chosen(rows, tokens, experts, 1, seed=seed)
        found = performance(routed, segment=segment).srp
        assert found == pytest.approx(best_of_all_routers(routed, segment=segment), abs=1e-12)


def test_srp_of_routes_that_never_change_is_one_and_takes_no_more_experts():
    routed = chosen(3, 30, 6, 2, stay=1.0)
    assert performance(routed, segment=8) == (1.0, 1.0)


def test_srp_falls_as_routes_change_more_often():
    by_stay = [
        float(performance(chosen(8, 64, 8, 2, stay=stay), segment=16).srp) for stay in (0.0, 0.7, 0.95)
    ]
    assert by_stay == sorted(by_stay)
    assert by_stay[0] < 0.5 < 0.8 < by_stay[2]


def test_all_experts_chosen_make_srp_one():
    assert performance(np.ones((2, 9, 4), bool), segment=4) == (1.0, 1.0)


def test_segments_beyond_the_window_have_no_srp_and_unused_experts_have_none_to_speak_of():
    assert np.isnan(performance(chosen(2, 9, 4, 2), segment=10)).all()
    srp, ratio = performance(np.zeros((2, 9, 1), bool), segment=4)
    assert srp == 0.0
    assert np.isnan(ratio)


@pytest.mark.parametrize(("experts", "k", "segment"), [(6, 2, 4), (6, 2, 100), (4, 4, 4), (5, 3, 1)])
def test_sch_is_that_of_plain_sets(experts, k, segment):
    routed = chosen(3, 25, experts, k)
    size = cache_size(experts, k)
    assert k <= size <= experts
    hits = segment_cache_hits(torch.from_numpy(routed), size=size, segment=segment)
    sets = [[set(np.flatnonzero(token).tolist()) for token in row] for row in routed]
    assert hits.tolist() == [cache_hits(row, size, segment) for row in sets]
    if size == experts:  # nothing ever goes: first uses alone are misses
        assert hits.tolist() == (routed.sum(axis=(1, 2)) - routed.any(axis=1).sum(axis=1)).tolist()


def test_a_cache_never_holds_more_experts_than_there_are():
    assert [cache_size(*case) for case in ((8, 2), (4, 3), (3, 3), (1, 1))] == [4, 4, 3, 1]
