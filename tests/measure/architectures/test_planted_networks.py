"""Models with a network besides their sites, which is refused by name, or named where it is narrow."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))
from every import small
from test_mutants import FAMILIES, MIXTURES, D, refused

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.architectures._passing import block_of
from sparsity_lab.measure.model.loaded import find_sites

F = 48


def matrix(*shape):
    return nn.Parameter(torch.randn(*shape) * 0.3)


class Planted(nn.Module):
    """A network d -> F -> d that is in no library: four ways to write it."""

    def __init__(self, form, width=F):
        super().__init__()
        self.form = form
        if form == "convolutions":
            self.first, self.last = nn.Conv1d(D, width, 1), nn.Conv1d(width, D, 1)
            self.first.weight.data.normal_(std=0.3)
        elif form == "linear maps":
            self.first, self.last = nn.Linear(D, width), nn.Linear(width, D)
        else:
            self.first, self.last = matrix(width, D), matrix(D, width)

    def forward(self, x):
        if self.form == "convolutions":
            y = self.last(torch.sin(self.first(x.reshape(-1, D).T.unsqueeze(0))))
            return y.squeeze(0).T.reshape(x.shape)
        if self.form == "linear maps":
            return self.last(torch.sin(self.first(x)))
        if self.form == "bilinear":  # no activation function at all
            return ((x @ self.first.T) * (x @ self.first.T.flip(0))) @ self.last.T
        return functional.linear(functional.silu(functional.linear(x, self.first)), self.last)


def plant(model, form, width=F):
    """A second network beside the one of the first site's module, of a subclass of that module's class."""
    site = find_sites(model).sites[0]
    name = site.name.rpartition(".")[0] if site.routed else site.name
    holder = model.get_submodule(name)
    assert block_of(name)
    torch.manual_seed(1)
    holder.planted = Planted(form, width)
    original = type(holder).forward

    class WithTwo(type(holder)):
        def forward(self, x, *args, **kwargs):
            output = original(self, x, *args, **kwargs)
            first, *rest = output if isinstance(output, tuple) else (output,)
            first = first + self.planted(x).view(first.shape)
            return (first, *rest) if rest else first

    holder.__class__ = WithTwo
    return name


@pytest.mark.thorough(6)
@pytest.mark.parametrize("form", ["linear maps", "parameters", "convolutions", "bilinear"])
@pytest.mark.parametrize("model_type", FAMILIES)
@pytest.mark.long
def test_a_hidden_second_network_is_refused_by_name(model_type, form):
    model = small(model_type)
    name = plant(model, form)
    assert name in refused(model).paragraph()


@pytest.mark.thorough(3)
@pytest.mark.parametrize("model_type", sorted(set(FAMILIES) - {"gemma3n_text", "gemma4_text"}))
def test_a_narrow_one_is_named_in_the_certificate(model_type):
    """8 neurons at d = 32; the per-layer projections of Gemma fill what is narrow already."""
    model = small(model_type)
    plant(model, "linear maps", width=8)
    try:
        certificate = find_sites(model).certificate
    except SparsityLabError:  # where experts are compared as a whole, no other way to compute them passes
        assert model_type in MIXTURES
        return
    (name,) = certificate.side_paths
    assert name.endswith("planted.last")
    assert certificate.side_paths[name] == 8
    assert name in certificate.sentence("it")


@pytest.mark.parametrize("model_type", ["gemma3n_text", "gemma4_text"])
def test_the_projections_of_per_layer_embeddings_are_named(model_type):
    found = find_sites(small(model_type))
    assert found.certificate.side_paths == {"model.layers.*.per_layer_projection": 8}


def test_many_narrow_networks_in_one_block_are_refused():
    """As fine-grained experts of a form that nobody knows are."""
    model = small("llama")
    mlp = model.model.layers[1].mlp
    mlp.more = nn.ModuleList(Planted("linear maps", 8) for _ in range(3))
    original = type(mlp).forward

    class WithMore(type(mlp)):
        def forward(self, x):
            return original(self, x) + sum(each(x) for each in self.more)

    mlp.__class__ = WithMore
    assert "model.layers.1.mlp.more" in refused(model).what


def test_a_second_use_of_a_down_projection_is_refused():
    model = small("gpt2")
    mlp = model.transformer.h[2].mlp
    original = type(mlp).forward

    class Twice(type(mlp)):
        def forward(self, x):
            return original(self, x) + torch.sin(x @ self.c_fc.weight) @ self.c_proj.weight

    mlp.__class__ = Twice
    assert "transformer.h.2.mlp" in refused(model).what


def test_an_adapter_of_low_rank_is_no_network():
    model = small("llama")
    mlp = model.model.layers[0].mlp
    mlp.a, mlp.b = nn.Linear(D, 16, bias=False), nn.Linear(16, D, bias=False)
    original = type(mlp).forward

    class Adapted(type(mlp)):
        def forward(self, x):
            return original(self, x) + self.b(self.a(x))

    mlp.__class__ = Adapted
    assert not find_sites(model).certificate.side_paths


def test_experts_in_modules_of_their_own_are_refused_whether_or_not_a_token_comes():
    """A router in front of networks of the real class: some are called with a part of the tokens, some are not."""
    model = small("llama")
    block = model.model.layers[1]
    kind = type(block.mlp)

    class Routed(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.gate, self.experts = nn.Linear(D, 9), nn.ModuleList(kind(config) for _ in range(9))

        def forward(self, x):
            rows, chosen = x.view(-1, D), self.gate(x).view(-1, 9).argmax(-1)
            out = torch.zeros_like(rows)
            for e in chosen.unique().tolist():
                out[chosen == e] = self.experts[e](rows[chosen == e])
            return out.view(x.shape)

    block.mlp = Routed(model.config).eval()
    assert "model.layers.1.mlp" in refused(model).paragraph()
