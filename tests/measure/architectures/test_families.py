"""Dense families, those of architecture files among them, on tiny random models of their real classes."""

import copy
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))
from tiny import CONFIGS, MIXTURES, D, tiny

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure import architectures
from sparsity_lab.measure.api import measure, sparsified
from sparsity_lab.measure.architectures._config import ACTIVATION_KEYS
from sparsity_lab.measure.model.hooks import tapped, up_tapped
from sparsity_lab.measure.model.loaded import find_sites

FAMILIES = sorted(set(CONFIGS) - MIXTURES)
UNGATED = {
    "arcee", "bloom", "codegen", "falcon", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gptj", "mpt",
    "nemotron", "opt", "persimmon", "phi", "starcoder2",
}  # fmt: skip
SIGMAS = {
    "silu": functional.silu,
    "relu": functional.relu,
    "relu2": lambda x: functional.relu(x).square(),
    "gelu": functional.gelu,
    "gelu_new": lambda x: functional.gelu(x, approximate="tanh"),
    "gelu_pytorch_tanh": lambda x: functional.gelu(x, approximate="tanh"),
}
IDS = torch.tensor([[5, 17, 40, 3, 88], [61, 2, 2, 30, 9]])


@pytest.fixture(scope="module")
def models():
    return {model_type: tiny(model_type) for model_type in FAMILIES}


class Recorder:
    """Keeps s, a and y of every site, and can replace a."""

    def __init__(self, replace=lambda site, a: None):
        self.a, self.s, self.y, self.u, self.replace = {}, {}, {}, {}, replace

    def visit(self, site, a, s):
        self.a[site.layer], self.s[site.layer] = a, s
        return self.replace(site, a)

    def visit_output(self, site, a, y):
        self.y[site.layer] = y

    def see_up(self, site, u):
        self.u[site.layer] = u


@torch.no_grad()
def run(model, sites, recorder, ids=IDS):
    with up_tapped(sites, recorder.see_up), tapped(sites, recorder, outputs=True):
        return model(input_ids=ids, use_cache=False).logits


def test_no_model_type_is_claimed_by_two_files():
    claimed = [
        model_type
        for name in registry.names("architectures")
        for model_type in registry.load("architectures", name).MODEL_TYPES
    ]
    assert len(claimed) == len(set(claimed))


@pytest.mark.parametrize("model_type", FAMILIES)
@pytest.mark.long
def test_the_sites_are_found_and_proved(models, model_type):
    name, sites, certificate, _ = find_sites(models[model_type])
    assert name == {"codegen": "gptj", "cohere2": "cohere", "gemma3_text": "gemma3", "glm4": "glm", "olmo3": "olmo2",
                    }.get(model_type, model_type.replace("_", "-"))  # fmt: skip
    assert certificate.largest_difference < 1e-5
    assert [site.gated for site in sites] == [model_type not in UNGATED] * 3
    assert {site.intermediate_size for site in sites} == {128 if model_type in ("bloom", "mpt") else 72}


@pytest.mark.thorough(5)
@pytest.mark.parametrize("model_type", FAMILIES)
def test_the_proof_holds_in_bfloat16(model_type):
    assert len(find_sites(tiny(model_type).bfloat16())[1]) == 3


@pytest.mark.thorough(10)
@pytest.mark.parametrize("model_type", FAMILIES)
@pytest.mark.long
def test_a_is_s_times_u_and_positions_stay_apart(models, model_type):
    """Exactly, for two windows at once; and window by window the activations are the same."""
    model = models[model_type]
    sites, both, alone = find_sites(model)[1], Recorder(), Recorder()
    run(model, sites, both)
    run(model, sites, alone, IDS[1:])
    for site in sites:
        a, s = both.a[site.layer], both.s[site.layer]
        assert a.shape == s.shape == (2, 5, site.intermediate_size)
        assert both.y[site.layer].shape == (2, 5, D)
        assert torch.equal(a, s * both.u[site.layer] if site.gated else s)
        torch.testing.assert_close(a[1], alone.a[site.layer][0], rtol=1e-3, atol=1e-4)


