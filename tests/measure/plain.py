"""Every rule in plain loops, on small LLaMA models: what is dropped, from the definitions alone.

Scores are float32, as the definitions say; the CETT of a token is summed in float64, one activation at a time.
"""

import math

import numpy as np
import torch

BY_QUANTILE, PER_TOKEN = ("cats", "teal-down", "per-channel"), ("top-k", "wina-down", "top-p", "max-p")


class Watched:
    """A model's activations a and gate outputs s as they pass, and masks put on a."""

    def __init__(self, model, keep=None):
        self.model, self.keep, self.a, self.s, self.u = model, keep, {}, {}, {}

    def __enter__(self):
        self.hooks = []
        for layer, block in enumerate(self.model.model.layers):
            mlp = block.mlp
            self.hooks += [
                mlp.act_fn.register_forward_hook(lambda m, i, out, n=layer: self.s.update({n: out})),
                mlp.up_proj.register_forward_hook(lambda m, i, out, n=layer: self.u.update({n: out})),
                mlp.down_proj.register_forward_pre_hook(
                    lambda m, inputs, n=layer: self._masked(n, inputs[0])
                ),
            ]
        return self

    def __exit__(self, *_):
        for hook in self.hooks:
            hook.remove()

    def _masked(self, layer, a):
        self.a[layer] = a
        if self.keep is None:
            return None
        return (torch.where(self.keep(layer, a[0], self.s[layer][0])[None], a, torch.zeros_like(a)),)


@torch.no_grad()
def run(model, windows, keep=None):
    """(mean loss in nats, share of a that is kept, a and s and u of each layer [tokens, F]), one window at a time."""
    losses, kept, total, seen = [], 0, 0, {}

    def counting(layer, a, s):
        nonlocal kept, total
        mask = keep(layer, a, s)
        kept, total = kept + int(mask.sum()), total + mask.numel()
        return mask

    for window in windows:
        with Watched(model, None if keep is None else counting) as watched:
            chances = model(input_ids=window[None]).logits[0].float().double().log_softmax(dim=-1)
        losses += [-float(chances[t, window[t + 1]]) for t in range(len(window) - 1)]
        for layer in watched.a:
            values = (watched.a[layer][0], watched.s[layer][0], watched.u[layer][0])
            seen.setdefault(layer, []).append(values)
    layers = [[torch.cat(parts) for parts in zip(*seen[layer], strict=True)] for layer in sorted(seen)]
    return sum(losses) / len(losses), kept / max(total, 1), layers


def column_norms(model, layer):
    """||W_d[:, i]||, float32 [F]."""
    return model.model.layers[layer].mlp.down_proj.weight.detach().float().norm(dim=0)


def scores(model, criterion, layer, a, s, mean_up=None):
    """The criterion's score of each activation, float32 [tokens, F]."""
    if criterion in ("cett", "wina-down"):
        return a.float().abs() * column_norms(model, layer)
    if criterion == "per-channel":
        return s.float().abs() * mean_up
    return (a if criterion in ("teal-down", "top-p", "max-p") else s).float().abs()


def quantile(values, q):
    """The smallest value at or below which a share q of them lies; 0 where q is."""
    ordered = np.sort(values.flatten().numpy())
    rank = math.ceil(q * len(ordered))
    return float(ordered[rank - 1]) if rank > 0 else 0.0


def cett_curve(model, layer, a):
    """Every score of a text in order, and the mean CETT once it and all smaller ones are dropped."""
    W = model.model.layers[layer].mlp.down_proj.weight.detach().double().numpy()
    sizes = scores(model, "cett", layer, a, None).double().numpy()
    events = []
    for token, size in zip(a.double().numpy(), sizes, strict=True):
        whole, tail, before = np.linalg.norm(W @ token), np.zeros(len(W)), 0.0
        for i in np.argsort(size, kind="stable"):
            if token[i] != 0:
                tail = tail + token[i] * W[:, i]
                after = np.linalg.norm(tail) / whole
                events.append((size[i], (after - before) / len(a)))
                before = after
    events.sort()
    return np.array([size for size, _ in events]), np.cumsum([jump for _, jump in events])


def cett_threshold(model, layer, a, c):
    """The largest threshold whose mean CETT is at most c: just below the score that would bring it above c."""
    sizes, mean = cett_curve(model, layer, a)
    within = np.flatnonzero(mean <= c * (1 + 1e-9))
    following = within[-1] + 1 if len(within) else 0
    return (
        float(np.nextafter(np.float32(sizes[following]), np.float32(0))) if following < len(sizes) else np.inf
    )


def keep_of_token(criterion, size, knob):
    """Which neurons of one token stay: size [F] its scores, ties going to the first neuron."""
    order = sorted(range(len(size)), key=lambda i: (-float(size[i]), i))
    if criterion in ("top-k", "wina-down"):
        chosen = order[: round(knob * len(size))]
    elif criterion == "top-p":
        wanted, running, chosen = knob * math.fsum(map(float, size)), 0.0, []
        for i in order:
            if running >= wanted * (1 - 1e-12):
                break
            running, chosen = running + float(size[i]), [*chosen, i]
    else:
        limit = np.float32(np.float32(max(map(float, size))) * np.float32(knob))
        chosen = [i for i in order if float(size[i]) >= float(limit)]
    mask = torch.zeros(len(size), dtype=torch.bool)
    mask[chosen] = True
    return mask


def sparse(model, windows, criterion, knob):
    """(dense loss, sparse loss, activation ratio, thresholds) of a rule at a knob."""
    dense, _, layers = run(model, windows)
    thresholds = None
    if criterion in PER_TOKEN:

        def keep(layer, a, s):
            size = scores(model, criterion, layer, a, s)
            return torch.stack([keep_of_token(criterion, row, knob) for row in size]) & (a != 0)

    else:
        mean_up = [u.float().abs().double().mean(dim=0).float() for _, _, u in layers]
        if criterion == "cett":
            thresholds = [cett_threshold(model, n, a, knob) for n, (a, _, _) in enumerate(layers)]
        elif criterion in BY_QUANTILE:
            thresholds = [
                quantile(scores(model, criterion, n, a, s, mean_up[n]), knob)
                for n, (a, s, _) in enumerate(layers)
            ]
        else:
            thresholds = [knob] * len(layers)

        def keep(layer, a, s):
            size = scores(model, criterion, layer, a, s, mean_up[layer])
            return (size > np.float32(thresholds[layer])) & (a != 0)

    loss, ratio, _ = run(model, windows, keep)
    return dense, loss, ratio, thresholds
