"""Every rule over the whole range of its knob and its targets, beside plain loops; what misses its target says so."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from sparsity_lab import registry
from sparsity_lab.measure.api import measure
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.thresholds.cett_passes import output_norms
from tests.measure import plain

WINDOW, WINDOWS, F, LAYERS = 24, 6, 24, 2
CRITERIA = registry.names("criteria")
SEARCHED = [name for name in CRITERIA if registry.load("criteria", name).KNOB.scale != "none"]
WHOLE_NEURONS = ("top-k", "wina-down")  # a token's ratio moves by 1/F

# Typical values, and ever nearer to both ends of a range from 0 to 1, the ends themselves among them.
shares = st.one_of(
    st.sampled_from([0.0, 1.0]),
    st.floats(0.01, 0.99),
    st.floats(1.0, 6.0).map(lambda n: 10.0**-n),
    st.floats(1.0, 4.0).map(lambda n: 1.0 - 10.0**-n),
)
sizes = st.one_of(st.sampled_from([0.0, 1e6]), st.floats(-6.0, 2.0).map(lambda n: 10.0**n))
few = settings(max_examples=20, deadline=None, derandomize=True)


def seeds(test):
    """Models drawn from three seeds, one of them in the quick run."""
    return pytest.mark.thorough(1)(pytest.mark.parametrize("seed", range(3))(test))


def tiny(activation, dtype, seed):
    """A random LLaMA whose predictions are peaked, and text it wrote itself."""
    config = LlamaConfig(
        vocab_size=64, hidden_size=12, intermediate_size=F, num_hidden_layers=LAYERS, num_attention_heads=2,
        max_position_embeddings=64, hidden_act=activation, tie_word_embeddings=False,
    )  # fmt: skip
    return with_text(LlamaForCausalLM(config), dtype, seed)


@torch.no_grad()
def with_text(model, dtype, seed):
    """A model with random weights, and windows [WINDOWS, WINDOW] it wrote itself in float32."""
    generator = torch.Generator().manual_seed(seed)
    model.eval()
    for name, weight in model.named_parameters():
        if "norm" not in name and "ln_" not in name:
            weight.copy_(torch.randn(weight.shape, generator=generator) / weight.shape[-1] ** 0.5)
    model.get_input_embeddings().weight.mul_(12**0.5)
    model.get_output_embeddings().weight.mul_(4.0)
    ids = torch.randint(0, 64, (WINDOWS, 1), generator=generator)
    while ids.shape[1] < WINDOW:
        chances = model(input_ids=ids).logits[:, -1].softmax(dim=-1)
        ids = torch.cat([ids, torch.multinomial(chances, 1, generator=generator)], dim=1)
    return model.to(dtype), ids


@seeds
@given(
    st.sampled_from(CRITERIA), shares, sizes, st.sampled_from(["relu", "silu"]),
    st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
)  # fmt: skip
@few
@pytest.mark.long
def test_a_fixed_knob_drops_what_the_definition_says(seed, criterion, share, size, activation, dtype):
    knob = {"fat": size, "relu-zero": 0.0}.get(criterion, share)
    model, windows = tiny(activation, dtype, seed)
    found = measure(model, windows.flatten(), criterion=criterion, knob=knob, window=WINDOW)
    dense, loss, ratio, _ = plain.sparse(model, windows, criterion, knob)
    exact = dtype == torch.float32
    # A threshold between the same two scores drops the same; one activation a layer may fall on either side.
    assert found.activation_ratio == pytest.approx(ratio, abs=2.01 / (WINDOW * WINDOWS * F), rel=1e-9)
    assert found.dense.mean_loss_nats() == pytest.approx(dense, abs=1e-5 if exact else 2e-2)
    assert found.sparse.mean_loss_nats() == pytest.approx(loss, abs=0.05)
    assert math.isfinite(found.spread.loss_delta_nats)


@seeds
@given(st.floats(0.5, 0.9999), st.sampled_from(["relu", "silu"]))
@settings(max_examples=10, deadline=None, derandomize=True)
@pytest.mark.long
def test_thresholds_near_everything_dropped_are_the_largest_whose_cett_is_at_most_c(seed, c, activation):
    model, windows = tiny(activation, torch.float32, seed)
    found = measure(model, windows.flatten(), knob=c, window=WINDOW)
    _, _, layers = plain.run(model, windows)
    for layer, ((a, _, _), eps) in enumerate(zip(layers, found.thresholds, strict=True)):
        scores, mean = plain.cett_curve(model, layer, a)
        dropped = int(np.searchsorted(scores, eps * (1 + 4e-5), side="right")) - 1
        following = int(np.searchsorted(scores, eps * (1 - 4e-5), side="right"))
        begin = max(
            min(following - 1, dropped - 2), 0
        )  # scores as near as the threshold is exact may be on either side
        assert mean[begin : dropped + 1].min() <= c * (1 + 1e-6), "what is dropped costs at most c"
        later = mean[following:]
        # The mean of few tokens may fall back below c once more; then it was a percent above c in between.
        last = np.flatnonzero(later <= c)
        assert not len(last) or last[-1] < 3 or later[: last[-1]].max() > 1.0099 * c


@seeds
@given(
    st.sampled_from(SEARCHED), st.floats(-3.0, 1.0).map(lambda n: 10.0**n), st.sampled_from(["relu", "silu"]),
    st.sampled_from([torch.float32, torch.bfloat16]),
)  # fmt: skip
@few
@pytest.mark.long
def test_a_search_meets_its_rise_of_perplexity_or_says_that_it_does_not(
    seed, criterion, p, activation, dtype
):
    model, windows = tiny(activation, dtype, seed)
    found = measure(model, windows.flatten(), criterion=criterion, ppl_increase=p, window=WINDOW)
    again = measure(model, windows.flatten(), criterion=criterion, knob=found.knob, window=WINDOW)
    missed = abs(found.loss_delta_nats - math.log1p(p))
    if not {"off_target", "not_reached"} & set(found.flags):
        assert missed <= max(0.1 * math.log1p(p), found.spread.loss_delta_nats / 2)
    knob = registry.load("criteria", criterion).KNOB
    low, high = found.spread.knob
    assert knob.low <= low <= found.knob * (1 + 1e-9)
    assert found.knob * (1 - 1e-9) <= high <= knob.high
    # The knob found is the one whose thresholds were applied: measured at it the same neurons stay, but for the half
    # percent of scores that may lie in one bin of a quantile, and thresholds a percent apart.
    assert again.activation_ratio == pytest.approx(found.activation_ratio, rel=0.02, abs=0.006)
    assert math.isfinite(found.spread.activation_ratio)


@seeds
@given(
    st.sampled_from(SEARCHED), st.one_of(st.floats(0.02, 0.98), st.floats(1.0, 3.0).map(lambda n: 10.0**-n)),
    st.sampled_from([torch.float32, torch.bfloat16]),
)  # fmt: skip
@few
@pytest.mark.long
def test_a_search_meets_its_activation_ratio_or_says_that_it_does_not(seed, criterion, ratio, dtype):
    model, windows = tiny("silu", dtype, seed)
    found = measure(model, windows.flatten(), criterion=criterion, activation_ratio=ratio, window=WINDOW)
    if not {"off_target", "not_reached"} & set(found.flags):
        # The odds are held to a share of the rarer side, which is the ratio itself where few neurons stay.
        assert found.activation_ratio == pytest.approx(
            ratio, rel=0.012 if ratio <= 0.5 else None, abs=0.012 * (1 - ratio) if ratio > 0.5 else 0
        )
    fixed = measure(model, windows.flatten(), criterion=criterion, knob=found.knob, window=WINDOW)
    assert found.spread.loss_delta_nats < 20 * fixed.spread.loss_delta_nats + 0.2
    knob = registry.load("criteria", criterion).KNOB
    assert knob.low <= found.spread.knob[0] <= found.spread.knob[1] <= knob.high


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("criterion", WHOLE_NEURONS)
@pytest.mark.long
def test_equal_scores_do_not_keep_more_than_k(criterion, dtype):
    model, windows = tiny("silu", dtype, 0)
    for k in (1, 6, 13, 23):
        found = measure(model, windows.flatten(), criterion=criterion, knob=k / F, window=WINDOW)
        assert found.activation_ratio <= k / F
        assert found.activation_ratio == pytest.approx(k / F, abs=0.01), "only exact zeros may be fewer"


@torch.no_grad()
def test_a_bias_of_the_down_projection_does_not_leave_its_rounding_behind():
    """In bfloat16 W_d a + b is rounded with a large b in it; ||W_d a|| must not be."""
    config = GPT2Config(
        vocab_size=64, n_positions=64, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0,
        tie_word_embeddings=False,
    )  # fmt: skip
    model, _ = with_text(GPT2LMHeadModel(config), torch.float32, 0)
    model.transformer.h[0].mlp.c_proj.bias.fill_(30.0)
    site = find_sites(model)[1][0]
    a = torch.randn(1, WINDOW, site.intermediate_size)
    weight, bias = site.down_weight(), site.down_bias()
    exact = torch.linalg.vector_norm(a @ weight.T, dim=-1)
    half, y = model.to(torch.bfloat16), (a @ weight.T + bias).to(torch.bfloat16)
    norms = output_norms(find_sites(half)[1][0], a.to(torch.bfloat16), y)
    assert norms == pytest.approx(exact, rel=0.005)
