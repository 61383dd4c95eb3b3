"""What is timed is right, stands in order, and leaves the model as it was."""

import statistics
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "architectures"))
from tiny import CONFIGS, MIXTURES, tiny

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.api import calibration_of, sparsified
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.neurons.affinity import products as rooms
from sparsity_lab.measure.neurons.affinity.decode import Steps, Swap, time_decoding
from sparsity_lab.measure.neurons.affinity.pairs import Paired, median_interval, paired
from sparsity_lab.measure.neurons.affinity.products import (
    ProductWork,
    break_even,
    crossing,
    of_model,
    planted,
    planted_weights,
)
from sparsity_lab.measure.neurons.affinity.weights import weights_of


@pytest.mark.thorough(5)
@pytest.mark.parametrize("model_type", sorted(set(CONFIGS) - MIXTURES))
@torch.no_grad()
def test_every_family_decodes_the_same_with_sparse_down(model_type):
    """After a swap the logits are those of the masked model read in one pass, and the model is itself again."""
    model = tiny(model_type)
    sites = find_sites(model)[1]
    weights = weights_of(model, sites)
    assert weights.ffn + weights.whole <= weights.total
    assert weights.kv > 0
    calibration = calibration_of([0.02] * len(sites))
    ids = torch.randint(0, 97, (1, 12), generator=torch.Generator().manual_seed(0))
    before = {name: id(module) for name, module in model.named_modules()}
    with sparsified(model, [0.02] * len(sites)):
        wanted = model(input_ids=ids).logits[:, -1]
    plain = model(input_ids=ids).logits[:, -1]
    swap = Swap(model, sites, calibration)
    with swap.in_place():
        assert sum(type(module).__name__ == "SparseDown" for module in model.modules()) == len(sites)
        found = Steps.after(model, ids, prompt_tokens=9).logits()
    assert torch.allclose(found, wanted, atol=1e-5 * float(wanted.abs().max()), rtol=1e-5)
    assert {name: id(module) for name, module in model.named_modules()} == before
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
    assert torch.equal(model(input_ids=ids).logits[:, -1], plain)


def test_decoding_is_timed_and_wrong_decoding_is_not(llama, own_text, monkeypatch):
    model = llama(layers=2)
    sites = find_sites(model)[1]
    ids = own_text(model, windows=1, window=16).view(1, -1)
    found = time_decoding(model, sites, calibration_of([0.05, 0.05]), ids=ids, prompt_tokens=12, pairs=6)
    assert len(found.ratios) == 6
    assert min(found.dense_seconds + found.sparse_seconds) > 0
    from sparsity_lab.measure.neurons.affinity import decode

    monkeypatch.setattr(decode, "sparse_down", lambda a, W_d: a @ W_d.t() * 1.01)
    with pytest.raises(SparsityLabError, match="Decoding with sparse_down is wrong"):
        time_decoding(model, sites, calibration_of([0.05, 0.05]), ids=ids, prompt_tokens=12, pairs=6)
    assert all(type(site.down) is torch.nn.Linear for site in sites)


def test_planted_products():
    weights = planted_weights(40, 16, dtype=torch.float32, device="cpu", seed=0)
    work = planted(weights, ratio=0.1, seed=1)
    assert work.activation_ratio == pytest.approx(0.1)
    assert work.weights_bytes == len(weights.dense) * 40 * 16 * 4
    assert all(W.stride() == (1, 16) for W in work.sparse)
    assert all(torch.equal(one, other) for one, other in zip(work.dense, work.sparse, strict=True))
    row = rooms.timed_row(work, what="planted", pairs=6, device="cpu")
    assert row["ideal"] == pytest.approx(10)
    assert 0 < row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
    assert row["efficiency"] == pytest.approx(row["ratio"] / 10)


def test_the_models_products_go_token_by_token():
    layers = [torch.randn(3, 5), torch.randn(3, 7)]
    tokens = [[torch.randn(5), torch.randn(7)] for _ in range(2)]
    work = of_model(tokens, layers)
    assert [a.numel() for a in work.activations] == [5, 7, 5, 7]
    assert [tuple(W.shape) for W in work.dense] == [(3, 5), (3, 7), (3, 5), (3, 7)]
    assert work.weights_bytes == 4 * 3 * 12
    rooms.check(work)


