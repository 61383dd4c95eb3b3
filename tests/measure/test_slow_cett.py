"""An independent slow CETT: every activation of every token sorted by score, in float64, in plain loops."""

from functools import cache

import numpy as np
import pytest
import torch

from sparsity_lab.measure.api import measure


def activations(model, windows):
    """a of each layer, float64 [layers][tokens, F], from the FFN inputs that pass by."""
    seen = []
    hooks = [
        block.mlp.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(0, 1).double()))
        for block in model.model.layers
    ]
    with torch.no_grad():
        model(input_ids=windows)
    for hook in hooks:
        hook.remove()
    out = []
    for x, block in zip(seen, model.model.layers, strict=True):
        gate, up = (m.weight.detach().double() for m in (block.mlp.gate_proj, block.mlp.up_proj))
        out.append((block.mlp.act_fn(x @ gate.T) * (x @ up.T)).numpy())
    return out


def slow_curve(a, W_d):
    """(score, mean CETT once it and all smaller ones are dropped), in the order of the scores of all tokens."""
    norms = np.sqrt((W_d**2).sum(axis=0))
    events, tokens = [], len(a)
    for token in a:
        whole, tail, before = np.linalg.norm(W_d @ token), np.zeros(len(W_d)), 0.0
        for score, i in sorted((abs(token[i]) * norms[i], i) for i in range(len(token)) if token[i] != 0):
            tail = tail + token[i] * W_d[:, i]
            after = np.linalg.norm(tail) / whole
            events.append((score, (after - before) / tokens))
            before = after
    events.sort()
    return np.array([score for score, _ in events]), np.cumsum([jump for _, jump in events])


def largest_threshold(scores, mean, c):
    """Range of the largest eps with mean CETT <= c: from the last score it may drop to the next one."""
    last = int(np.flatnonzero(mean <= c)[-1])
    return scores[last], scores[last + 1]


@torch.no_grad()
def slow_sparse_run(model, windows, thresholds):
    """(activation ratio, mean loss) with scores at or below the thresholds dropped, one window at a time."""
    kept = total = 0
    losses = []

    def masking(weight, eps):
        norms = weight.detach().double().norm(dim=0)

        def mask(_, inputs):
            nonlocal kept, total
            keep = inputs[0].double().abs() * norms > eps
            kept, total = kept + int(keep.sum()), total + keep.numel()
            return (torch.where(keep, inputs[0], 0.0),)

        return mask

    hooks = [
        block.mlp.down_proj.register_forward_pre_hook(masking(block.mlp.down_proj.weight, eps))
        for block, eps in zip(model.model.layers, thresholds, strict=True)
    ]
    for window in windows:
        chances = model(input_ids=window[None]).logits[0].double().log_softmax(dim=-1)
        losses += [-float(chances[t, window[t + 1]]) for t in range(len(window) - 1)]
    for hook in hooks:
        hook.remove()
    return kept / total, sum(losses) / len(losses)


@pytest.fixture(scope="module")
def slowly(llama, own_text):
    """Of an activation function: a model, its text, the curve of each layer and the dense run, once for all knobs."""

    @cache
    def of(activation):
        model = llama(activation=activation)
        windows = own_text(model, windows=12, window=64).view(-1, 64)
        curves = [
            slow_curve(a, block.mlp.down_proj.weight.detach().double().numpy())
            for a, block in zip(activations(model, windows), model.model.layers, strict=True)
        ]
        return model, windows, curves, slow_sparse_run(model, windows, [0.0] * len(curves))

    return of


@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("knob", [0.03, 0.1, 0.3, 0.7])
def test_the_engine_agrees_with_the_slow_one(slowly, activation, knob):
    model, windows, curves, (dense_ratio, dense_loss) = slowly(activation)
    found = measure(model, windows.flatten(), knob=knob, window=64)
    for eps, (scores, mean) in zip(found.thresholds, curves, strict=True):
        low, high = largest_threshold(scores, mean, knob)
        assert low * 0.998 <= eps <= high * 1.002
        assert mean[np.searchsorted(scores, eps, side="right") - 1] == pytest.approx(knob, rel=0.002)
    ratio, loss = slow_sparse_run(model, windows, found.thresholds)
    assert found.activation_ratio == pytest.approx(ratio, abs=2e-5)
    assert found.sparse.mean_loss_nats() == pytest.approx(loss, abs=1e-4)
    assert found.dense.mean_loss_nats() == pytest.approx(dense_loss, abs=1e-5)
    assert found.nonzero_ratio == pytest.approx(dense_ratio, abs=1e-9)
