"""Neuron counts against plain loops over stored masks, to the last integer, and what must not change them."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from sparsity_lab.measure.api import measure
from sparsity_lab.measure.checkpoint.loading import Source, load_model, load_tokenizer
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.model.windows import cut, encode
from sparsity_lab.measure.neurons import lanes
from sparsity_lab.measure.neurons.counts import GROUPS, NeuronCounts
from sparsity_lab.measure.neurons.visitor import neuron_pass
from sparsity_lab.measure.search.engine import at_thresholds
from sparsity_lab.measure.sources.texts import read_text
from sparsity_lab.measure.thresholds.stored import Calibration
from tests.at_hand import at_hand


def subject_of(model, ids, *, window, bos_id=None, batch_size=3):
    return Subject(model, find_sites(model)[1], cut(ids, window=window, bos_id=bos_id), batch_size)


@torch.no_grad()
def masks_of(subject, thresholds):
    """Sets of active neurons, [layer][window][token]: a window at a time, one hook of its own a layer."""
    sets = [[] for _ in subject.sites]

    def hook(layer, weights, eps):
        def before(module, inputs):
            a = inputs[0]
            keep = (a.float().abs() * weights > eps) & (a != 0)
            skipped = int(subject.windows.bos_id is not None)
            sets[layer].append([set(row.nonzero().flatten().tolist()) for row in keep[0, skipped:]])
            return (torch.where(keep, a, 0.0), *inputs[1:])

        return before

    handles = []
    for site, eps in zip(subject.sites, thresholds, strict=True):
        weights = site.down.weight.double().square().sum(dim=0).sqrt().float()
        handles.append(site.down.register_forward_pre_hook(hook(site.layer, weights, eps)))
    for row in subject.all_rows:
        subject.model(input_ids=subject.windows.inputs(np.array([row])), use_cache=False)
    for handle in handles:
        handle.remove()
    return sets


def recount(subject, sets):
    """Every integer of `NeuronCounts` by plain loops, as a dictionary; groups are added up."""
    ids, sizes = subject.windows.ids.tolist(), [site.intermediate_size for site in subject.sites]
    vocabulary, window = subject.model.config.vocab_size, subject.windows.window
    layers, levels = len(sizes), window.bit_length()
    found = {
        "fired": [[0] * size for size in sizes],
        "followed": [0] * layers,
        "shared": [0] * layers,
        "chunk_active": [[0] * layers for _ in range(levels)],
        "prefix_active": [[0] * layers for _ in range(levels)],
        "token_count": [0] * vocabulary,
        "token_active": [[0] * vocabulary for _ in range(layers)],
        "token_windows": [0] * vocabulary,
        "token_squares": [[0] * vocabulary for _ in range(3)],
        "position_active": [[0] * window for _ in range(layers)],
        "position_square": [0] * window,
    }
    for w, row in enumerate(ids):
        for t, token in enumerate(row):
            found["token_count"][token] += 1
            found["position_square"][t] += sum(len(sets[layer][w][t]) for layer in range(layers)) ** 2
        for token in set(row):
            places = [t for t in range(window) if row[t] == token]
            s = sum(len(sets[layer][w][t]) for layer in range(layers) for t in places)
            found["token_windows"][token] += 1
            for index, value in enumerate((s * s, s * len(places), len(places) ** 2)):
                found["token_squares"][index][token] += value
    for layer in range(layers):
        for w, row in enumerate(ids):
            active = sets[layer][w]
            for t, token in enumerate(row):
                for neuron in active[t]:
                    found["fired"][layer][neuron] += 1
                found["token_active"][layer][token] += len(active[t])
                found["position_active"][layer][t] += len(active[t])
                if t + 1 < window:
                    found["followed"][layer] += len(active[t])
                    found["shared"][layer] += len(active[t] & active[t + 1])
            for level in range(levels):
                chunk = 2**level
                for start in range(0, window - chunk + 1, chunk):
                    found["chunk_active"][level][layer] += len(set().union(*active[start : start + chunk]))
                found["prefix_active"][level][layer] += len(set().union(*active[:chunk]))
    return found


def assert_counts_are(counts, found):
    for name, values in found.items():
        ours = getattr(counts, name)
        if name in ("fired", "followed", "shared"):
            ours = ours.sum(axis=0)
        elif name in ("chunk_active", "prefix_active"):
            ours = ours.sum(axis=1)
        flat = [value for part in values for value in part] if name == "fired" else values
        assert np.array_equal(ours, np.array(flat)), name


@pytest.mark.parametrize(
    ("activation", "neurons", "window", "bos_id"),
    [("relu", 40, 16, None), ("silu", 43, 13, 1), ("relu", 13, 2, None), ("silu", 64, 70, None)],
)
@pytest.mark.long
def test_counts_are_those_of_plain_loops(llama, own_text, activation, neurons, window, bos_id):
    model = llama(activation=activation, neurons=neurons)
    ids = own_text(model, windows=8, window=64)
    subject = subject_of(model, ids, window=window, bos_id=bos_id)
    thresholds = [0.05, 0.2]
    counts = neuron_pass(subject, Calibration("cett", tuple(thresholds)))
    assert_counts_are(counts, recount(subject, masks_of(subject, thresholds)))
    assert counts.windows.sum() == subject.windows.count
    assert 0 < counts.fired.sum() < ids.numel() * 2 * neurons


def test_counts_of_a_trained_model_are_those_of_plain_loops():
    source = Source(str(at_hand("models/stories260K")))
    model = load_model(source, dtype=torch.float32, device="cpu")
    text = read_text(at_hand("text/stories260K_selfgen.txt"), tokens=512)
    subject = subject_of(model, encode(load_tokenizer(source), text, tokens=512), window=64)
    thresholds = [0.03, 0.05, 0.08, 0.1, 0.2]
    counts = neuron_pass(subject, Calibration("cett", tuple(thresholds)))
    assert_counts_are(counts, recount(subject, masks_of(subject, thresholds)))


@pytest.mark.parametrize("criterion", ["cett", "teal-down", "fat"])
def test_totals_are_those_of_measure(llama, own_text, criterion):
    model = llama(activation="silu", neurons=43)
    subject = subject_of(model, own_text(model), window=32)
    calibration = Calibration(criterion, (0.2, 0.3))
    counts = neuron_pass(subject, calibration)
    measured = at_thresholds(subject, calibration=calibration)
    active = measured.sparse.active.sum(axis=0)
    assert np.array_equal(counts.active(subject.sizes).sum(axis=0), active)
    assert np.array_equal(counts.token_active.sum(axis=1), active)
    assert np.array_equal(counts.position_active.sum(axis=1), active)
    assert np.array_equal(counts.chunk_active[0].sum(axis=0), active)
    tokens, neurons = subject.windows.tokens, int(subject.sizes.sum())
    assert round(measured.activation_ratio * tokens * neurons) == counts.fired.sum()
    assert counts.loss_nats.sum() == pytest.approx(measured.sparse.loss_nats.sum(), abs=1e-9)


def test_counts_do_not_depend_on_the_batch_and_add_up(llama, own_text):
    model = llama(neurons=43)
    ids = own_text(model)
    calibration = Calibration("cett", (0.05, 0.2))
    whole = neuron_pass(subject_of(model, ids, window=32, batch_size=16), calibration)
    one = subject_of(model, ids, window=32, batch_size=1)
    parts = [neuron_pass(one, calibration, rows=rows) for rows in np.array_split(one.all_rows, 3)]
    for counts in (neuron_pass(one, calibration), parts[2] + parts[0] + parts[1]):
        for field in fields(NeuronCounts):
            ours, theirs = getattr(counts, field.name), getattr(whole, field.name)
            if field.name == "experts":
                assert ours is theirs is None
                continue
            if field.name == "loss_nats":
                assert ours == pytest.approx(theirs, rel=1e-5)
            else:
                assert np.array_equal(ours, theirs), field.name


def test_counts_do_not_grow_with_the_text(llama, own_text):
    model = llama()
    ids = own_text(model, windows=16)
    calibration = Calibration("cett", (0.05, 0.2))
    sizes = []
    for tokens in (GROUPS * 8, GROUPS * 32):
        counts = neuron_pass(subject_of(model, ids[:tokens], window=8), calibration)
        arrays = [getattr(counts, field.name) for field in fields(NeuronCounts)]
        sizes.append(sum(array.nbytes for array in arrays if array is not None))
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("shape", [(2, 300, 43), (1, 3, 2100), (2, 1, 8), (1, 511, 9)])
def test_lane_sums_are_exact_when_all_neurons_fire(shape):
    generator = torch.Generator().manual_seed(0)
    for keep in (torch.ones(shape, dtype=torch.bool), torch.rand(shape, generator=generator) > 0.3):
        packed = lanes.words(keep)
        assert torch.equal(lanes.per_row(packed), keep.sum(dim=-1))
        assert torch.equal(lanes.per_neuron(packed, neurons=shape[2]), keep.sum(dim=1))
        for level, union in enumerate(lanes.unions(packed)):
            chunk = 2**level
            whole = shape[1] // chunk * chunk
            expected = keep[:, :whole].unflatten(1, (-1, chunk)).any(dim=2)
            assert torch.equal(lanes.per_row(union), expected.sum(dim=-1))


def test_a_threshold_of_zero_counts_what_is_not_zero(llama, own_text):
    model = llama()
    ids = own_text(model)
    counts = neuron_pass(subject_of(model, ids, window=64), Calibration("cett", (0.0, 0.0)))
    dense = measure(model, ids, criterion="relu-zero", knob=0, window=64)
    assert counts.fired.sum() == dense.sums.nonzero.sum()
