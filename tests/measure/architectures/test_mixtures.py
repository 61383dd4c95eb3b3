"""Mixtures of experts against plain loops: each expert is a site over the tokens routed to it."""

import copy
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from tiny import MIXTURES, tiny

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.api import measure, sparsified
from sparsity_lab.measure.checkpoints import measure_checkpoints
from sparsity_lab.measure.model.hooks import tapped, tokens_tapped, up_tapped
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.model.passes import BatchVisitor, Subject
from sparsity_lab.measure.model.windows import cut
from sparsity_lab.measure.spec import MeasureSpec, expand
from sparsity_lab.measure.thresholds.masks import ThresholdVisitor, sparse_pass

WINDOW, WINDOWS, C = 24, 16, 0.2
FAMILIES = sorted(MIXTURES)


@pytest.fixture(scope="module")
def models():
    return {model_type: tiny(model_type) for model_type in FAMILIES}


@pytest.fixture(scope="module")
def measured(models):
    """A family's text and what is found of it at C, made once for the tests that read it."""

    @cache
    def of(model_type):
        ids = written(models[model_type])
        return ids, measure(models[model_type], ids, knob=C, window=WINDOW, bos_id=0)

    return of


def written(model):
    """Text of the model's own, window by window behind a BOS (0), so that its dense loss is plausible."""
    torch.manual_seed(1)
    options = {"do_sample": True, "temperature": 0.3, "eos_token_id": None, "pad_token_id": 5}
    ids = model.generate(torch.zeros(WINDOWS, 1, dtype=torch.long), max_new_tokens=WINDOW, **options)
    return ids[:, 1:].flatten()


def with_bos(ids):
    rows = ids.view(-1, WINDOW)
    return torch.cat([torch.zeros(len(rows), 1, dtype=torch.long), rows], dim=1)


class PlainExperts:
    """The experts of one layer as a loop over single tokens; drops |r a_i| ||W_d[:, i]|| <= eps, keeps accounts."""

    def __init__(self, experts, positions, thresholds):
        self.experts, self.positions, self.thresholds = experts, positions, thresholds
        self.ratios = [[] for _ in range(experts.num_experts)]
        self.kept = [0] * experts.num_experts

    def __call__(self, hidden, chosen, weights):
        total = torch.zeros_like(hidden)
        for token in range(len(hidden)):
            for rank in range(chosen.shape[1]):
                total[token] += self.one(hidden[token], int(chosen[token, rank]), weights[token, rank], token)
        return total

    def one(self, x, expert, weight, token):
        F = self.experts.intermediate_dim
        both, W_d = self.experts.gate_up_proj[expert], self.experts.down_proj[expert]
        a = torch.nn.functional.silu(both[:F] @ x) * (both[F:] @ x) * weight
        dropped = a.abs() * W_d.norm(dim=0) <= self.thresholds[expert]
        if token % self.positions:  # the BOS is masked, not counted
            self.ratios[expert].append(float((W_d @ (a * dropped)).norm() / (W_d @ a).norm()))
            self.kept[expert] += int((~dropped & (a != 0)).sum())
        return W_d @ (a * ~dropped)


@torch.no_grad()
def plainly(model, ids, sites, thresholds, *, drop):
    """Logits of a copy whose experts are plain loops, and the loops; dense sites keep everything."""
    slow, loops, first = copy.deepcopy(model), {}, {}
    for site in sites:
        if site.routed:
            first.setdefault(site.name.rpartition(".")[0], site.layer)
    for name, start in first.items():
        experts = slow.get_submodule(name)
        eps = [thresholds[start + e] if drop else -1.0 for e in range(experts.num_experts)]
        loops[start] = PlainExperts(experts, WINDOW + 1, eps)
        experts.forward = loops[start]
    return slow(input_ids=with_bos(ids), use_cache=False).logits, loops


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("model_type", FAMILIES)
def test_the_sites_are_found_proved_and_left_as_they_were(model_type, dtype):
    model = tiny(model_type).to(dtype)
    before = model.config._experts_implementation
    sites = find_sites(model).sites
    routed = [site for site in sites if site.routed]
    assert len(routed) == {"mixtral": 15, "olmoe": 18, "qwen2_moe": 10, "qwen3_moe": 10}[model_type]
    assert len(sites) - len(routed) == {"mixtral": 0, "olmoe": 0, "qwen2_moe": 3, "qwen3_moe": 1}[model_type]
    assert model.config._experts_implementation == before


