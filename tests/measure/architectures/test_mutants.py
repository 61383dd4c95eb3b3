"""Models that compute something else than their sites or their configs say: each of a real class, and refused."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))
from every import small

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure import architectures
from sparsity_lab.measure.model.hooks import tokens_tapped
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.model.proof import check, check_sites

architectures.supported_types()  # makes model types of our own known to transformers

_NAMED = """
    apertus bamboo bitnet dbrx deepseek_v3 ernie4_5 exaone4 gemma3n_text gemma4_text glm4_moe gpt_oss granitemoehybrid
    inkling_text jais2 jetmoe lfm2 llama4_text llama_sparse_relu longcat_flash minicpm minimax_m3_vl_text ministral
    nanochat nemotron_h olmo_hybrid qwen3_5_text qwen3_next rwkv seed_oss sparsellama
"""
FAMILIES = sorted(_NAMED.split())
BIASED = ["jais2", "gpt2", "phi", "starcoder2", "opt", "gpt_neox"]
MIXTURES = ["dbrx", "deepseek_v3", "glm4_moe", "gpt_oss", "granitemoehybrid", "inkling_text", "jetmoe", "llama4_text",
            "longcat_flash", "minimax_m3_vl_text", "nemotron_h", "qwen3_next"]  # fmt: skip
# Where a is a function of g and u at once, and where no module is for the function; DBRX's config names it elsewhere.
WITHOUT_A_MODULE = {"gpt_oss", "lfm2", "rwkv"}
D = 32


def refused(model):
    with pytest.raises(SparsityLabError) as caught:
        find_sites(model)
    return caught.value


def is_activation(module):
    return type(module).__module__ in ("torch.nn.modules.activation", "transformers.activations")


@pytest.mark.thorough(4)
@pytest.mark.parametrize("model_type", sorted(set(FAMILIES) - WITHOUT_A_MODULE - {"dbrx"}))
def test_another_activation_than_the_config_names_is_refused(model_type):
    model = small(model_type)
    layers = {site.name.partition(".layers.")[0] for site in find_sites(model).sites}
    assert len(layers) == 1
    for block in model.modules():
        for name, child in block.named_children():
            if is_activation(child) or isinstance(child, nn.Threshold):
                setattr(block, name, nn.Tanh())
    if model_type == "minimax_m3_vl_text":  # its function is written out in the network
        model.config.swiglu_alpha = 1.0
    refused(model)


@pytest.mark.parametrize("model_type", ["lfm2", "rwkv", "minimax_m3_vl_text"])
def test_a_function_without_a_module_that_is_not_the_one_found_is_refused(model_type):
    model = small(model_type)
    sites = find_sites(model).sites
    index = next(i for i, site in enumerate(sites) if site.sigma is not None)
    wrong = replace(sites[index].sigma, function=torch.sigmoid)
    sites[index] = replace(sites[index], sigma=wrong)
    with pytest.raises(SparsityLabError):
        check_sites(model, sites, source="it", activation=None)


@pytest.mark.thorough(4)
@pytest.mark.parametrize("model_type", sorted(set(FAMILIES) - {"dbrx", "gpt_oss", "jetmoe"}))
def test_gate_and_up_exchanged_are_refused(model_type):
    """Of every dense gated site: what gives u is another map of its network than the one that was found."""
    model = small(model_type)
    sites = find_sites(model).sites
    changed = 0
    for index, site in enumerate(sites):
        if site.routed or not site.gated:
            continue
        network = model.get_submodule(site.name)
        other = next(
            (child for child in network.children() if child is not site.up and is_same_map(child, site.up)),
            None,
        )
        wrong = (
            replace(site, up=other) if other is not None else replace(site, up_is_half=not site.up_is_half)
        )
        with pytest.raises(SparsityLabError):
            check_sites(model, [*sites[:index], wrong, *sites[index + 1 :]], source="it", activation=None)
        changed += 1
    if not changed:
        assert all(site.routed or not site.gated for site in sites)


def is_same_map(module, up):
    return (
        (
            isinstance(module, nn.Linear)
            and isinstance(up, nn.Linear)
            and module.weight.shape == up.weight.shape
        )
        or (is_activation(module) and is_activation(up))
        or (isinstance(module, nn.ReLU) and isinstance(up, nn.ReLU))
    )


@pytest.mark.parametrize("model_type", BIASED)
def test_a_dropped_bias_of_a_down_projection_is_refused(model_type):
    model = small(model_type)
    down = find_sites(model).sites[1].down
    assert down.bias.any()

    class Dropping(type(down)):
        def forward(self, a):
            bias, self.bias = self.bias, nn.Parameter(torch.zeros_like(self.bias))
            try:
                return super().forward(a)
            finally:
                self.bias = bias

    down.__class__ = Dropping
    refused(model)


def parameters_of(experts, *names):
    for name in names:
        at = experts
        for part in name.split("."):
            at = getattr(at, part, None)
        if isinstance(at, torch.Tensor):
            yield at


def without_one(experts, chosen=0):
    """One expert gives nothing, of those that a token comes to."""
    for weight in parameters_of(experts, "down_proj", "output_linear.weight", "down_proj_bias"):
        weight[chosen] = 0.0
    for weight in parameters_of(experts, "mlp.w2"):
        weight.view(experts.num_experts, -1, D)[chosen] = 0.0


def exchanged(experts, chosen=0):
    """The gate's matrices and those of the up branch change places."""
    pairs = [
        list(parameters_of(experts, "gate_proj", "up_proj")),
        list(parameters_of(experts, "mlp.w1", "mlp.v1")),
    ]
    for weight in parameters_of(experts, "gate_up_proj", "input_linear.weight"):
        wide = max((1, 2), key=lambda axis: weight.shape[axis])
        turned = weight.transpose(wide, -1)
        is_side_by_side = getattr(experts, "is_concatenated", True)
        half = turned.shape[-1] // 2
        pairs.append(
            [turned[..., :half], turned[..., half:]]
            if is_side_by_side
            else [turned[..., ::2], turned[..., 1::2]]
        )
    for pair in pairs:
        if len(pair) == 2:
            kept = pair[0].clone()
            pair[0].copy_(pair[1])
            pair[1].copy_(kept)


