"""Structure from a live model: every family's input weights and inputs, and clusters planted in its weights."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "architectures"))
from tiny import CONFIGS, MIXTURES, tiny

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.api import find_sites
from sparsity_lab.measure.sites import tapped
from sparsity_lab.measure.structure.api import examine_structure
from sparsity_lab.measure.structure.projections import input_projections, input_weights, inputs_tapped
from sparsity_lab.measure.structure.rows import quality_rows, routing_rows
from sparsity_lab.measure.structure.spec import Settings

FEW = Settings(clusters=4, routed=1, draws=39, permutations=19)


@pytest.mark.parametrize("model_type", sorted(set(CONFIGS) - MIXTURES))
def test_inputs_and_input_weights_give_the_neurons(model_type):
    """What the projections found make of x is what leads to a: u times s, or the sigma of it."""
    model = tiny(model_type)
    sites = find_sites(model)[1]
    seen, activations = {}, {}

    class Watch:
        def visit(self, site, a, s):
            activations[site.layer] = a

        def visit_output(self, site, a, y):
            raise AssertionError

    with inputs_tapped(model, sites, lambda site, x: seen.update({site.layer: x})), tapped(sites, Watch()):
        model(input_ids=torch.randint(0, 97, (2, 9), generator=torch.Generator().manual_seed(0)))
    assert not any(module._forward_pre_hooks for module in model.modules())
    for site in sites:
        x, a = seen[site.layer].double(), activations[site.layer]
        weights = input_weights(model, site)
        d = x.shape[-1]
        assert weights.shape == (site.intermediate_size, d * (2 if site.gated else 1))
        biases = [
            module.bias
            for module in input_projections(model, site)
            if getattr(module, "bias", None) is not None
        ]
        if biases or not site.gated:
            continue
        first, second = (x @ part.T for part in weights.split(d, dim=1))
        active = a.double()
        # a = sigma(g) u: wherever a is not zero its sign is that of g u or of what sigma makes of it.
        assert active.shape == first.shape == second.shape
        assert torch.equal(
            (active.abs() > 1e-9) & (first.abs() < 1e-12), torch.zeros_like(active, dtype=torch.bool)
        )


def planted_llama(llama, *, clusters):
    """A model whose neurons come in groups of one input direction, so that a group fires as one."""
    model = llama(neurons=48, hidden=16)
    generator = torch.Generator().manual_seed(3)
    labels = torch.randperm(48, generator=generator) % clusters
    with torch.no_grad():
        for layer in model.model.layers:
            for matrix in (layer.mlp.gate_proj, layer.mlp.up_proj):
                directions = torch.randn(clusters, 16, generator=generator)
                noise = torch.randn(48, 16, generator=generator)
                matrix.weight.copy_(directions[labels] + 0.05 * noise)
    return model, labels.numpy()


@pytest.mark.parametrize("by", ["coactivation", "input-weights"])
def test_clusters_planted_in_weights_are_found_and_beat_chance(llama, own_text, by):
    model, labels = planted_llama(llama, clusters=4)
    ids = own_text(model, windows=16)
    settings = Settings(clusters=4, by=by, routed=1, draws=99, best=(1, 2))
    report = examine_structure(model, ids, thresholds=[0.05, 0.05], settings=settings, window=32)
    for found in report.labels:
        assert len(set(zip(found.tolist(), labels.tolist(), strict=True))) == 4
    row = quality_rows(report)[0]
    assert (row["layer"], row["best"]) == ("all", 1)
    assert row["p_random"] == row["p_matched"] == 0.01
    assert row["inside"] - row["random"] == pytest.approx(row["over_random"], abs=1e-3)
    assert row["inside"] > 1.2 * row["random"]
    assert 0 < row["over_random_se"] < row["over_random"]
    cached = routing_rows(report)[0]
    assert 0 < cached["hit_rate"] < 1


def test_the_same_seed_gives_the_same_and_the_batch_changes_nothing(llama, own_text):
    model = llama(neurons=48)
    ids = own_text(model)
    one, other = (
        examine_structure(model, ids, thresholds=[0.05, 0.05], settings=FEW, window=32, batch_size=size)
        for size in (1, 7)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one.labels, other.labels, strict=True))
    assert quality_rows(one) == quality_rows(other)


def test_mistakes_are_told(llama, own_text):
    model = llama(neurons=40)
    ids = own_text(model)
    for settings, said in (
        (Settings(clusters=32), "cannot be put into 32 clusters"),
        (Settings(clusters=4), "cannot be routed to 4 of 4"),
        (Settings(by="size"), "cannot be grouped by 'size'"),
        (Settings(draws=3), "--draws is 3"),
        (Settings(cache_ratio=0.5), "--cache-ratio is 0.5"),
    ):
        with pytest.raises(SparsityLabError, match=said):
            examine_structure(model, ids, thresholds=[0.05, 0.05], settings=settings, window=32)