class Seen(BatchVisitor):
    def __init__(self, mask=None):
        self.a, self.s, self.u, self.y, self.present, self.mask = {}, {}, {}, {}, {}, mask

    def visit(self, site, a, s):
        self.a[site.layer], self.s[site.layer] = a, s
        return None if self.mask is None else a * self.mask(site)

    def visit_output(self, site, a, y):
        self.y[site.layer] = y

    def see_up(self, site, u):
        self.u[site.layer] = u

    def see_tokens(self, site, present):
        self.present[site.layer] = present


@torch.no_grad()
@pytest.mark.parametrize("model_type", FAMILIES)
def test_every_token_is_seen_once_by_each_expert_it_is_routed_to(models, model_type):
    model, ids = models[model_type], torch.arange(60).view(3, 20)
    sites = find_sites(model).sites
    seen = Seen()
    with (
        up_tapped(sites, seen.see_up),
        tokens_tapped(sites, seen.see_tokens),
        tapped(sites, seen, outputs=True),
    ):
        model(input_ids=ids)
    for site in sites:
        a = seen.a[site.layer]
        assert torch.equal(a, seen.s[site.layer] * seen.u[site.layer])
        torch.testing.assert_close(seen.y[site.layer], a @ site.down_weight().T)
        if site.routed:
            present = seen.present[site.layer]
            assert not a[~present].any()
            assert a[present].any(dim=-1).all()
    k, routed = model.config.num_experts_per_tok, [site for site in sites if site.routed]
    layers = {site.name.rpartition(".")[0] for site in routed}
    per_window = sum(seen.present[site.layer].sum(dim=1) for site in routed)
    assert per_window.tolist() == [20 * k * len(layers)] * 3


@torch.no_grad()
@pytest.mark.parametrize("model_type", FAMILIES)
def test_dropping_neurons_is_zeroing_their_columns_of_w_d(models, model_type):
    """The reference has no hook: a copy of the model whose W_d has those columns set to zero."""
    model, ids = models[model_type], torch.arange(60).view(3, 20)
    sites = find_sites(model)[1]
    keep = [torch.rand(site.intermediate_size, generator=torch.Generator().manual_seed(site.layer)) < 0.5
            for site in sites]  # fmt: skip
    slow = copy.deepcopy(model)
    for site, kept in zip(find_sites(slow)[1], keep, strict=True):
        site.down_weight()[:, ~kept] = 0.0
    with tapped(sites, Seen(lambda site: keep[site.layer])):
        found = model(input_ids=ids).logits
    torch.testing.assert_close(found, slow(input_ids=ids).logits, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, model(input_ids=ids).logits, atol=1e-2)


