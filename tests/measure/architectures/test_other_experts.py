"""Experts that transformers' classes compute in a way of their own, against plain loops over single tokens."""

import copy
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.functional import silu

sys.path.insert(0, str(Path(__file__).parent))
from every import small

from sparsity_lab.measure.api import sparsified
from sparsity_lab.measure.model.hooks import tapped, tokens_tapped
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.model.passes import BatchVisitor, Subject
from sparsity_lab.measure.model.windows import cut
from sparsity_lab.measure.thresholds.masks import ThresholdVisitor, sparse_pass

WINDOW, WINDOWS = 12, 4
IDS = torch.arange(WINDOW * WINDOWS).mul(7).remainder(97)
ROWS = IDS.view(WINDOWS, WINDOW)


class Loop:
    """The experts of one layer; drops neurons with |a_i| ||W_d[:, i]|| <= eps and counts those that it keeps."""

    def __init__(self, module, thresholds):
        self.module, self.thresholds, self.kept = module, thresholds, [0] * len(thresholds)

    def expert(self, e, s, u, W_d, weight=1.0):
        a = s * u * weight
        keeps = a.abs() * W_d.norm(dim=0) > self.thresholds[e]
        self.kept[e] += int(keeps.sum())
        return W_d @ (a * keeps)


class Llama4(Loop):
    """Each expert has a copy of all tokens, scaled by the router's score, which is 0 for most."""

    def __call__(self, routed_in):
        experts, (E, _, both) = self.module, self.module.gate_up_proj.shape
        out = torch.zeros_like(routed_in)
        for row, x in enumerate(routed_in):
            e = row // (len(routed_in) // E)
            gate, up = (x @ experts.gate_up_proj[e]).split(both // 2)
            out[row] = self.expert(e, silu(gate), up, experts.down_proj[e].T)
        return out


class Routed(Loop):
    def __call__(self, hidden, chosen, weights):
        rows = hidden.reshape(-1, hidden.shape[-1])
        out = torch.zeros_like(rows)
        for token, x in enumerate(rows):
            for e, weight in zip(chosen[token].tolist(), weights[token], strict=True):
                out[token] += self.one(e, x, weight)
        return out.view(hidden.shape)


class LongCat(Routed):
    """The last experts have no matrices and give what they take."""

    def one(self, e, x, weight):
        experts = self.module
        if e >= len(experts.down_proj):
            return weight * x
        gate, up = (experts.gate_up_proj[e] @ x).chunk(2)
        return self.expert(e, silu(gate), up, experts.down_proj[e], weight)


class Dbrx(Routed):
    def one(self, e, x, weight):
        mlp, F = self.module.mlp, self.module.ffn_hidden_size
        w1, v1, w2 = (matrix[e * F : (e + 1) * F] for matrix in (mlp.w1, mlp.v1, mlp.w2))
        return self.expert(e, silu(w1 @ x), v1 @ x, w2.T, weight)


class Inkling(Loop):
    """Shared experts: all of them take all tokens, each with a weight for each token."""

    def __call__(self, hidden, gammas):
        experts, rows = self.module, hidden.reshape(-1, hidden.shape[-1])
        out = torch.zeros_like(rows)
        for token, (x, weights) in enumerate(zip(rows, gammas.reshape(len(rows), -1), strict=True)):
            for e, weight in enumerate(weights):
                s, u = silu(experts.gate_proj[e] @ x), experts.up_proj[e] @ x
                out[token] += self.expert(e, s, u, experts.down_proj[e], weight)
        return out.view(hidden.shape)


class JetMoe(Loop):
    """The router's softmax is over the chosen experts alone; a bias is added to the whole."""

    def __call__(self, hidden):
        module, rows = self.module, hidden.reshape(-1, hidden.shape[-1])
        out = torch.zeros_like(rows)
        for token, x in enumerate(rows):
            scores, chosen = (module.router.layer.weight @ x).topk(module.router.top_k)
            for e, weight in zip(chosen.tolist(), scores.softmax(0), strict=True):
                gate, up = (module.input_linear.weight[e] @ x).chunk(2)
                out[token] += self.expert(e, silu(gate), up, module.output_linear.weight[e], weight)
        return out.view(hidden.shape) + module.bias


LOOPS = {
    "llama4_text": ("feed_forward.experts", Llama4), "longcat_flash": ("mlp.experts", LongCat),
    "inkling_text": ("mlp.shared_experts", Inkling), "jetmoe": ("mlp", JetMoe), "dbrx": ("ffn.experts", Dbrx),
}  # fmt: skip


class Seen(BatchVisitor):
    def __init__(self):
        self.a, self.present = {}, {}

    def visit(self, site, a, s):
        self.a[site.layer] = a

    def see_tokens(self, site, present):
        self.present[site.layer] = present


def between(model, sites, ending):
    """Thresholds between two activations of the dense run, so that no rounding decides; for others 0."""
    seen, thresholds = Seen(), []
    with tokens_tapped(sites, seen.see_tokens), tapped(sites, seen):
        model(input_ids=ROWS, use_cache=False)
    for site in sites:
        a = seen.a[site.layer]
        a = a[seen.present[site.layer]] if site.routed else a
        scores = (a.abs() * site.column_norms()).flatten().sort().values
        many = len(scores) * 3 // 10
        # In the first layer alone: what is dropped there moves the activations behind it.
        is_cut = many and site.routed and f".0.{ending}." in site.name
        thresholds.append(float(scores[many : many + 2].mean()) if is_cut else 0.0)
    return thresholds


@torch.no_grad()
@pytest.mark.parametrize("model_type", LOOPS)
@pytest.mark.long
def test_experts_are_those_of_a_plain_loop(model_type):
    """Logits of the whole model, and the neurons kept of each expert, with three in ten dropped in the first layer."""
    model = small(model_type)
    sites = find_sites(model).sites
    ending, loop = LOOPS[model_type]
    thresholds = between(model, sites, ending)
    slow, loops = copy.deepcopy(model), {}
    for name, module in slow.named_modules():
        mine = [site.layer for site in sites if site.routed and site.name.rpartition(".")[0] == name]
        if mine and name.endswith(ending):
            loops[mine[0]] = module.forward = loop(module, [thresholds[layer] for layer in mine])
    assert len(loops) == len([name for name, _ in model.named_modules() if name.endswith(ending)]) > 1
    assert max(thresholds) > 0
    dense = model(input_ids=ROWS, use_cache=False).logits
    with sparsified(model, thresholds):
        found = model(input_ids=ROWS, use_cache=False).logits
    expected = slow(input_ids=ROWS, use_cache=False).logits
    assert (found - expected).norm() < 1e-3 * (dense - expected).norm()
    torch.testing.assert_close(model(input_ids=ROWS, use_cache=False).logits, dense)
    subject = Subject(model, sites, cut(IDS, window=WINDOW, bos_id=None), WINDOWS)
    visitor = ThresholdVisitor(subject, thresholds)
    active = sparse_pass(subject, subject.all_rows, visitor=visitor, label="").active.sum(axis=0)
    first = min(loops)
    assert active[first : first + len(loops[first].kept)].tolist() == loops[first].kept


@torch.no_grad()
@pytest.mark.parametrize("model_type", LOOPS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.long
def test_they_are_proved_in_low_precision_and_left_as_they_were(model_type, dtype):
    model = small(model_type).to(dtype)
    before = model(input_ids=ROWS, use_cache=False).logits
    find_sites(model)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    torch.testing.assert_close(model(input_ids=ROWS, use_cache=False).logits, before, rtol=0, atol=0)


@torch.no_grad()
def test_the_clamped_function_of_minimax_m3_is_that_of_its_description():
    """s = g sigmoid(1.702 g) with g at most 7, u = up + 1 with up within +-7, where g and up are beyond."""
    model = small("minimax_m3_vl_text")
    found = find_sites(model)
    site = next(site for site in found.sites if not site.routed)
    mlp = model.get_submodule(site.name)
    mlp.gate_up_proj.weight.mul_(40.0)
    inputs, seen = [], {}

    class Look(BatchVisitor):
        def visit(self, site, a, s):
            seen[site.layer] = a, s

    keep = mlp.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    with tapped([site], Look()):
        model(input_ids=ROWS, use_cache=False)
    keep.remove()
    gate, up = (inputs[0] @ mlp.gate_up_proj.weight.T).chunk(2, dim=-1)
    assert gate.max() > 7
    assert up.abs().max() > 7
    gate = gate.clamp(max=7.0)
    s = gate * torch.sigmoid(1.702 * gate)
    a, seen_s = seen[site.layer]
    torch.testing.assert_close(seen_s.view(s.shape), s)
    torch.testing.assert_close(a.view(s.shape), s * (up.clamp(-7.0, 7.0) + 1.0))
