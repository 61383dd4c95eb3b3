"""The cache of experts against a cache of plain sets, and a mixture's own routes against its router's choices."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "architectures"))
from tiny import MIXTURES, tiny

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.neurons.mixtures.segments import segment_cache_hits
from sparsity_lab.measure.neurons.structure.api import examine_structure
from sparsity_lab.measure.neurons.structure.rows import routing_rows
from sparsity_lab.measure.neurons.structure.spec import StructureSettings


def by_hand(routes, *, size, segment):
    """Hits of a cache of sets; of equally idle experts the one of higher index goes."""
    cached, hits = set(), 0
    for t, needed in enumerate(routes):
        hits += len(cached & needed)
        cached |= needed
        coming = routes[t + 1 : t + 1 + segment]
        while len(cached) > size:
            cached.remove(min(cached - needed, key=lambda one: (sum(one in later for later in coming), -one)))
    return hits


@pytest.mark.parametrize("segment", [1, 3, 50])
@pytest.mark.parametrize("size", [3, 5, 9])
def test_hits_are_those_of_sets(size, segment):
    generator = np.random.default_rng(size * 100 + segment)
    routed = generator.random((4, 20, 9)) < 0.4
    routed[:, :, 3:] &= routed[:, :, 3:].cumsum(axis=2) + routed[:, :, :3].sum(axis=2, keepdims=True) <= 3
    hits = segment_cache_hits(torch.from_numpy(routed), size=size, segment=segment)
    routes = [[set(np.flatnonzero(token).tolist()) for token in row] for row in routed]
    assert hits.tolist() == [by_hand(row, size=size, segment=segment) for row in routes]
    assert 0 < hits.sum() < routed.sum()


def test_a_cache_that_holds_all_misses_only_first_uses():
    routed = torch.from_numpy(np.random.default_rng(0).random((3, 30, 6)) < 0.5)
    hits = segment_cache_hits(routed, size=6, segment=4)
    assert torch.equal(hits, routed.sum(dim=(1, 2)) - routed.any(dim=1).sum(dim=1))


def test_a_cache_smaller_than_a_token_needs_is_refused():
    with pytest.raises(SparsityLabError, match="A cache of 2 experts"):
        segment_cache_hits(torch.ones(1, 2, 3, dtype=torch.bool), size=2, segment=4)


@pytest.mark.parametrize("model_type", sorted(MIXTURES))
def test_routes_of_a_mixture_are_its_routers(model_type):
    model = tiny(model_type)
    sites = find_sites(model)[1]
    ids = torch.randint(0, 97, (8 * 24,), generator=torch.Generator().manual_seed(0))
    chosen = {}

    def note(module, inputs):
        chosen.setdefault(module, []).append(inputs[1])

    modules = list({id(site.down): site.down for site in sites if site.routed}.values())
    handles = [module.register_forward_pre_hook(note) for module in modules]
    with torch.no_grad():
        model(input_ids=torch.cat([torch.zeros(4, 1, dtype=torch.int64), ids.view(8, 24)[4:]], dim=1))
    for handle in handles:
        handle.remove()
    report = examine_structure(
        model, ids, thresholds=[0.0] * len(sites), window=24, bos_id=0, batch_size=3,
        settings=StructureSettings(segments=(4, 16)),
    )  # fmt: skip
    rows = routing_rows(report)
    assert len(rows) == 2 * len(modules)
    for row in rows:
        module = modules[row["layer"]]
        (choice,) = chosen[module]
        tokens = choice.view(4, 25, -1)[:, 1:]
        routes = [[set(token.tolist()) for token in window] for window in tokens]
        hits = sum(by_hand(one, size=row["cache"], segment=row["segment"]) for one in routes)
        assert row["experts"] == module.num_experts
        assert row["routed"] == choice.shape[-1]
        assert row["hit_rate"] == pytest.approx(hits / sum(len(t) for one in routes for t in one), abs=1e-12)