@pytest.mark.thorough(10)
@pytest.mark.parametrize("model_type", FAMILIES)
def test_dropping_neurons_is_zeroing_their_columns_of_w_d(models, model_type):
    """The reference has no hook: a copy of the model whose W_d has those columns set to zero."""
    model = models[model_type]
    sites = find_sites(model)[1]
    drop = [torch.rand(site.intermediate_size, generator=torch.Generator().manual_seed(site.layer)) < 0.5
            for site in sites]  # fmt: skip
    found = run(model, sites, Recorder(lambda site, a: a * ~drop[site.layer]))
    slow = copy.deepcopy(model)
    for site, dropped in zip(find_sites(slow)[1], drop, strict=True):
        weight = site.down.weight.data
        weight[(dropped, slice(None)) if model_type == "gpt2" else (slice(None), dropped)] = 0.0
    with torch.no_grad():
        expected = slow(input_ids=IDS, use_cache=False).logits
        dense = model(input_ids=IDS, use_cache=False).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, dense, atol=1e-2)  # the mask did something, and is gone


@pytest.mark.parametrize("model_type", FAMILIES)
@pytest.mark.long
def test_the_named_activation_is_what_the_module_computes(models, model_type):
    model = models[model_type]
    config = model.config.get_text_config()
    name = architectures.activation_name(config, architectures.find(config)[1])
    x = torch.linspace(-6, 6, 101)
    torch.testing.assert_close(find_sites(model)[1][0].activation(x), SIGMAS[name](x), rtol=1e-5, atol=1e-6)


@pytest.mark.thorough(5)
@pytest.mark.parametrize("model_type", sorted(set(FAMILIES) - {"bloom", "mpt"}))
def test_a_config_that_names_another_activation_is_refused(model_type):
    model = tiny(model_type)
    key = next(key for key in ACTIVATION_KEYS if getattr(model.config, key, None))
    setattr(model.config, key, "tanh")
    with pytest.raises(SparsityLabError, match="is not tanh: they differ by"):
        find_sites(model)


def test_the_text_part_of_a_model_that_reads_pictures_is_measured():
    from transformers import AutoModelForImageTextToText, Gemma3Config

    vision = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": 28, "patch_size": 14}  # fmt: skip
    config = Gemma3Config(text_config=CONFIGS["gemma3_text"], vision_config=vision, mm_tokens_per_image=4)
    model = AutoModelForImageTextToText.from_config(config).float().eval()
    name, sites, *_ = find_sites(model)
    assert name == "gemma3"
    assert [site.name for site in sites] == [f"model.language_model.layers.{i}.mlp" for i in range(3)]


@pytest.mark.parametrize("model_type", ["opt", "phi3", "gpt2", "bloom"])
@pytest.mark.parametrize("criterion", ["cett", "cats", "per-channel"])
@pytest.mark.long
def test_the_layouts_that_differ_most_are_measured_alike_in_any_batch(models, model_type, criterion):
    """Text written by the model itself, so that its dense loss is plausible; BOS in front."""
    model = models[model_type]
    if criterion == "per-channel" and model_type in UNGATED:
        with pytest.raises(SparsityLabError, match="needs a gate"):
            measure(model, torch.arange(64), criterion=criterion, knob=0.3, window=16)
        return
    torch.manual_seed(1)
    options = {
        "max_new_tokens": 16,
        "do_sample": True,
        "temperature": 0.3,
        "eos_token_id": None,
        "pad_token_id": 0,
    }
    ids = model.generate(torch.zeros(3, 1, dtype=torch.long), **options)[:, 1:].flatten()
    one, three = (
        measure(model, ids, criterion=criterion, knob=0.3, window=16, bos_id=0, batch_size=size)
        for size in (1, 3)
    )
    assert (one.sparse.active == three.sparse.active).all()
    assert 0.05 < one.activation_ratio < 0.99


@pytest.mark.parametrize("model_type", ["opt", "phi3", "gpt2", "falcon"])
def test_generation_runs_under_thresholds(models, model_type):
    """One position at a time with a cache: the hooks see [batch, 1, F]."""
    model = models[model_type]
    prompt = torch.tensor([[4, 9, 30]])
    options = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    free = model.generate(prompt, **options)
    with sparsified(model, [0.0, 0.0, 0.0]):
        assert torch.equal(model.generate(prompt, **options), free)
    with sparsified(model, [1e9, 1e9, 1e9]):
        cut = model(input_ids=prompt).logits
    assert not torch.allclose(cut, model(input_ids=prompt).logits, atol=1e-3)
