"""A mixture of experts in plain loops: who is active on each token at each expert, and every number made of that.

The model is a copy whose experts are loops over single tokens; nothing of the package's passes, hooks and counts is
used.
"""

import copy
import itertools
import re
from collections import Counter

import numpy as np
import torch

SEGMENTS, QUANTILES = (4, 16, 64, 256), (0.1, 0.5, 0.9)


class Seen:
    """What passed at one expert or network.

    Attributes:
        active: sets of neurons by (window, position), only of the tokens that came.
        score, output: largest |a_i| w_i before the mask and |y_j| after it, without the router weight.
    """

    def __init__(self, name, block, expert, size):
        self.name, self.block, self.expert, self.size = name, block, expert, size
        self.active, self.score, self.output = {}, 0.0, 0.0


@torch.no_grad()
def watched(model, sites, windows, thresholds):
    """Everything that passes, [site]; losses of the windows; experts chosen by (layer name, window, position)."""
    slow = copy.deepcopy(model)
    seen = [Seen(s.name, re.match(r"model\.layers\.\d+", s.name).group(), getattr(s, "expert", None),
                 s.intermediate_size) for s in sites]  # fmt: skip
    skipped, place, chosen_by = int(windows.bos_id is not None), {"window": 0}, {}

    def masked(index, a, W_d, weight, position):
        """a [F] of one token, and what is left of it."""
        score = a.abs() * torch.linalg.vector_norm(W_d.double(), dim=0).float()
        keep = (score > thresholds[index]) & (a != 0)
        if position >= skipped:
            here = seen[index]
            here.active[place["window"], position - skipped] = set(keep.nonzero().flatten().tolist())
            here.score = max(here.score, float(score.max()))
            here.output = max(here.output, float((W_d @ (a * keep / weight)).abs().max()))
        return a * keep

    def loop(experts, name):
        of = {s.expert: s.layer for s in sites if s.routed and s.name.rpartition(".")[0] == name}

        def forward(hidden, chosen, weights):
            total = torch.zeros_like(hidden)
            for t, (x, row, shares) in enumerate(zip(hidden, chosen.tolist(), weights, strict=True)):
                if t >= skipped:
                    chosen_by[name, place["window"], t - skipped] = row
                for expert, weight in zip(row, shares, strict=True):
                    both, W_d, F = (
                        experts.gate_up_proj[expert],
                        experts.down_proj[expert],
                        experts.intermediate_dim,
                    )
                    a = torch.nn.functional.silu(both[:F] @ x) * (both[F:] @ x * weight)
                    total[t] += W_d @ masked(of[expert], a, W_d, weight, t)
            return total

        experts.forward = forward

    def dense(index, module):
        def before(down, inputs):
            rows = inputs[0].reshape(-1, inputs[0].shape[-1])
            kept = [masked(index, a, down.weight, 1.0, t) for t, a in enumerate(rows)]
            return (torch.stack(kept).reshape(inputs[0].shape),)

        module.down_proj.register_forward_pre_hook(before)

    for name in sorted({s.name.rpartition(".")[0] for s in sites if s.routed}):
        loop(slow.get_submodule(name), name)
    for site in sites:
        if not site.routed:
            dense(site.layer, slow.get_submodule(site.name))
    losses = []
    for row in range(windows.count):
        place["window"] = row
        inputs = windows.inputs(np.array([row]))
        logits = slow(input_ids=inputs, use_cache=False).logits[0].double().log_softmax(dim=-1)
        losses.append(-sum(float(logits[t, inputs[0, t + 1]]) for t in range(inputs.shape[1] - 1)))
    return seen, losses, chosen_by


