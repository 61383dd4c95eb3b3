"""Predictors on a planted rule, hits against plain loops, and the figures beside them."""

import numpy as np
import pytest
import torch

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.loading import Source, load_model, load_tokenizer
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.model.windows import cut, encode
from sparsity_lab.measure.neurons.predictors.api import predict_active
from sparsity_lab.measure.neurons.predictors.gather import gathered
from sparsity_lab.measure.neurons.predictors.lowrank import cost, train
from sparsity_lab.measure.neurons.predictors.rows import predictor_rows, training_rows
from sparsity_lab.measure.neurons.predictors.spec import PredictorSettings
from sparsity_lab.measure.sources.texts import read_text
from sparsity_lab.measure.thresholds.stored import Calibration
from tests.at_hand import at_hand


def of_the_best(logits, active, k):
    """Active neurons among the first k, over what any order of neurons could have there."""
    named = torch.zeros_like(active).scatter_(1, logits.topk(k, dim=1).indices, True)
    return float((named & active).sum() / active.sum(dim=1).clamp(max=k).sum())


@pytest.mark.long
def test_a_planted_linear_rule_of_low_rank_is_learned():
    generator = torch.Generator().manual_seed(0)
    x = 3 + 2 * torch.randn(3000, 24, generator=generator)
    rule = torch.randn(24, 4, generator=generator) @ torch.randn(4, 60, generator=generator)
    scores = (x - 3) @ rule
    active = scores > scores.quantile(0.9, dim=0)
    before = x.clone()
    found = train(
        x[:2000], active[:2000], rank=4, settings=PredictorSettings(epochs=60, batch_tokens=64), seed=0
    )
    assert of_the_best(found.logits(x[2000:]), active[2000:], 9) > 0.9
    assert found.epoch > 5
    assert torch.equal(x, before)
    small = train(
        x[:2000], active[:2000], rank=1, settings=PredictorSettings(epochs=60, batch_tokens=64), seed=0
    )
    assert of_the_best(small.logits(x[2000:]), active[2000:], 9) < 0.75
    assert found.down.shape == (24, 4)
    assert found.down.numel() + found.up.numel() + found.bias.numel() == cost(24, 60, rank=4)