def without_biases(experts, chosen=0):
    for bias in parameters_of(experts, "down_proj_bias"):
        bias.zero_()


def computed_by(model, change):
    """The model's own computation of its experts uses weights that were changed; the weights themselves are not."""
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    def mutant(experts, *args, **kwargs):
        weights = [(each, each.detach().clone()) for each in experts.parameters()]
        with torch.no_grad():
            change(experts, int(args[1].min()) if len(args) > 2 else 0)
            forward = type(experts).forward
            output = getattr(forward, "__wrapped__", forward)(experts, *args, **kwargs)
            for each, before in weights:
                each.copy_(before)
        return output

    ALL_EXPERTS_FUNCTIONS.register("mutant", mutant)
    for site in find_sites(model).sites:
        if site.routed and site.layout.is_registered:
            site.down.config._experts_implementation = "mutant"
        elif site.routed:
            site.down.forward = mutant.__get__(site.down)


MIXTURE_CASES = [
    *((model_type, without_one) for model_type in MIXTURES),
    *((model_type, exchanged) for model_type in MIXTURES if model_type != "nemotron_h"),
    ("gpt_oss", without_biases),
]


@pytest.mark.thorough(8)
@pytest.mark.parametrize(("model_type", "change"), MIXTURE_CASES)
@pytest.mark.long
def test_experts_that_the_model_computes_otherwise_are_refused(model_type, change):
    model = small(model_type)
    computed_by(model, change)
    assert "do not add up" in refused(model).why


def with_gate_and_up_exchanged_in(experts, chosen):
    """In one expert alone."""
    before = {name: each.detach().clone() for name, each in experts.named_parameters()}
    exchanged(experts)
    for name, each in experts.named_parameters():
        after, rows = (
            each.detach().clone(),
            len(each) // experts.num_experts if name.startswith("mlp.") else 1,
        )
        each.copy_(before[name])
        each[chosen * rows : (chosen + 1) * rows] = after[chosen * rows : (chosen + 1) * rows]


def with_tanh_in(experts, chosen, *inputs):
    """What the module gives where one expert has another activation function."""
    forward, (hidden, which, weights) = type(experts).forward, inputs
    forward = getattr(forward, "__wrapped__", forward)
    others = forward(experts, hidden, which, weights * (which != chosen))
    function, experts.act_fn = experts.act_fn, nn.Tanh()
    try:
        return others + forward(experts, hidden, which, weights * (which == chosen))
    finally:
        experts.act_fn = function


