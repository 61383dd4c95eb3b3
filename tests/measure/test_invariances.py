"""What must not change a measured number: the neurons' order, scales that cancel, how text is batched."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparsity_lab.measure.api import measure, sparsified
from sparsity_lab.measure.checkpoint.loading import Source, load_model, load_tokenizer
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.model.passes import BatchVisitor, Subject
from sparsity_lab.measure.model.windows import cut, encode
from sparsity_lab.measure.search.counts import Counts
from sparsity_lab.measure.sources.texts import read_text
from sparsity_lab.measure.thresholds.masks import ThresholdVisitor, sparse_pass
from tests.at_hand import at_hand

EXAMPLES = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
ACTIVATIONS = pytest.mark.parametrize("activation", ["relu", "silu"])


def mlps(model):
    return [block.mlp for block in model.model.layers]


def near(found, expected):
    """The same but for neurons that rounding moved over a threshold: one in some ten thousand."""
    assert found.thresholds == pytest.approx(expected.thresholds, rel=2e-4)
    assert found.activation_ratio == pytest.approx(expected.activation_ratio, abs=2e-4)
    assert found.dense.mean_loss_nats() == pytest.approx(expected.dense.mean_loss_nats(), abs=1e-5)


@ACTIVATIONS
@given(st.randoms(use_true_random=False), st.sampled_from([0.05, 0.2, 0.6]))
@EXAMPLES
@pytest.mark.long
def test_the_order_of_neurons(llama, own_text, activation, random, knob):
    model = llama(activation=activation)
    ids = own_text(model)
    before = measure(model, ids, knob=knob, window=64)
    with torch.no_grad():
        for mlp in mlps(model):
            order = torch.tensor(random.sample(range(40), 40))
            for weight in (mlp.gate_proj.weight, mlp.up_proj.weight):
                weight.copy_(weight[order].clone())
            mlp.down_proj.weight.copy_(mlp.down_proj.weight[:, order].clone())
    near(measure(model, ids, knob=knob, window=64), before)


@ACTIVATIONS
@given(st.floats(0.05, 20.0))
@EXAMPLES
@pytest.mark.long
def test_scales_of_up_and_down_that_cancel(llama, own_text, activation, scale):
    model = llama(activation=activation)
    ids = own_text(model)
    before = measure(model, ids, knob=0.2, window=64)
    with torch.no_grad():
        for mlp in mlps(model):
            mlp.up_proj.weight.mul_(scale)
            mlp.down_proj.weight.div_(scale)
    near(measure(model, ids, knob=0.2, window=64), before)


@pytest.mark.thorough
@ACTIVATIONS
@pytest.mark.parametrize("power", [-3, 1, 6])
def test_powers_of_two_that_cancel_change_no_count(llama, own_text, activation, power):
    model = llama(activation=activation)
    ids = own_text(model)
    before = measure(model, ids, knob=0.2, window=64)
    with torch.no_grad():
        for mlp in mlps(model):
            mlp.up_proj.weight.mul_(2.0**power)
            mlp.down_proj.weight.mul_(2.0**-power)
    after = measure(model, ids, knob=0.2, window=64)
    assert after.thresholds == before.thresholds
    assert np.array_equal(after.sparse.active, before.sparse.active)
    assert np.array_equal(after.sparse.loss_nats, before.sparse.loss_nats)


@ACTIVATIONS
@given(st.floats(0.02, 2.0))
@EXAMPLES
@pytest.mark.long
def test_thresholds_scale_with_the_down_projection(llama, own_text, activation, scale):
    # One layer: what comes after the FFN changes with its scale, the FFN's own CETT does not.
    model = llama(activation=activation, layers=1)
    ids = own_text(model)
    before = measure(model, ids, knob=0.2, window=64)
    with torch.no_grad():
        mlps(model)[0].down_proj.weight.mul_(scale)
    after = measure(model, ids, knob=0.2, window=64)
    assert after.thresholds == pytest.approx([eps * scale for eps in before.thresholds], rel=2e-4)
    assert after.activation_ratio == pytest.approx(before.activation_ratio, abs=2e-4)


def batched(model, ids, window, *, thresholds=None, knob=None):
    """Results of batch sizes 1, 4 and 16: of one sparse pass, or of a whole measurement."""
    for batch_size in (1, 4, 16):
        if thresholds is None:
            yield measure(model, ids, knob=knob, window=window, batch_size=batch_size).sparse
            continue
        subject = Subject(model, find_sites(model)[1], cut(ids, window=window), batch_size)
        yield sparse_pass(subject, subject.all_rows, visitor=ThresholdVisitor(subject, thresholds), label="")


def the_same(results):
    first, *others = results
    for other in others:
        for field in fields(Counts):
            assert np.array_equal(getattr(first, field.name), getattr(other, field.name)), field.name


def rounds_by_batch(model, ids, window):
    """Whether the bare model gives other bits in another batch: some processors' bfloat16 units do so."""
    windows = cut(ids, window=window)
    rows = windows.inputs(np.arange(windows.count))
    with torch.no_grad():
        whole = model(rows).logits
        return not all(
            torch.equal(whole, torch.cat([model(part).logits for part in rows.split(size)]))
            for size in (1, 4, 16)
        )