@pytest.mark.parametrize("broken", ["sparse", "dense"])
def test_a_wrong_product_is_not_timed(broken):
    weights = planted_weights(40, 16, dtype=torch.float32, device="cpu", seed=0)
    good = planted(weights, ratio=0.5, seed=1)
    spoilt = [W.clone() for W in good.sparse]
    active = int(good.activations[3].nonzero()[0])
    spoilt[3][2, active] += 1e-3
    parts = {"dense": good.dense, "sparse": good.sparse, broken: tuple(spoilt)}
    work = ProductWork(good.activations, parts["dense"], parts["sparse"])
    with pytest.raises(SparsityLabError, match="Product 3 by sparse_down is wrong on cpu"):
        rooms.timed_row(work, what="planted", pairs=6, device="cpu")


def test_nothing_active_needs_no_time():
    W_d = torch.randn(4, 6)
    work = of_model([[torch.zeros(6)]], [W_d])
    with pytest.raises(SparsityLabError, match="No neuron is active"):
        rooms.timed_row(work, what="model", pairs=6, device="cpu")


def test_pairs_alternate_and_preparation_is_not_timed(monkeypatch):
    from contextlib import contextmanager

    from sparsity_lab.measure.neurons.affinity import pairs as room

    clock = SimpleNamespace(now=0.0, done=[])
    monkeypatch.setattr(room.time, "perf_counter", lambda: clock.now)

    def work(name, cost):
        @contextmanager
        def ready():
            clock.now += 100

            def run():
                clock.now += cost
                clock.done.append(name)

            yield run

        return ready

    found = paired(work("d", 3.0), work("s", 2.0), pairs=3, device="cpu")
    assert found == Paired((3.0,) * 3, (2.0,) * 3)
    assert "".join(clock.done) == "dssddssd"
    row = found.as_row(units=2, ideal=3.0)
    assert (row["dense_seconds"], row["ratio"], row["efficiency"]) == (1.5, 1.5, 0.5)


@pytest.mark.long
def test_interval_of_a_median_holds_it():
    """95 % or more of intervals of skewed draws hold the true median, and one value narrower they would not."""
    draws = np.random.default_rng(0).exponential(size=(4000, 21))
    held = np.mean([low <= np.log(2) <= high for low, high in map(median_interval, draws.tolist())])
    assert 0.95 <= held < 0.985
    ordered = np.sort(draws, axis=1)
    low, high = median_interval(draws[0].tolist())
    place = int(np.flatnonzero(ordered[0] == low)[0])
    narrower = (ordered[:, place + 1] <= np.log(2)) & (np.log(2) <= ordered[:, -2 - place])
    assert narrower.mean() < 0.95
    assert median_interval([3.0, 1.0, 2.0, 5.0, 4.0, 6.0]) == (1.0, 6.0)
    assert ordered[0, -1 - place] == high
    assert statistics.median(draws[0]) <= high


def test_break_even_of_planted_times():
    """Speed-up 0.3 / ratio crosses 1 at 0.3; bounds 0.2 / ratio and 0.4 / ratio at 0.2 and 0.4."""

    def rows(scale):
        return [
            {"F": 8, "d": 4, "activation_ratio": x, "ratio": 0.3 * scale / x, "ratio_low": 0.2 * scale / x,
             "ratio_high": 0.4 * scale / x}
            for x in (0.8, 0.05, 0.1)
        ]  # fmt: skip

    found = break_even(rows(1))
    assert found["break_even"] == pytest.approx(0.3)
    assert (found["break_even_low"], found["break_even_high"]) == pytest.approx((0.2, 0.4))
    assert found["verdict"] == "sparse_down is faster below 0.3"
    slow, fast = break_even(rows(0.01)), break_even(rows(100))
    assert slow["break_even"] is fast["break_even"] is None
    assert "slower at every ratio tried, down to 0.05" in slow["verdict"]
    assert "faster at every ratio tried, up to 0.8" in fast["verdict"]
    assert crossing([0.1, 0.2], [1.0, 0.5]) == pytest.approx(0.1)