def without_a_token(model):
    """A module of experts and one of them that no token of the proof reaches."""
    sites, seen = [site for site in find_sites(model).sites if site.routed], {}
    with tokens_tapped(sites, lambda site, present: seen.update({site.layer: bool(present.any())})):
        model(input_ids=check._ids(model), use_cache=False)
    return next((site.down, site.expert) for site in sites if not seen[site.layer])


def one_mutant(experts, unreached, kind):
    def changed(*inputs):
        if kind is with_tanh_in:
            return with_tanh_in(experts, unreached, *inputs)
        weights = [(each, each.detach().clone()) for each in experts.parameters()]
        kind(experts, unreached)
        forward = type(experts).forward
        output = getattr(forward, "__wrapped__", forward)(experts, *inputs)
        for each, before in weights:
            each.copy_(before)
        return output

    return changed


UNREACHED = ["deepseek_v3", "glm4_moe", "gpt_oss", "granitemoehybrid", "llama4_text", "longcat_flash", "nemotron_h",
             "qwen3_next", "jetmoe", "dbrx"]  # fmt: skip
UNREACHED_CASES = [
    *((name, without_one) for name in UNREACHED),
    *((name, with_gate_and_up_exchanged_in) for name in UNREACHED if name not in ("nemotron_h", "jetmoe")),
    *(
        (name, with_tanh_in)
        for name in ("deepseek_v3", "glm4_moe", "longcat_flash", "nemotron_h", "qwen3_next")
    ),
]


@torch.no_grad()
@pytest.mark.thorough(6)
@pytest.mark.parametrize(("model_type", "kind"), UNREACHED_CASES)
def test_an_expert_that_no_token_reaches_is_compared_as_well(model_type, kind, monkeypatch):
    """All tokens of the proof are one token, so that most experts are not reached."""
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    model = small(model_type)
    monkeypatch.setattr(check, "_ids", lambda model: torch.full((1, check.TOKENS), 7))
    certificate = find_sites(model).certificate
    assert certificate.experts_compared == certificate.experts > 0
    experts, unreached = without_a_token(model)
    mutant = one_mutant(experts, unreached, kind)
    if hasattr(experts, "config") and model_type not in ("dbrx", "llama4_text", "longcat_flash"):

        def implementation(module, *inputs):
            forward = type(module).forward
            own = getattr(forward, "__wrapped__", forward)
            return mutant(*inputs) if module is experts else own(module, *inputs)

        ALL_EXPERTS_FUNCTIONS.register("one mutant", implementation)
        experts.config._experts_implementation = "one mutant"
    else:
        experts.forward = lambda *inputs: mutant(*inputs)
    error = refused(model)
    assert str(unreached) in error.why


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("approximate", "name"), [("none", "gelu"), ("tanh", "gelu_pytorch_tanh")])
@pytest.mark.parametrize("is_gated", [True, False])
def test_the_two_gelus_are_told_apart_without_a_module_or_a_name(dtype, approximate, name, is_gated):
    model = small("llama").to(dtype)
    model.config.hidden_act = ""
    for block in model.model.layers:
        mlp = block.mlp
        mlp.act_fn = None

        class Inlined(type(mlp)):
            def forward(self, x):
                s = functional.gelu(self.gate_proj(x), approximate=approximate)
                return self.down_proj(s * self.up_proj(x) if is_gated else s)

        mlp.__class__ = Inlined
        if not is_gated:
            mlp.up_proj = None
    found = find_sites(model)
    assert {site.sigma.name for site in found.sites} == {name}
    assert found.activation == name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("is_module", [True, False])
def test_a_config_that_names_the_other_gelu_is_refused(dtype, is_module):
    model = small("llama").to(dtype)
    model.config.hidden_act = "gelu"
    for block in model.model.layers:
        block.mlp.act_fn = nn.GELU(approximate="tanh") if is_module else None
        if not is_module:
            mlp = block.mlp

            class Inlined(type(mlp)):
                def forward(self, x):
                    return self.down_proj(
                        functional.gelu(self.gate_proj(x), approximate="tanh") * self.up_proj(x)
                    )

            mlp.__class__ = Inlined
    assert "is not gelu" in refused(model).why


def test_a_function_that_only_resembles_a_known_one_near_zero_is_refused():
    """SiLU cut off at 11, which the few tokens of the proof do not reach."""
    model = small("llama")
    for block in model.model.layers:
        mlp = block.mlp

        class Inlined(type(mlp)):
            def forward(self, x):
                return self.down_proj(functional.silu(self.gate_proj(x)).clamp(max=11.0) * self.up_proj(x))

        mlp.__class__ = Inlined
    refused(model)
