"""Python functions on a live model: its own numbers whatever state it is in, and that state afterwards."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.api import live_under, measure, measure_under, sparsified
from sparsity_lab.measure.live.live_model import plain
from sparsity_lab.measure.live.live_record import live_fingerprint
from sparsity_lab.measure.neurons.api import watch_neurons
from sparsity_lab.measure.neurons.predictors.api import predict_active
from sparsity_lab.measure.neurons.predictors.rows import predictor_rows
from sparsity_lab.measure.neurons.predictors.spec import PredictorSettings
from sparsity_lab.measure.neurons.rows import layer_rows
from sparsity_lab.measure.neurons.structure.api import examine_structure
from sparsity_lab.measure.neurons.structure.rows import quality_rows
from sparsity_lab.measure.neurons.structure.spec import StructureSettings
from sparsity_lab.measure.token_heat import token_heat

THRESHOLDS = [0.02, 0.05]
WINDOW = 32
PREDICT = PredictorSettings(ranks=(4,), epochs=2)


def fresh(folder):
    """A model with dropout, of which an evaluation tells nothing."""
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.3
    return model


@pytest.fixture
def model(trained):
    return fresh(trained)


@pytest.fixture(scope="module")
def tokenizer(trained):
    return AutoTokenizer.from_pretrained(trained)


@pytest.fixture(scope="module")
def ids(tokenizer, source_text):
    text = source_text.read_text(encoding="utf-8")
    return torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"][:512])


def losses_under(model, ids):
    with sparsified(model, THRESHOLDS), torch.no_grad():
        return float(model(input_ids=ids[None, :64], labels=ids[None, :64], return_dict=True).loss)


def mean_loss(model, ids):
    with live_under(model, ids, THRESHOLDS, window=WINDOW) as live:
        return float(live.subject.model(input_ids=ids[None, :64], labels=ids[None, :64]).loss)


CALLS = {
    "measure at a knob": lambda model, ids, _: measure(model, ids, knob=0.1, window=WINDOW).ppl_ratio,
    "measure at PPL-p%": lambda model, ids, _: measure(model, ids, window=WINDOW).ppl_ratio,
    "measure at a ratio": lambda model, ids, _: (
        measure(model, ids, activation_ratio=0.2, window=WINDOW).ppl_ratio
    ),
    "measure_under": lambda model, ids, _: measure_under(model, ids, THRESHOLDS, window=WINDOW).ppl_ratio,
    "live_under": lambda model, ids, _: mean_loss(model, ids),
    "sparsified": lambda model, ids, _: losses_under(model, ids),
    "watch_neurons": lambda model, ids, _: layer_rows(
        watch_neurons(model, ids, thresholds=THRESHOLDS, window=WINDOW)
    ),
    "examine_structure": lambda model, ids, _: quality_rows(
        examine_structure(
            model, ids, thresholds=THRESHOLDS, window=WINDOW, settings=StructureSettings(clusters=8)
        )
    ),
    "predict_active": lambda model, ids, _: predictor_rows(
        predict_active(model, ids, thresholds=THRESHOLDS, window=WINDOW, settings=PREDICT)
    ),
    "token_heat": lambda model, ids, tokenizer: token_heat(
        model, tokenizer, tokenizer.decode(ids[:60]), THRESHOLDS, tokens=40
    )["loss_sparse_nats"],
}


@pytest.fixture(scope="module")
def expected(trained, ids, tokenizer):
    """What each call finds of a model as it was loaded."""
    model = fresh(trained).eval()
    return {name: str(call(model, ids, tokenizer)) for name, call in CALLS.items()}


def training(model):
    model.train()


def half_training(model):
    model.train()
    model.model.layers[0].eval()


def tuples(model):
    model.config.return_dict = False


def checkpointing(model):
    model.train()
    model.gradient_checkpointing_enable()


def hooked(model):
    model.model.layers[0].mlp.register_forward_hook(lambda module, inputs, output: None)


STATES = (training, half_training, tuples, checkpointing, hooked)


def state_of(model):
    """All that a measurement might leave changed."""
    return {
        "flags": [module.training for module in model.modules()],
        "gradients": [(weight.requires_grad, weight.grad) for weight in model.parameters()],
        "weights": live_fingerprint(model),
        "config": model.config.to_json_string(use_diff=False),
        "hooks": [[*module._forward_hooks, *module._forward_pre_hooks] for module in model.modules()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "random": (torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()),
        "torch": (torch.is_grad_enabled(), torch.get_default_dtype(), torch.is_inference_mode_enabled()),
    }


@pytest.mark.thorough(10)  # each call and each state
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("change", STATES)
@pytest.mark.long
def test_the_numbers_are_those_of_evaluation_and_the_state_is_as_before(
    model, ids, tokenizer, expected, name, change
):
    change(model)
    before = state_of(model)
    assert str(CALLS[name](model, ids, tokenizer)) == expected[name]
    after = state_of(model)
    assert [key for key in before if after[key] != before[key]] == []


@pytest.mark.parametrize("name", CALLS)
def test_the_state_is_as_before_when_it_fails(model, ids, tokenizer, name):
    half_training(model)
    tuples(model)

    def fail(module, inputs, output):
        raise KeyboardInterrupt

    calls = []
    model.lm_head.register_forward_hook(lambda *_: calls.append(1) or (len(calls) > 1 and fail(*_)) or None)
    before = state_of(model)
    with pytest.raises(KeyboardInterrupt):
        CALLS[name](model, ids, tokenizer)
    after = state_of(model)
    assert [key for key in before if after[key] != before[key]] == []


def test_autocast_of_the_caller_does_not_count(model, ids, tokenizer):
    expected = measure(model, ids, knob=0.1, window=WINDOW).ppl_ratio
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert measure(model, ids, knob=0.1, window=WINDOW).ppl_ratio == expected
        assert torch.is_autocast_enabled("cpu")


def test_training_goes_on_after_a_measurement_in_inference_mode(model, ids):
    with torch.inference_mode():
        measure(model, ids, knob=0.1, window=WINDOW)
    model.train()(input_ids=ids[None, :64], labels=ids[None, :64]).loss.backward()
    assert all(weight.grad is not None for weight in model.parameters())


@pytest.fixture
def one_process():
    """A process group of this process alone."""
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def compiled(model):
    whole = torch.compile(model, backend="eager")
    whole(input_ids=torch.arange(1, 9)[None])  # compiled before any hook is there
    return whole


def compiled_forward(model):
    model.forward = torch.compile(model.forward, backend="eager")
    model(input_ids=torch.arange(1, 9)[None])
    return model


def compiled_layers(model):
    for layer in model.model.layers:
        layer.mlp.compile(backend="eager")
    model(input_ids=torch.arange(1, 9)[None])
    return model


WRAPPERS = {
    "compiled": compiled,
    "compiled forward": compiled_forward,
    "compiled layers": compiled_layers,
    "DataParallel": nn.DataParallel,
    "DistributedDataParallel": nn.parallel.DistributedDataParallel,
    "compiled DistributedDataParallel": lambda model: torch.compile(
        nn.parallel.DistributedDataParallel(model), backend="eager"
    ),
}


@pytest.mark.thorough(1)
@pytest.mark.parametrize("name", WRAPPERS)
@pytest.mark.long
def test_wrapped_models_give_the_numbers_of_the_model_inside(
    model, ids, tokenizer, expected, one_process, name
):
    with torch.no_grad():
        wrapped = WRAPPERS[name](model)
    wrapped.train()
    assert {call: str(CALLS[call](wrapped, ids, tokenizer)) for call in CALLS} == expected
    assert wrapped.training
    assert all(module.training for module in model.modules())


class Lightning(nn.Module):
    """A wrapper of somebody's own."""

    def __init__(self, model):
        super().__init__()
        self.net = model


