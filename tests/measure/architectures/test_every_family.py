"""Every causal family of the installed transformers: measured with a certificate, or refused with a reason."""

import sys
from pathlib import Path

import pytest
import torch
import transformers

sys.path.insert(0, str(Path(__file__).parent))
from every import FAMILIES, PAGE, UNBUILT, row, small

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.model.hooks import tapped
from sparsity_lab.measure.model.loaded import find_sites

ROWS = {line.split("`")[1]: line for line in PAGE.read_text().splitlines() if line.startswith("| `")}
MEASURED = sorted(name for name, line in ROWS.items() if "| yes |" in line)
IDS = torch.tensor([[5, 17, 40, 3, 88], [61, 2, 22, 30, 9]])

pytestmark = pytest.mark.skipif(
    f"transformers {transformers.__version__} " not in PAGE.read_text(),
    reason="the page is of another version of transformers",
)


class Masking:
    """Drops half of the neurons of every site."""

    def __init__(self, sites):
        generator = torch.Generator().manual_seed(0)
        self.dropped = [torch.rand(site.intermediate_size, generator=generator) < 0.5 for site in sites]

    def visit(self, site, a, s):
        return a * ~self.dropped[site.layer]

    def visit_output(self, site, a, y):
        pass


@torch.no_grad()
def logits(model):
    return model(input_ids=IDS, use_cache=False).logits


def test_the_page_speaks_of_every_family():
    assert sorted(ROWS) == FAMILIES
    assert not set(ROWS) & UNBUILT
    assert len(MEASURED) >= 95


@pytest.mark.thorough(20)
@pytest.mark.parametrize("model_type", MEASURED)
def test_dropping_neurons_is_zeroing_their_columns_of_w_d(model_type):
    """The reference has no hook: the model itself after its columns of W_d were set to zero."""
    model = small(model_type)
    found = find_sites(model)
    assert found.certificate.largest_difference < 1e-5
    assert found.certificate.sites == len(found.sites)
    dense, masking = logits(model), Masking(found.sites)
    with tapped(found.sites, masking):
        masked = logits(model)
    for site in found.sites:
        site.down_weight().data[:, masking.dropped[site.layer]] = 0.0
    expected = logits(model)
    torch.testing.assert_close(masked, expected, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(masked, dense, atol=1e-2)


@pytest.mark.thorough(8)
@pytest.mark.parametrize("model_type", FAMILIES)
def test_the_page_is_right(model_type):
    assert row(model_type) == ROWS[model_type]


@pytest.mark.parametrize("model_type", ["mamba", "axk2", "cpmant"])
def test_what_cannot_be_measured_is_refused_by_the_name_of_its_part(model_type):
    with pytest.raises(SparsityLabError) as refused:
        find_sites(small(model_type))
    assert refused.value.what in ROWS[model_type]


def test_a_model_that_asks_for_more_than_token_ids_is_refused():
    model = small("llama")
    model.model.layers[1].mlp.forward = lambda hidden, language: hidden
    with pytest.raises(SparsityLabError, match="cannot read"):
        find_sites(model)


@pytest.mark.parametrize("model_type", ["helium", "jais2", "modernbert-decoder", "bitnet", "recurrent_gemma"])
def test_another_activation_than_the_config_names_is_refused(model_type):
    model = small(model_type)
    for block in model.modules():
        for name, child in block.named_children():
            if type(child).__module__ in ("torch.nn.modules.activation", "transformers.activations"):
                setattr(block, name, torch.nn.Tanh())
    with pytest.raises(SparsityLabError, match="they differ by"):
        find_sites(model)


def test_a_network_whose_function_is_not_known_is_refused_and_no_layer_left_out():
    """Sine is nobody's activation function: the layer is named, and the other layers are not measured without it."""
    model = small("lfm2")
    network = model.model.layers[1].feed_forward
    network.forward = lambda x: network.w2(torch.sin(network.w1(x)) * network.w3(x))
    with pytest.raises(SparsityLabError, match=r"model\.layers\.1\.feed_forward"):
        find_sites(model)


def test_a_model_with_dropout_in_its_evaluation_is_refused_by_the_name_of_its_module():
    model = small("llama")
    mlp = model.model.layers[1].mlp
    plain = type(mlp).forward
    mlp.forward = lambda x: torch.nn.functional.dropout(plain(mlp, x), 0.3, training=True)
    with pytest.raises(SparsityLabError) as refused:
        find_sites(model)
    assert "model.layers.1.mlp" in refused.value.what


@pytest.mark.parametrize("returns", [lambda x, y: x + y, lambda x, y: y])
def test_a_block_of_norm_and_network_is_no_norm(returns):
    """As CPM-Ant's, which holds the norm before its network as well; that model is refused because it looks ahead."""
    model = small("llama")
    sites = [site.name for site in find_sites(model).sites]

    class WithNorm(torch.nn.Module):
        def __init__(self, block):
            super().__init__()
            self.norm, self.inner = block.post_attention_layernorm, block.mlp

        def forward(self, x):
            return returns(x, self.inner(self.norm(x)))

    for block in model.model.layers:
        block.mlp = WithNorm(block)
        block.post_attention_layernorm = torch.nn.Identity()
    assert [site.name for site in find_sites(model).sites] == [f"{name}.inner" for name in sites]


def test_a_model_that_looks_ahead_is_refused():
    model = small("bert")
    model.config.is_decoder = False
    for module in model.modules():
        if hasattr(module, "is_causal"):
            module.is_causal = False
    with pytest.raises(SparsityLabError, match="looks ahead"):
        find_sites(model)