def test_where_inputs_say_nothing_frequencies_are_kept():
    """The epoch before the first is taken, or one that does no better: pure noise is not learned by heart."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(600, 16, generator=generator)
    chances = torch.linspace(0.02, 0.5, 30)
    active = torch.rand(600, 30, generator=generator) < chances
    found = train(x[:400], active[:400], rank=8, settings=PredictorSettings(epochs=20), seed=0)
    odds = torch.corrcoef(torch.stack([found.bias, chances.logit()]))[0, 1]
    assert found.epoch <= 1
    assert odds > 0.95


def test_training_is_the_same_for_the_same_seed_alone():
    generator = torch.Generator().manual_seed(2)
    x, active = torch.randn(300, 8, generator=generator), torch.rand(300, 12, generator=generator) < 0.3
    one, other, unlike = (
        train(x, active, rank=2, settings=PredictorSettings(epochs=2), seed=s) for s in (3, 3, 4)
    )
    assert torch.equal(one.up, other.up)
    assert not torch.equal(one.up, unlike.up)


@pytest.fixture(scope="module", params=["stories260K", "relu-2m"])
def real(request):
    text = {"stories260K": "stories260K_selfgen", "relu-2m": "wikitext2.valid"}[request.param]
    source = Source(str(at_hand(f"models/{request.param}")))
    model = load_model(source, dtype=torch.float32, device="cpu")
    ids = encode(load_tokenizer(source), read_text(at_hand(f"text/{text}.txt"), tokens=512), tokens=512)
    return model, ids, [0.08] * model.config.num_hidden_layers


@torch.no_grad()
def inputs_and_masks(model, ids, thresholds, *, window):
    """Of each layer, x [windows, tokens, d] and active neurons of the sparse run, by own hooks on the MLP."""
    xs, masks = [[] for _ in thresholds], [[] for _ in thresholds]
    handles = []
    for layer, block in enumerate(model.model.layers):
        norms = block.mlp.down_proj.weight.double().norm(dim=0).float()

        def note(module, inputs, layer=layer):
            xs[layer].append(inputs[0][0])

        def mask(module, inputs, layer=layer, norms=norms):
            keep = inputs[0].abs() * norms > thresholds[layer]
            masks[layer].append(keep[0])
            return (inputs[0] * keep,)

        handles += [
            block.mlp.register_forward_pre_hook(note),
            block.mlp.down_proj.register_forward_pre_hook(mask),
        ]
    for row in ids[: len(ids) // window * window].view(-1, window):
        model(input_ids=row[None], use_cache=False)
    for handle in handles:
        handle.remove()
    return [torch.stack(x) for x in xs], [torch.stack(mask) for mask in masks]


@pytest.mark.long
def test_hits_are_those_of_plain_loops(real):
    model, ids, thresholds = real
    settings = PredictorSettings(ranks=(2,), budgets=(1.0, 2.0), epochs=1)
    report = predict_active(model, ids, thresholds=thresholds, settings=settings, window=32, batch_size=3)
    xs, masks = inputs_and_masks(model, ids, thresholds, window=32)
    for layer in (0, len(thresholds) - 1):
        first, second = masks[layer][:8].flatten(0, 1), masks[layer][8:]
        fired = first.sum(dim=0).tolist()
        order = sorted(range(len(fired)), key=lambda i: (-fired[i], i))
        place = {neuron: i for i, neuron in enumerate(order)}
        k = [max(1, min(len(fired), round(b * sum(fired) / len(first)))) for b in settings.budgets]
        assert report.named[layer].tolist() == k
        hits = np.zeros((4, 2), int)
        active = kept = before = 0
        for w, window in enumerate(second):
            sets = [set(row.nonzero().flatten().tolist()) for row in window]
            for t in range(1, len(sets)):
                logits = report.trained[layer].predictors[0].logits(xs[layer][8 + w, t])
                last_first = sorted(order, key=lambda i: (i not in sets[t - 1], place[i]))
                guesses = [logits.argsort(descending=True).tolist(), order, last_first]
                for budget, many in enumerate(k):
                    for method, guess in enumerate(guesses):
                        hits[method, budget] += len(sets[t] & set(guess[:many]))
                    hits[3, budget] += min(many, len(sets[t]))
                active, before = active + len(sets[t]), before + len(sets[t - 1])
                kept += len(sets[t] & sets[t - 1])
        ours = report.counts
        assert ours.hits[:, layer, 1:].sum(axis=0).tolist() == hits[1:].tolist()
        # A product of another shape may move a neuron at the edge of a budget.
        assert abs(ours.hits[:, layer, 0].sum(axis=0) - hits[0]).max() <= 3
        found = [ours.active, ours.before, ours.kept]
        assert [int(one[:, layer].sum()) for one in found] == [active, before, kept]


def test_rows_hang_together_and_cost_is_counted(real):
    model, ids, thresholds = real
    settings = PredictorSettings(ranks=(2, 8), budgets=(1.0, 1.5), epochs=2)
    report = predict_active(model, ids, thresholds=thresholds, settings=settings, window=32)
    rows = predictor_rows(report)
    config, layers = model.config, len(thresholds)
    assert len(rows) == (1 + layers) * (5 * 2 + 1)
    whole = {(row["method"], row["rank"], row["budget"]): row for row in rows if row["layer"] == "all"}
    d, neurons = config.hidden_size, config.intermediate_size
    assert whole["predictor", 8, 1.0]["parameters"] == layers * (8 * (d + neurons) + neurons)
    share = whole["predictor", 8, 1.0]["parameters"] / (layers * 3 * d * neurons)
    assert whole["predictor", 8, 1.0]["ffn_share"] == pytest.approx(share)
    for budget in settings.budgets:
        oracle = whole["oracle", None, budget]
        for rank in settings.ranks:
            row = whole["predictor", rank, budget]
            assert 0 < row["recall"] < oracle["recall"] <= 1
            frequent = whole["frequent", None, budget]
            assert row["recall"] - frequent["recall"] == pytest.approx(row["over_frequent"])
            last = whole["last-token", None, budget]
            assert row["recall"] - last["recall"] == pytest.approx(row["over_last_token"])
            assert row["precision"] * row["named"] == pytest.approx(
                row["recall"] * report.counts.active.sum() / report.counts.tokens.sum()
            )
            assert row["recall_se"] > 0
    assert {row["epoch"] for row in training_rows(report)} <= {0, 1, 2}


def test_layers_gathered_few_at_a_time_are_the_same(real, monkeypatch):
    model, ids, thresholds = real
    subject = Subject(model, find_sites(model)[1], cut(ids, window=32), 3)
    rows = subject.all_rows[:4]
    calibration = Calibration("cett", tuple(thresholds))
    whole = list(gathered(subject, calibration, rows=rows))
    monkeypatch.setattr("sparsity_lab.measure.neurons.predictors.gather.BYTES_AT_ONCE", 1)
    for (layer, x, active), (other, y, mask) in zip(
        gathered(subject, calibration, rows=rows), whole, strict=True
    ):
        assert layer == other
        assert torch.equal(active, mask)
        assert torch.equal(x, y)
    xs, masks = inputs_and_masks(model, ids, thresholds, window=32)
    assert torch.equal(whole[1][2], masks[1][:4].flatten(0, 1))
    assert torch.allclose(whole[1][1], xs[1][:4].flatten(0, 1), atol=1e-4)


def test_mistakes_are_told(llama, own_text):
    model = llama()
    ids = own_text(model)
    for settings, said in (
        (PredictorSettings(ranks=()), "--rank must be given"),
        (PredictorSettings(ranks=(4, 4)), "each value once"),
        (PredictorSettings(budgets=(0.0,)), "--budget is 0.0"),
        (PredictorSettings(epochs=0), "--epochs is 0"),
    ):
        with pytest.raises(SparsityLabError, match=said):
            predict_active(model, ids, thresholds=[0.05, 0.05], settings=settings, window=32)