def sharded_by_fsdp(model):
    from torch.distributed.fsdp import FullyShardedDataParallel

    return FullyShardedDataParallel(model, device_id=torch.device("cpu"))


def sharded_by_fsdp2(model):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
    return model


def offloaded(model):
    model.model.layers[1].to("meta")
    return model


REFUSED = {
    "FSDP": (sharded_by_fsdp, "sharded by FSDP"),
    "FSDP2": (sharded_by_fsdp2, "sharded by FSDP"),
    "offloaded": (offloaded, "is not on this process's device"),
    "a wrapper of somebody's own": (Lightning, r"Lightning is not a causal.*model\.net"),
    "no causal language model": (lambda model: model.model.norm, "is not a causal language model"),
    "no module": (lambda model: model.forward, "is not a causal language model"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrappers_that_hide_the_weights_are_refused_by_name(model, ids, tokenizer, one_process, name):
    wrap, said = REFUSED[name]
    wrapped = wrap(model)
    for call in CALLS.values():
        with pytest.raises(SparsityLabError, match=said):
            call(wrapped, ids, tokenizer)


class LoraLinear(nn.Module):
    """A layer as peft's: the base layer and what an adapter adds."""

    def __init__(self, base_layer):
        super().__init__()
        self.base_layer, self.active_adapters = base_layer, ["default"]
        self.merged = self.disable_adapters = False
        self.more = nn.Linear(base_layer.in_features, base_layer.out_features, bias=False)

    @property
    def weight(self):
        return self.base_layer.weight

    @property
    def bias(self):
        return self.base_layer.bias

    def forward(self, x):
        y = self.base_layer(x)
        return y if self.merged or self.disable_adapters else y + self.more(x)


@pytest.mark.thorough(1)
@pytest.mark.parametrize("module", ["self_attn.q_proj", "mlp.up_proj", "mlp.down_proj"])
@pytest.mark.long
def test_an_adapter_counts_when_it_is_merged_and_not_when_it_is_off(model, ids, tokenizer, expected, module):
    parent, _, name = f"model.layers.1.{module}".rpartition(".")
    layer = LoraLinear(model.get_submodule(f"{parent}.{name}"))
    setattr(model.get_submodule(parent), name, layer)
    for call in CALLS.values():
        with pytest.raises(SparsityLabError, match=f"not merged into its weights, in {parent}.{name}"):
            call(model, ids, tokenizer)
    layer.disable_adapters = True
    assert {call: str(CALLS[call](model, ids, tokenizer)) for call in CALLS} == expected
    layer.disable_adapters, layer.merged = False, True
    layer.base_layer.weight.data += layer.more.weight.data / 10
    assert str(CALLS["measure at a knob"](model, ids, tokenizer)) != expected["measure at a knob"]


def test_peft_itself_is_refused_with_the_call_to_make(model, ids):
    peft = pytest.importorskip("peft")
    lora = peft.LoraConfig(r=2, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    expected = measure(model, ids, knob=0.1, window=WINDOW).ppl_ratio
    wrapped = peft.get_peft_model(model, lora)
    for each in (wrapped, wrapped.get_base_model()):
        with pytest.raises(SparsityLabError, match="merge_and_unload"):
            measure(each, ids, knob=0.1, window=WINDOW)
    with wrapped.disable_adapter():
        assert measure(wrapped.get_base_model(), ids, knob=0.1, window=WINDOW).ppl_ratio == expected
    assert measure(wrapped.merge_and_unload(), ids, knob=0.1, window=WINDOW).ppl_ratio == pytest.approx(
        expected
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_other_precisions_give_nearly_the_same(model, ids, dtype):
    expected = measure(model, ids, knob=0.1, window=WINDOW)
    found = measure(model.to(dtype), ids, knob=0.1, window=WINDOW)
    assert found.activation_ratio == pytest.approx(expected.activation_ratio, rel=0.02)
    assert next(model.parameters()).dtype == dtype


@pytest.mark.parametrize(("dtype", "beyond"), [(torch.float16, 3e5), (torch.float32, 1e38)])
def test_an_overflow_names_the_dtype(model, ids, dtype, beyond):
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mlp.down_proj.weight.mul_(beyond / layer.mlp.down_proj.weight.abs().max())
            layer.mlp.up_proj.weight.mul_(10)
    model.to(dtype)
    with pytest.raises(SparsityLabError) as refused:
        measure(model, ids, knob=0.1, window=WINDOW)
    assert str(dtype).removeprefix("torch.") in refused.value.paragraph()
    assert "architecture" not in refused.value.paragraph()


@pytest.mark.parametrize(
    ("dtype", "said"), [(torch.float8_e4m3fn, "cannot be read"), (torch.float64, "float64")]
)
def test_dtypes_that_cannot_be_measured_are_refused(model, ids, dtype, said):
    with pytest.raises(SparsityLabError, match=said):
        measure(model.to(dtype), ids, knob=0.1, window=WINDOW)


@pytest.mark.parametrize("name", ["model.layers.1.mlp.up_proj.weight", "model.norm.weight"])
def test_the_fingerprint_of_a_live_model_sees_every_value(model, name):
    weight = model.get_parameter(name).data.flatten()
    seen = {live_fingerprint(model)}
    for place in range(0, weight.numel(), max(1, weight.numel() // 7)):
        weight[place] += 1
        seen.add(live_fingerprint(model))
    assert len(seen) == 1 + len(range(0, weight.numel(), max(1, weight.numel() // 7)))


def test_a_bare_model_is_itself(model):
    assert plain(model) is model
