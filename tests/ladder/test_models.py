"""Closed-form parameter counts equal those of the real models; impossible shapes are refused."""

import itertools
import re

import pytest
import torch
from transformers import AutoModelForCausalLM

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.models import ACTIVATIONS, ModelShape, build_model
from sparsity_lab.measure import architectures

SHAPE = {
    "hidden_size": 64,
    "layers": 3,
    "intermediate_size": 160,
    "heads": 4,
    "key_value_heads": 4,
    "vocabulary": 512,
    "positions": 64,
}


def count_parameters(model):
    """All parameters, and those that are no embedding, each tensor once."""
    ends = {id(m.weight): m.weight for m in (model.get_input_embeddings(), model.get_output_embeddings())}
    return model.num_parameters(), model.num_parameters() - sum(weight.numel() for weight in ends.values())


@pytest.mark.parametrize(
    ("gated", "tied", "key_value_heads"), list(itertools.product((True, False), (True, False), (4, 2, 1)))
)
def test_closed_form_counts_equal_the_model(gated, tied, key_value_heads):
    """Built, not computed: every tensor of the live model is counted once."""
    shape = ModelShape(**{**SHAPE, "key_value_heads": key_value_heads}, gated=gated, tied_embeddings=tied)
    assert count_parameters(build_model(shape, seed=0)) == (shape.params_total, shape.params_nonembedding)


def test_the_closed_form_holds_for_drelu_too():
    shape = ModelShape(**SHAPE, activation="drelu")
    assert count_parameters(build_model(shape, seed=0)) == (shape.params_total, shape.params_nonembedding)


def test_the_demo_model_has_the_stated_size():
    shape = ModelShape(**{**SHAPE, "layers": 4}, activation="relu")
    assert (shape.params_total, shape.params_nonembedding) == (221_760, 188_992)


SIGMAS = {
    "relu": torch.relu,
    "silu": torch.nn.functional.silu,
    "gelu": torch.nn.functional.gelu,
    "relu2": lambda g: torch.relu(g) ** 2,
    "drelu": torch.relu,
}


@pytest.mark.parametrize(
    ("activation", "gated"), [(a, g) for a in sorted(SIGMAS) for g in (True, False) if g or a != "drelu"]
)
def test_the_feed_forward_network_computes_what_its_name_says(activation, gated):
    model = build_model(ModelShape(**SHAPE, activation=activation, gated=gated), seed=1)
    ffn = model.model.layers[0].mlp
    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(0)) * 10
    sigma = SIGMAS[activation]
    up = x @ ffn.up_proj.weight.T
    up = torch.relu(up) if activation == "drelu" else up
    a = sigma(x @ ffn.gate_proj.weight.T) * up if gated else sigma(up)
    torch.testing.assert_close(ffn(x), a @ ffn.down_proj.weight.T)


@pytest.mark.parametrize(("activation", "gated"), [("drelu", True), ("relu2", False), ("relu", True)])
def test_a_saved_model_is_read_back_and_its_sites_are_found(activation, gated, tmp_path):
    """What the ladder writes is what `measure` reads: type known, s, u and a where its hooks expect them."""
    shape = ModelShape(**SHAPE, activation=activation, gated=gated)
    model = build_model(shape, seed=1)
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = torch.arange(32)[None]
    assert torch.equal(again(ids).logits, model(ids).logits)
    sites = architectures.find(again.config)[1].sites(again)
    assert [site.intermediate_size for site in sites] == [160] * 3
    seen = {}
    for role in ("activation", "up", "down"):
        if (module := getattr(sites[1], role)) is not None:
            module.register_forward_hook(lambda m, i, o, role=role: seen.update({role: (i[0], o)}))
    again(ids)
    s, a = seen["activation"][1], seen["down"][0]
    assert torch.equal(a, s * seen["up"][1] if gated else s)


def test_every_activation_has_its_formula_tested():
    assert set(SIGMAS) == set(ACTIVATIONS)


def test_the_same_seed_gives_the_same_weights():
    first, again, other = (build_model(ModelShape(**SHAPE), seed=s).state_dict() for s in (5, 5, 6))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"heads": 6, "key_value_heads": 6}, "hidden_size 64 is not a multiple of heads 6"),
        ({"key_value_heads": 3}, "heads 4 is not a multiple of key_value_heads 3"),
        ({"activation": "rleu"}, "Did you mean 'relu'?"),
        ({"activation": "drelu", "gated": False}, "does not exist"),
        ({"layers": 0}, "`layers` is 0"),
        ({"heads": 64, "key_value_heads": 64}, "must be even"),
    ],
)
def test_impossible_shapes_are_refused(change, words):
    with pytest.raises(SparsityLabError) as caught:
        ModelShape(**{**SHAPE, **change})
    assert words in caught.value.paragraph()


@pytest.mark.parametrize("hidden_size", [2, 30, 64, 90, 96, 97])
@pytest.mark.parametrize("heads", [1, 3, 4, 5, 7, 32, 64, 100])
def test_what_is_proposed_for_heads_that_do_not_fit_is_itself_accepted(hidden_size, heads):
    change = {"hidden_size": hidden_size, "heads": heads, "key_value_heads": heads}
    try:
        ModelShape(**{**SHAPE, **change})
    except SparsityLabError as error:
        proposed = re.findall(r"(heads|hidden_size)(?: of)? (\d+)", error.fix)
        assert proposed
        for name, value in proposed:
            own = (
                {"heads": int(value), "key_value_heads": int(value)}
                if name == "heads"
                else {name: int(value)}
            )
            ModelShape(**{**SHAPE, **change, **own})
    else:
        assert hidden_size % (2 * heads) == 0