class Recount:
    """Numbers from what was seen; each window counts `weights[window]` times, as in a replicate."""

    def __init__(self, seen, chosen_by, *, windows, window):
        self.seen, self.chosen_by, self.windows, self.window = seen, chosen_by, range(windows), window
        self.weights = [1.0] * windows
        self.blocks = list(dict.fromkeys(one.block for one in seen))
        self.routers = list(dict.fromkeys(name for name, _, _ in chosen_by))
        self._memory = {}

    def under(self, weights):
        """The same with other weights; counts of single windows are kept."""
        other = copy.copy(self)
        other.weights = list(weights)
        return other

    def total(self, key, count):
        """Sum over windows of `count(window)`, weighted."""
        if key not in self._memory:
            self._memory[key] = [count(w) for w in self.windows]
        return sum(weight * value for weight, value in zip(self.weights, self._memory[key], strict=True))

    def sequence(self, site, w):
        """Active sets of the tokens of a window that came, in order."""
        return [self.seen[site].active[w, t] for t in range(self.window) if (w, t) in self.seen[site].active]

    def tokens(self, site):
        return self.total(("tokens", site), lambda w: len(self.sequence(site, w)))

    def active(self, site):
        return self.total(("active", site), lambda w: sum(map(len, self.sequence(site, w))))

    def all_tokens(self):
        return self.window * sum(self.weights)

    def fired(self, site):
        """Tokens each neuron fires on."""

        def count(w):
            firings = Counter(itertools.chain.from_iterable(self.sequence(site, w)))
            return np.array([firings[i] for i in range(self.seen[site].size)], float)

        return self.total(("fired", site), count)  # fmt: skip

    def frequencies(self, sites):
        """Share of tokens that came, all neurons of some sites."""
        return np.concatenate([self.fired(s) / max(self.tokens(s), 1e-9) for s in sites])

    def summary(self, sites):
        f = self.frequencies(sites)
        low, middle, high = (float(np.quantile(f, q)) for q in QUANTILES)
        return {"dead_share": sum(x < 0.001 for x in f) / len(f), "hot_share": sum(x > 0.5 for x in f) / len(f),
                "never_share": sum(x == 0 for x in f) / len(f), "frequency_p10": low, "frequency_median": middle,
                "frequency_p90": high}  # fmt: skip

    # By expert.

    def load(self, site):
        router = self.seen[site].name.rpartition(".")[0]
        sent = sum(self.tokens(s) for s, one in enumerate(self.seen) if one.name.rpartition(".")[0] == router)
        return self.tokens(site) / sent

    def expert_ratio(self, site):
        return self.active(site) / (self.tokens(site) * self.seen[site].size)

    def expert_reuse(self, site):
        pairs = lambda w: list(itertools.pairwise(self.sequence(site, w)))  # noqa: E731
        both = self.total(("both", site), lambda w: sum(len(a & b) for a, b in pairs(w)))
        return _over(both, self.total(("first", site), lambda w: sum(len(a) for a, _ in pairs(w))))

    def expert_chunks(self, site, L):
        return self.total(("chunks", site, L), lambda w: len(self.sequence(site, w)) // L)

    def expert_cls(self, site, L):
        def unions(w):
            tokens = self.sequence(site, w)
            return sum(len(set().union(*tokens[i : i + L])) for i in range(0, len(tokens) - L + 1, L))

        neurons = self.expert_chunks(site, L) * self.seen[site].size
        return 1 - _over(self.total(("union", site, L), unions), neurons)

    # Of layers, over tokens of the text.

    def sites(self, block):
        return [s for s, one in enumerate(self.seen) if block in ("all", one.block)]

    def at(self, site, w, t):
        return self.seen[site].active.get((w, t), set())

    def layer_ratio(self, sites):
        return sum(map(self.active, sites)) / sum(self.tokens(s) * self.seen[s].size for s in sites)

    def layer_reuse(self, sites):
        steps = range(self.window - 1)
        both = sum(self.total(("next", s), lambda w, s=s: sum(len(self.at(s, w, t) & self.at(s, w, t + 1))
                                                             for t in steps)) for s in sites)  # fmt: skip
        first = sum(
            self.total(("now", s), lambda w, s=s: sum(len(self.at(s, w, t)) for t in steps)) for s in sites
        )
        return both / first

    def union(self, site, L, *, first=False):
        """Neurons in the unions of chunks of L tokens of the text, or of the window's first L."""
        starts = [0] if first else range(0, self.window - L + 1, L)
        return self.total(("text union", site, L, first), lambda w: sum(
            len(set().union(*(self.at(site, w, t) for t in range(i, i + L)))) for i in starts))  # fmt: skip

    def chunks_came(self, site, L):
        """Chunks of L tokens of which one came to a site."""
        return self.total(("came", site, L), lambda w: sum(
            any((w, t) in self.seen[site].active for t in range(i, i + L))
            for i in range(0, self.window - L + 1, L)))  # fmt: skip

    def touched(self, L, d, *, skip_in, skip_out):
        """Weights read for chunks of L tokens: gated networks, 2 d on the input side and d on the output side."""
        weights = 0
        for s, one in enumerate(self.seen):
            used, there = self.union(s, L), self.chunks_came(s, L) * one.size
            weights += 2 * d * (used if skip_in else there) + d * (used if skip_out else there)
        return weights

    # Of routers.

    def needs(self, router, w):
        return [set(self.chosen_by[router, w, t]) for t in range(self.window)]

    def frequencies_of_segments(self, router, expert, m):
        """f of each start, of one expert, weighted tally by value."""

        def tally(w):
            went = [expert in needed for needed in self.needs(router, w)]
            fs = Counter(sum(went[p : p + m]) for p in range(self.window - m + 1))
            return np.array([fs[f] for f in range(m + 1)], float)

        return self.total(("f", router, expert, m), tally)  # fmt: skip

    def srp(self, pairs, m):
        """(SRP, size ratio) of (router, expert) pairs together: every least f tried; None where m is too long."""
        if m > self.window:
            return None, None
        return srp_of(sum(self.frequencies_of_segments(router, expert, m) for router, expert in pairs))

    def sch(self, routers, sizes, m):
        hits = sum(self.total(("hits", r, size, m), lambda w, r=r, size=size: cache_hits(self.needs(r, w), size, m))
                   for r, size in zip(routers, sizes, strict=True))  # fmt: skip
        return hits / sum(
            self.total(("need", r), lambda w, r=r: sum(map(len, self.needs(r, w)))) for r in routers
        )


def _over(above, below):
    return above / below if below else 0.0


def srp_of(tally):
    """Equation 6: the best F1 over every least f, and m times what is said to be active over what is."""
    m, best = len(tally) - 1, (-1.0, None)
    used = sum(f * n for f, n in enumerate(tally))
    for least in range(m + 1):
        matches = sum(f * n for f, n in enumerate(tally) if f >= least)
        predicted = m * sum(n for f, n in enumerate(tally) if f >= least)
        if predicted + used > 0 and 2 * matches / (predicted + used) > best[0]:
            best = (2 * matches / (predicted + used), _over(predicted, used))
    return best


def cache_hits(needs, size, m):
    """Section 2.3: of what a token does not need, the expert used on the fewest of the next m tokens goes."""
    cached, hits = set(), 0
    for t, needed in enumerate(needs):
        hits += len(cached & needed)
        cached |= needed
        coming = needs[t + 1 : t + 1 + m]
        while len(cached) > size:
            cached.remove(min(cached - needed, key=lambda e: (sum(e in later for later in coming), -e)))
    return hits
