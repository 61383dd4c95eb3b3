"""Families that transformers has under another name, against a forward pass written out from their descriptions."""

import json
import math

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure import architectures
from sparsity_lab.measure.api import measure
from sparsity_lab.measure.checkpoint.loading import Source, load_model
from sparsity_lab.measure.model.loaded import find_sites
from tests.measure import plain

SIZES = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 72, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 1,
}  # fmt: skip
MINICPM = {"scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 16}
IDS = torch.tensor([[5, 17, 40, 3, 88, 61, 2, 30]])


def fatrelu(threshold):
    return lambda x: torch.where(x > threshold, x, 0.0)


# model type, what its config says, sigma of the gate, of the other branch
CASES = {
    "minicpm, relu": ("minicpm", {**MINICPM, "hidden_act": "relu"}, torch.relu, None),
    "minicpm, silu": ("minicpm", {**MINICPM, "hidden_act": "silu"}, functional.silu, None),
    "minicpm, untied": ("minicpm", {**MINICPM, "tie_word_embeddings": False}, functional.silu, None),
    "minicpm-s": (
        "minicpm",
        {**MINICPM, "hidden_act": "fatrelu", "hidden_act_param": 0.3},
        fatrelu(0.3),
        None,
    ),
    "prosparse": ("sparsellama", {"hidden_act": "fatrelu", "hidden_act_param": 0.2}, fatrelu(0.2), None),
    "sparselm, its leftover": ("llama_sparse_relu", {"hidden_act": "silu"}, torch.relu, None),
    "sparselm, not gated": ("llama_sparse_relu", {"sparsity_gated_mlp": False}, torch.relu, None),
    "sparselm of qwen2": ("qwen2_sparse_relu", {"hidden_act": "silu"}, torch.relu, None),
    "bamboo": ("bamboo", {"hidden_act": "relu", "sliding_window": None}, torch.relu, torch.relu),
}


def random_model(model_type, options):
    architectures.supported_types()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **SIZES, **options))
        for parameter in model.parameters():
            parameter.data.normal_(std=0.2).add_(1.0 if parameter.dim() == 1 else 0.0)
    return model.float().eval()