@pytest.mark.parametrize("model_type", ["mixtral", "olmoe"])  # every site is an expert
@pytest.mark.long
def test_cett_and_its_counts_are_those_of_a_plain_loop(models, measured, model_type):
    """Experts see the tokens routed to them; kept neurons are counted in the sparse run."""
    model, sites = models[model_type], find_sites(models[model_type])[1]
    ids, found = measured(model_type)
    _, dense = plainly(model, ids, sites, found.thresholds, drop=False)
    routed = [len(ratios) for loop in dense.values() for ratios in loop.ratios]
    assert found.dense.reached.sum(axis=0).tolist() == routed

    # A threshold lies just below an activation; two ways to compute that one may round to either side of it.
    thresholds = [eps * (1 - 2e-6) for eps in found.thresholds]
    logits, sparse = plainly(model, ids, sites, thresholds, drop=True)
    with torch.no_grad(), sparsified(model, thresholds):
        torch.testing.assert_close(model(input_ids=with_bos(ids)).logits, logits, rtol=1e-3, atol=1e-3)
    subject = Subject(model, sites, cut(ids, window=WINDOW, bos_id=0), 4)
    counts = sparse_pass(subject, subject.all_rows, visitor=ThresholdVisitor(subject, thresholds), label="")
    kept = np.array([count for loop in sparse.values() for count in loop.kept])
    assert counts.active.sum(axis=0).tolist() == pytest.approx(kept, rel=0.01, abs=3)
    every = WINDOW * WINDOWS * found.sizes.sum()
    assert counts.activated_share(found.sizes) == pytest.approx(kept.sum() / every, rel=0.01)
    tokens = model.config.num_experts_per_tok * 3 * WINDOW * WINDOWS * found.sizes[0]
    assert counts.activation_ratio(found.sizes) == pytest.approx(kept.sum() / tokens, rel=0.01)


@pytest.mark.parametrize("model_type", ["mixtral", "olmoe"])
@pytest.mark.long
def test_thresholds_are_the_largest_whose_mean_ratio_over_routed_tokens_stays_below_c(
    models, measured, model_type
):
    model, sites = models[model_type], find_sites(models[model_type])[1]
    ids, found = measured(model_type)

    def means(factor):
        scaled = [eps * factor for eps in found.thresholds]
        return dense_ratios(model, ids, sites, scaled)

    assert means(0.99) == pytest.approx([C] * len(sites), rel=0.06)
    assert (np.array(means(0.995)) <= C).all()
    assert (np.array(means(1.005)) > C).all()


@torch.no_grad()
def dense_ratios(model, ids, sites, thresholds):
    """Mean CETT of each expert at these thresholds with the activations of the dense run."""
    seen, means = Seen(), []
    with tokens_tapped(sites, seen.see_tokens), tapped(sites, seen, outputs=True):
        model(input_ids=with_bos(ids))
    for site, eps in zip(sites, thresholds, strict=True):
        present = seen.present[site.layer].clone()
        present[:, 0] = False  # the BOS
        a, W_d = seen.a[site.layer][present].double(), site.down_weight().double()
        weak = a.abs() * W_d.norm(dim=0) <= eps
        ratio = ((a * weak) @ W_d.T).norm(dim=1) / (a @ W_d.T).norm(dim=1)
        means.append(float(ratio.mean()))
    return means


@pytest.mark.thorough(3)
@pytest.mark.parametrize(
    "criterion", ["cett", "cats", "per-channel", "teal-down", "top-k", "top-p", "wina-down"]
)
@pytest.mark.parametrize("model_type", FAMILIES)
@pytest.mark.long
def test_counts_do_not_depend_on_the_batch(models, model_type, criterion):
    model = models[model_type]
    ids = written(model)
    one, five = (
        measure(model, ids, criterion=criterion, knob=0.3, window=WINDOW, bos_id=0, batch_size=size)
        for size in (1, 5)
    )
    assert (one.sparse.active == five.sparse.active).all()
    assert (one.sparse.reached == five.sparse.reached).all()
    assert one.sums.zero_outputs.sum() == 0
    assert one.nonzero_ratio == 1.0


@pytest.mark.parametrize("model_type", FAMILIES)
@pytest.mark.long
def test_quantiles_are_over_routed_tokens_alone(models, model_type):
    """At the 0.3 quantile 70 % of the dense run's activations of every expert lie above its threshold."""
    model, sites = models[model_type], find_sites(models[model_type])[1]
    ids = written(model)
    found = measure(model, ids, criterion="teal-down", knob=0.3, window=WINDOW, bos_id=0)
    seen = Seen()
    with torch.no_grad(), tokens_tapped(sites, seen.see_tokens), tapped(sites, seen):
        model(input_ids=with_bos(ids))
    for site, eps in zip(sites, found.thresholds, strict=True):
        a = seen.a[site.layer]
        present = (
            torch.ones(a.shape[:2], dtype=torch.bool) if not site.routed else seen.present[site.layer].clone()
        )
        present[:, 0] = False
        assert float((a[present].abs() > eps).double().mean()) == pytest.approx(0.7, abs=0.01)


