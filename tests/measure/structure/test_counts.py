"""Counts of both passes against plain loops over stored masks, to the last integer, on small real models."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from sparsity_lab.measure.checkpoint.loading import Source, load_model, load_tokenizer
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.model.windows import cut, encode
from sparsity_lab.measure.neurons.structure.clustering.clusters import (
    balanced_clusters,
    firing_places,
    random_partitions,
)
from sparsity_lab.measure.neurons.structure.clustering.quality import QualityCounts, Questions, judge
from sparsity_lab.measure.neurons.structure.counts import EIGHTHS, Layout, unit_windows
from sparsity_lab.measure.neurons.structure.survey import survey
from sparsity_lab.measure.sources.texts import read_text
from sparsity_lab.measure.thresholds.stored import Calibration
from tests.at_hand import at_hand

MODELS = {
    "stories260K": ("stories260K_selfgen", (0.03, 0.05, 0.08, 0.1, 0.2)),
    "relu-2m": ("wikitext2.valid", (0.02, 0.03, 0.05, 0.1)),
}


@pytest.fixture(scope="module", params=sorted(MODELS))
def real(request):
    """A trained model on a little text, its thresholds, and the sets of active neurons, [layer][window][token]."""
    text, thresholds = MODELS[request.param]
    source = Source(str(at_hand(f"models/{request.param}")))
    model = load_model(source, dtype=torch.float32, device="cpu")
    ids = encode(load_tokenizer(source), read_text(at_hand(f"text/{text}.txt"), tokens=352), tokens=352)
    subject = Subject(model, find_sites(model)[1], cut(ids, window=16), 3)
    return subject, thresholds, masked_activations(subject, thresholds)


@torch.no_grad()
def masked_activations(subject, thresholds):
    """|a_i| w_i of kept neurons, 0 for others, [layer][window] -> [tokens, F]: one window at a time, own hooks."""
    found = [[] for _ in subject.sites]

    def hook(layer, weights, eps):
        def before(module, inputs):
            size = inputs[0].float().abs() * weights
            keep = (size > eps) & (inputs[0] != 0)
            found[layer].append(torch.where(keep, size, 0.0)[0].double().numpy())
            return (torch.where(keep, inputs[0], 0.0), *inputs[1:])

        return before

    handles = []
    for site, eps in zip(subject.sites, thresholds, strict=True):
        weights = site.down.weight.double().square().sum(dim=0).sqrt().float()
        handles.append(site.down.register_forward_pre_hook(hook(site.layer, weights, eps)))
    for row in subject.all_rows:
        subject.model(input_ids=subject.windows.inputs(np.array([row])), use_cache=False)
    for handle in handles:
        handle.remove()
    return found


def layout_of(subject, *, most=2048, each=2):
    return Layout.of(
        subject.sizes, windows=subject.windows.count, unit_windows=each, most_neurons=most, seed=0
    )


@pytest.mark.parametrize("most", [2048, 37])
@pytest.mark.long
def test_a_survey_is_that_of_plain_loops(real, most):
    subject, thresholds, sizes = real
    layout = layout_of(subject, most=most)
    counts = survey(subject, Calibration("cett", thresholds), layout=layout)
    assert counts.windows.tolist() == [2] * 11
    offset = 0
    for layer, windows in enumerate(sizes):
        chosen, sketched = layout.chosen[layer], layout.sketched[layer]
        together = np.zeros_like(counts.together[layer])
        sketch = np.zeros_like(counts.sketch[layer])
        for window, values in enumerate(windows):
            second = window >= 10  # 11 units of 2 windows: five in the first part
            for active in values > 0:
                pairs = np.outer(active[chosen], active[chosen])
                together[int(second)] += pairs
                sketch[layout.eighth_of(np.array([window]))[0]] += pairs[np.ix_(sketched, sketched)]
        assert np.array_equal(counts.together[layer], together)
        assert np.array_equal(counts.sketch[layer], sketch)
        for unit in range(11):
            here = np.concatenate(windows[2 * unit : 2 * unit + 2])
            place = slice(offset, offset + here.shape[1])
            assert np.array_equal(counts.fired[unit, place], (here > 0).sum(axis=0))
            assert counts.size_sum[unit, place] == pytest.approx(here.sum(axis=0), rel=1e-5, abs=1e-9)
        offset += windows[0].shape[1]
    assert 0 < counts.fired.sum() < counts.fired.shape[1] * subject.windows.tokens


@pytest.mark.long
def test_a_survey_of_parts_adds_up_and_does_not_depend_on_the_batch(real):
    subject, thresholds, _ = real
    layout, calibration = layout_of(subject), Calibration("cett", thresholds)
    whole = survey(subject, calibration, layout=layout)
    other = Subject(subject.model, subject.sites, subject.windows, 5)
    rows = np.array_split(subject.all_rows, 3)
    a, b, c = (survey(other, calibration, layout=layout, rows=one) for one in rows)
    merged = c + a + b
    assert np.array_equal(merged.fired, whole.fired)
    assert all(np.array_equal(x, y) for x, y in zip(merged.together, whole.together, strict=True))
    assert all(np.array_equal(x, y) for x, y in zip(merged.sketch, whole.sketch, strict=True))
    assert merged.size_sum == pytest.approx(whole.size_sum, rel=1e-6)


def test_counts_do_not_grow_with_the_text(llama, own_text):
    model = llama(neurons=48)
    ids = own_text(model, windows=24, window=64)
    sizes = []
    for tokens in (768, 1536):
        subject = Subject(model, find_sites(model)[1], cut(ids[:tokens], window=8), 4)
        each = unit_windows(tokens, window=8)
        counts = survey(subject, Calibration("cett", (0.1, 0.1)), layout=layout_of(subject, each=each))
        arrays = (counts.fired, counts.size_sum, *counts.together, *counts.sketch)
        sizes.append(sum(array.nbytes for array in arrays) - counts.fired.nbytes - counts.size_sum.nbytes)
        assert len(counts.windows) <= 64
    assert sizes[0] == sizes[1]


def test_layouts_share_out_windows_in_order():
    for windows, each in ((2, 1), (5, 2), (64, 1), (101, 4), (16, 2)):
        layout = Layout.of(np.array([300, 20]), windows=windows, unit_windows=each, most_neurons=100, seed=1)
        rows = np.arange(windows)
        part, eighth = layout.part_of(rows), layout.eighth_of(rows)
        assert (np.diff(part) >= 0).all()
        assert set(part.tolist()) == {0, 1}
        assert np.array_equal(rows[part == 1], layout.second_rows)
        assert (np.diff(eighth) >= 0).all()
        assert eighth.max() < EIGHTHS
        assert np.array_equal(part, eighth >= 4)
        assert [len(one) for one in layout.chosen] == [100, 20]
        assert len(np.unique(layout.chosen[0])) == 100


def questions(cached):
    return Questions(
        clusters=5, best=(1, 2, 4), routed=2, segments=(1, 4), cache_ratio=1.5, cached_partitions=cached
    )


def by_hand(windows, chosen, labels, ask):
    """Inside, needs and hits of one layer and partition, by plain loops over the windows given."""
    inside, needs, hits = [0] * len(ask.best), 0, [0] * len(ask.segments)
    for values in windows:
        routes = []
        for active in values[:, chosen] > 0:
            counted = [int(active[labels == one].sum()) for one in range(ask.clusters)]
            order = sorted(range(ask.clusters), key=lambda one: (-counted[one], one))
            for index, m in enumerate(ask.best):
                inside[index] += sum(counted[one] for one in order[:m])
            routes.append({one for one in order[: ask.routed] if counted[one]})
        needs += sum(map(len, routes))
        for index, segment in enumerate(ask.segments):
            hits[index] += cache_by_hand(routes, size=ask.cache_size, segment=segment)
    return inside, needs, hits


def cache_by_hand(routes, *, size, segment):
    cached, hits = set(), 0
    for t, needed in enumerate(routes):
        hits += len(cached & needed)
        cached |= needed
        coming = routes[t + 1 : t + 1 + segment]
        while len(cached) > size:
            idle = cached - needed
            cached.remove(min(idle, key=lambda one: (sum(one in later for later in coming), -one)))
    return hits


@pytest.mark.long
def test_best_clusters_and_caches_are_those_of_plain_loops(real):
    subject, thresholds, sizes = real
    layout, calibration = layout_of(subject), Calibration("cett", thresholds)
    counts = survey(subject, calibration, layout=layout)
    found = [
        balanced_clusters(firing_places(together[0], clusters=5), clusters=5, seed=0)
        for together in counts.together
    ]
    partitions = [
        np.concatenate([one[None], random_partitions(one, draws=33, seed=layer)])
        for layer, one in enumerate(found)
    ]
    ask = questions(cached=34)
    quality = judge(subject, calibration, layout=layout, partitions=partitions, questions=ask)
    assert quality.windows[: layout.first_units].sum() == 0
    for layer in (0, len(sizes) - 1):
        second = sizes[layer][10:]
        assert quality.active[:, layer].sum() == sum(int((values > 0).sum()) for values in second)
        for partition in (0, 1, 33):
            labels = partitions[layer][partition]
            inside, needs, hits = by_hand(second, layout.chosen[layer], labels, ask)
            assert quality.inside[:, layer, :, partition].sum(axis=0).tolist() == inside
            assert quality.needs[:, layer, partition].sum() == needs
            assert quality.hits[:, layer, :, partition].sum(axis=0).tolist() == hits
    rows = np.array_split(layout.second_rows, 2)
    first, last = (
        judge(subject, calibration, layout=layout, partitions=partitions, questions=ask, rows=one)
        for one in rows
    )
    for field in fields(QualityCounts):
        assert np.array_equal(getattr(first + last, field.name), getattr(quality, field.name)), field.name
