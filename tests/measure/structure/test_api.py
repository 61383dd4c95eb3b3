"""Structure from a live model: every family's input weights and inputs, and clusters planted in its weights."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "architectures"))
from tiny import CONFIGS, MIXTURES, tiny

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.model.hooks import tapped
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.neurons.structure.api import examine_structure
from sparsity_lab.measure.neurons.structure.clustering.projections import (
    input_projections,
    input_weights,
    inputs_tapped,
)
from sparsity_lab.measure.neurons.structure.rows import quality_rows, routing_rows
from sparsity_lab.measure.neurons.structure.spec import StructureSettings

FEW = StructureSettings(clusters=4, routed=1, draws=39, permutations=19)


@pytest.mark.thorough(5)
@pytest.mark.parametrize("model_type", sorted(set(CONFIGS) - MIXTURES))
@torch.no_grad()
def test_inputs_and_input_weights_give_the_neurons(model_type):
    """From x and the weights found, the neurons that pass by follow: a = sigma(W_u x + b), or s (W_u x + b)."""
    model = tiny(model_type)
    sites = find_sites(model)[1]
    inputs, passed = {}, {}

    class Watch:
        def visit(self, site, a, s):
            passed[site.layer] = a, s

    with inputs_tapped(model, sites, lambda site, x: inputs.update({site.layer: x})), tapped(sites, Watch()):
        model(input_ids=torch.randint(0, 97, (2, 9), generator=torch.Generator().manual_seed(0)))
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
    assert len(inputs) == len(sites)
    for site in sites:
        x, (a, s) = inputs[site.layer], passed[site.layer]
        d, neurons = x.shape[-1], site.intermediate_size
        biases = [getattr(one, "bias", None) for one in input_projections(model, site)]
        weights = input_weights(model, site).float().split(d, dim=1)
        leading = [x @ weight.T for weight in weights]
        if biases[0] is not None:
            leading = [
                one + bias for one, bias in zip(leading, torch.cat(biases).split(neurons), strict=True)
            ]
        assert len(leading) == 1 + site.gated
        if not site.gated:
            assert torch.allclose(site.activation(leading[0]), a, atol=1e-5)
        else:
            assert any(
                torch.allclose(s * f(u), a, atol=1e-5) for u in leading for f in (torch.clone, torch.relu)
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
    settings = StructureSettings(clusters=4, by=by, routed=1, draws=99, best=(1, 2))
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
        (StructureSettings(clusters=32), "cannot be put into 32 clusters"),
        (StructureSettings(clusters=4), "cannot be routed to 4 of 4"),
        (StructureSettings(by="size"), "cannot be grouped by 'size'"),
        (StructureSettings(draws=3), "--draws is 3"),
        (StructureSettings(cache_ratio=0.5), "--cache-ratio is 0.5"),
    ):
        with pytest.raises(SparsityLabError, match=said):
            examine_structure(model, ids, thresholds=[0.05, 0.05], settings=settings, window=32)