def nearly_the_same(results):
    first, *others = results
    for other in others:
        assert np.array_equal(first.seen, other.seen)
        assert other.active.sum() == pytest.approx(first.active.sum(), rel=2e-3)
        assert other.loss_nats.sum() == pytest.approx(first.loss_nats.sum(), rel=2e-3)


@pytest.mark.thorough(4)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("window", [64, 50, 33])
@ACTIVATIONS
@pytest.mark.long
def test_one_pass_counts_the_same_for_every_batch_size(llama, own_text, activation, window, dtype):
    model = llama(activation=activation)
    ids = own_text(model, windows=20)
    the_same(batched(model.to(dtype), ids, window, thresholds=[0.3, 0.4]))


@pytest.mark.thorough
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("window", [64, 50])
@ACTIVATIONS
@pytest.mark.long
def test_a_measurement_counts_the_same_for_every_batch_size(llama, own_text, activation, window, dtype):
    model = llama(layers=3, activation=activation)
    ids = own_text(model, windows=20)
    the_same(batched(model.to(dtype), ids, window, knob=0.2))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stories260K", "relu-2m"])
def test_trained_models_count_the_same_for_every_batch_size(name):
    source = Source(str(at_hand(f"models/{name}")))
    text = {"stories260K": "stories260K_selfgen.txt", "relu-2m": "wikitext2.valid.txt"}[name]
    ids = encode(
        load_tokenizer(source), read_text(at_hand(f"text/{text}"), tokens=2000)[:20_000], tokens=2000
    )
    for dtype in (torch.float32, torch.bfloat16):
        model = load_model(source, dtype=dtype, device="cpu")
        for window in (100, 256):
            if rounds_by_batch(model, ids, window):
                nearly_the_same(batched(model, ids, window, knob=0.1))
            else:
                the_same(batched(model, ids, window, knob=0.1))


@pytest.mark.thorough(3)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@ACTIVATIONS
@pytest.mark.long
def test_the_mask_when_applying_is_the_mask_when_calibrating(llama, own_text, activation, dtype):
    """In the first layer, whose input nothing has changed yet, kept are exactly the scores above eps."""
    model = llama(activation=activation).to(dtype)
    ids = own_text(model)
    found = measure(model, ids, knob=0.2, window=64)
    sites = find_sites(model).sites
    seen = []

    class Watch(BatchVisitor):
        def visit(self, site, a, s):
            if site.layer == 0:
                seen.append((a.float().abs() * site.column_norms() > found.thresholds[0]).sum(dim=(1, 2)))

    subject = Subject(model, sites, cut(ids, window=64), 4)
    subject.losses(subject.all_rows, visitor=Watch(), label="")
    assert torch.cat(seen).tolist() == found.sparse.active[:, 0].tolist()


def test_hooks_are_gone_whatever_happens(llama, own_text):
    model = llama()
    ids = own_text(model)
    measure(model, ids, knob=0.2, window=64)
    with torch.no_grad():
        before = model(input_ids=ids[None, :64]).logits
        with pytest.raises(KeyError), sparsified(model, [0.5, 0.5]):
            raise KeyError
        assert torch.equal(model(input_ids=ids[None, :64]).logits, before)
        with sparsified(model, {"thresholds": [0.5, 0.5], "intermediate_size": 40}) as masked:
            assert not torch.equal(masked(input_ids=ids[None, :64]).logits, before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_counts_merge_in_any_order_and_parts():
    generator = np.random.default_rng(0)
    whole = Counts.empty(6, 2)
    for field in fields(Counts):
        array = getattr(whole, field.name)
        array[...] = generator.integers(1, 9, size=array.shape)
    parts = []
    for rows in ([0, 3], [1], [2, 4, 5]):
        part = Counts.empty(6, 2)
        for field in fields(Counts):
            getattr(part, field.name)[rows] = getattr(whole, field.name)[rows]
        parts.append(part)
    a, b, c = parts
    the_same([whole, a + b + c, c + (a + b), b + c + a])
    assert (a + c).rows.tolist() == [0, 2, 3, 4, 5]