def written_out(weights, config, sigma, other):
    """Logits [1, positions, vocabulary], from the tensors and the config's own numbers, in float64."""
    w = {name: tensor.double() for name, tensor in weights.items()}
    layers, heads, grouped, d = 3, 4, 2, 32
    size = d // heads
    of_depth = config.get("scale_depth", math.sqrt(layers)) / math.sqrt(layers)
    angles = torch.arange(IDS.shape[1]).double()[:, None] / 10_000.0 ** (
        torch.arange(0, size, 2).double() / size
    )
    cos, sin = torch.cat((angles.cos(),) * 2, -1), torch.cat((angles.sin(),) * 2, -1)

    def linear(x, name):
        y = x @ w[f"{name}.weight"].T
        return y + w[f"{name}.bias"] if f"{name}.bias" in w else y

    def norm(x, name):
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * w[f"{name}.weight"]

    def turned(x):
        halves = torch.cat((-x[..., size // 2 :], x[..., : size // 2]), -1)
        return x * cos + halves * sin

    def attention(x, name):
        q, k, v = (
            linear(x, f"{name}.{part}_proj").unflatten(-1, (-1, size)).transpose(1, 2) for part in "qkv"
        )
        k, v = (each.repeat_interleave(heads // grouped, dim=1) for each in (turned(k), v))
        scores = turned(q) @ k.transpose(-1, -2) / math.sqrt(size)
        ahead = torch.ones(scores.shape[-2:]).triu(1).bool()
        mixed = scores.masked_fill(ahead, -math.inf).softmax(-1) @ v
        return linear(mixed.transpose(1, 2).flatten(2), f"{name}.o_proj")

    def network(x, name):
        up = linear(x, f"{name}.up_proj")
        if f"{name}.gate_proj.weight" not in w:
            return linear(sigma(up), f"{name}.down_proj")
        return linear(
            sigma(linear(x, f"{name}.gate_proj")) * (up if other is None else other(up)), f"{name}.down_proj"
        )

    h = w["model.embed_tokens.weight"][IDS] * config.get("scale_emb", 1.0)
    for i in range(layers):
        at = f"model.layers.{i}"
        h = h + attention(norm(h, f"{at}.input_layernorm"), f"{at}.self_attn") * of_depth
        h = h + network(norm(h, f"{at}.post_attention_layernorm"), f"{at}.mlp") * of_depth
    h = norm(h, "model.norm") / (d / config.get("dim_model_base", d))
    return h @ w.get("lm_head.weight", w["model.embed_tokens.weight"]).T


@pytest.mark.parametrize("case", CASES)
def test_the_model_computes_what_its_description_says(case):
    model_type, options, sigma, other = CASES[case]
    model = random_model(model_type, options)
    with torch.no_grad():
        logits = model(input_ids=IDS).logits
    torch.testing.assert_close(
        logits.double(), written_out(model.state_dict(), options, sigma, other), rtol=1e-4, atol=1e-4
    )
    found = find_sites(model)
    assert found.sites[0].gated == (case != "sparselm, not gated")
    assert found.certificate.largest_difference < 1e-5
    named = found.sites[0].activation
    x = torch.linspace(-2, 2, 41)
    torch.testing.assert_close(named(x), sigma(x))


@pytest.mark.parametrize("case", ["minicpm, relu", "minicpm-s", "sparselm, its leftover", "bamboo"])
def test_a_checkpoint_with_the_authors_config_is_read(case, tmp_path):
    """Their config.json holds their names alone, and names their code, which is not run."""
    model_type, options, sigma, other = CASES[case]
    model = random_model(model_type, options)
    model.save_pretrained(tmp_path)
    config = {"model_type": model_type, **SIZES, **options, "architectures": ["TheirForCausalLM"],
              "auto_map": {"AutoModelForCausalLM": "modeling_theirs.TheirForCausalLM"}}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "modeling_theirs.py").write_text("raise RuntimeError('their code runs')")
    again = load_model(Source(str(tmp_path)), dtype=torch.float32, device="cpu")
    with torch.no_grad():
        expected = written_out(model.state_dict(), options, sigma, other)
        torch.testing.assert_close(again(input_ids=IDS).logits.double(), expected, rtol=1e-4, atol=1e-4)


def test_cett_of_minicpm_is_that_of_plain_loops():
    """A threshold is any number from the last score that may be dropped to the next one: none lies between the two."""
    model = random_model("minicpm", {**MINICPM, "hidden_act": "relu"})
    torch.manual_seed(1)
    ids = torch.randint(2, 97, (48,))
    windows = list(ids.reshape(3, 16))
    measured = measure(model, ids, criterion="cett", knob=0.2, window=16, batch_size=1, allow_untrained=True)
    _, _, ratio, thresholds = plain.sparse(model, windows, "cett", 0.2)
    assert measured.activation_ratio == pytest.approx(ratio, abs=1e-9)
    _, _, layers = plain.run(model, windows)
    for layer, (ours, theirs) in enumerate(zip(measured.thresholds, thresholds, strict=True)):
        scores = np.sort(plain.scores(model, "cett", layer, layers[layer][0], None).flatten().numpy())
        assert np.searchsorted(scores, ours) == np.searchsorted(scores, theirs)
        assert ours == pytest.approx(theirs, rel=1e-5)


def test_fatrelu_without_its_threshold_and_experts_of_minicpm_are_refused():
    with pytest.raises(SparsityLabError, match="without its threshold"):
        random_model("sparsellama", {"hidden_act": "fatrelu"})
    with pytest.raises(SparsityLabError, match="8 experts"):
        random_model("minicpm", {"num_experts": 8})