def test_an_expert_that_no_token_reaches_has_a_threshold_of_zero(models):
    """Router rows p, -p, q, -q give two positive logits always, so an expert with logit 0 is never among two."""
    model = copy.deepcopy(models["mixtral"])
    rows = model.model.layers[1].mlp.gate.weight.data
    rows[1], rows[4], rows[3] = -rows[0], -rows[2], 0.0
    ids = written(model)
    found = measure(model, ids, knob=C, window=WINDOW, bos_id=0)
    reached = found.dense.reached.sum(axis=0)
    assert reached[8] == 0
    assert (np.delete(reached, 8) > 0).all()
    assert found.thresholds[8] == 0.0
    assert found.sparse.ratio_per_layer(found.sizes)[8] == 0.0
    assert 0.05 < found.activation_ratio < 0.9


@pytest.mark.parametrize("model_type", FAMILIES)
@pytest.mark.long
def test_generation_runs_under_thresholds_and_errors_leave_nothing_behind(models, model_type):
    model, prompt = models[model_type], torch.tensor([[4, 9, 30]])
    own, layers = model.config._experts_implementation, len(find_sites(model)[1])
    options = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    free = model.generate(prompt, **options)
    with sparsified(model, [0.0] * layers), sparsified(model, [0.0] * layers):
        assert torch.equal(model.generate(prompt, **options), free)
    with torch.no_grad(), sparsified(model, [1e9] * layers):
        cut = model(input_ids=prompt).logits
    assert not torch.allclose(cut, model(input_ids=prompt).logits, atol=1e-3)
    with pytest.raises(RuntimeError, match="out of the blue"), sparsified(model, [0.0] * layers):
        raise RuntimeError("out of the blue")
    assert model.config._experts_implementation == own
    assert torch.equal(model.generate(prompt, **options), free)


def test_experts_that_do_not_add_up_are_refused(models):
    """Weights the model uses in another order than the file says: its own computation is asked and differs."""
    model = copy.deepcopy(models["mixtral"])
    experts = model.model.layers[1].mlp.experts
    experts._apply_gate = lambda both: both.chunk(2, dim=-1)[0] * experts.act_fn(both.chunk(2, dim=-1)[1])
    with pytest.raises(SparsityLabError, match="do not add up"):
        find_sites(model)


def test_a_checkpoint_on_disk_is_measured_and_its_record_tells_both_ratios(models, tmp_path):
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    model = models["qwen2_moe"]
    words = Tokenizer(WordLevel({f"w{i}": i for i in range(97)}, unk_token="w1"))
    words.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    text = tmp_path / "text.txt"
    text.write_text(" ".join(f"w{i}" for i in written(model).tolist()))
    spec = MeasureSpec(text=text, knob=C, tokens=WINDOW * WINDOWS, window=WINDOW, bos=False)
    (record,) = measure_checkpoints(spec, expand([str(tmp_path / "model")]), output=tmp_path / "out")
    assert record["architecture"] == "qwen2-moe"
    assert record["layers"] == 3
    assert len(record["thresholds"]) == len(record["activation_ratio_per_layer"]) == 13
    assert 0 < record["activated_share"] < record["activation_ratio"] < 1
    # Two experts of five, 24 neurons each, in two layers, a shared one of 40 there, and a dense layer of 72.
    came, all_neurons = 2 * (2 * 24 + 40) + 72, 2 * (5 * 24 + 40) + 72
    assert record["activated_share"] == pytest.approx(record["activation_ratio"] * came / all_neurons)
    with (
        pytest.raises(SparsityLabError, match="12 thresholds for a model of 13"),
        sparsified(model, [0.1] * 12),
    ):
        pass
