"""Mixtures of experts: every number of `neurons` recounted in plain loops; dead experts planted and found."""

import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import MixtralConfig, MixtralForCausalLM

sys.path.insert(0, str(Path(__file__).parents[1] / "architectures"))
sys.path.insert(0, str(Path(__file__).parent))
from plain_mixture import Recount, watched
from tiny import tiny

from sparsity_lab.measure.api import measure
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.model.windows import cut
from sparsity_lab.measure.neurons.api import watch_neurons
from sparsity_lab.measure.neurons.frequency.run import arrays_of
from sparsity_lab.measure.neurons.mixtures.counts import ExpertCounts, Largest
from sparsity_lab.measure.neurons.mixtures.rows import rows_of_experts
from sparsity_lab.measure.neurons.mixtures.segments import SEGMENTS
from sparsity_lab.measure.neurons.rows import chunk_rows, layer_rows, parameter_rows
from sparsity_lab.measure.neurons.visitor import neuron_pass
from sparsity_lab.measure.thresholds.stored import Calibration

WINDOW, WINDOWS = 20, 7


def planted(family):
    """A random mixture whose first router never chooses expert 1: of 0 and 2, and of 3 and 4, one is always above."""
    model = tiny(family)
    gate = next(module for name, module in model.named_modules() if name.endswith("mlp.gate"))
    with torch.no_grad():
        gate.weight[1] = 0.0
        gate.weight[2], gate.weight[4] = -gate.weight[0], -gate.weight[3]
    return model


def close(ours, theirs, **kind):
    if theirs is None:
        assert ours is None
    else:
        assert ours == pytest.approx(theirs, rel=2e-5, abs=1e-9, **kind)


class Case:
    """A report and its recount."""

    def __init__(self, model, ids, *, window, bos_id, thresholds=None):
        self.model, self.sites = model, find_sites(model).sites
        self.thresholds = thresholds or [0.2 + 0.4 * (s.layer % 3) for s in self.sites]
        self.windows = cut(ids, window=window, bos_id=bos_id)
        self.report = watch_neurons(
            model, ids, thresholds=self.thresholds, window=window, bos_id=bos_id, batch_size=3
        )
        self.rows = rows_of_experts(self.report)
        seen, self.losses, chosen = watched(model, self.sites, self.windows, self.thresholds)
        self.plain = Recount(seen, chosen, windows=self.windows.count, window=window)
        self.draws = self.report.estimator.draws
        unit = np.searchsorted(self.draws.begins, np.arange(self.windows.count), side="right") - 1
        self.replicates = [self.plain.under(weights) for weights in self.draws.weights[:, unit]]
        self.d = model.config.hidden_size

    def check(self, row, name, value):
        """A number and its error; `value` makes it of a recount."""
        close(row[name], value(self.plain))
        if row[name] is not None:
            drawn = np.array([value(replicate) for replicate in self.replicates])
            assert row[f"{name}_se"] == pytest.approx(self.draws.error(drawn), rel=1e-4, abs=1e-9)

    def check_summary(self, row, sites):
        """Shares and quantiles of frequencies; errors of shares where no frequency lies on a bound in a replicate."""
        on_bound = any((abs(p.frequencies(sites) - bound) < 1e-9).any()
                       for p in self.replicates for bound in (0.5, 0.001))  # fmt: skip
        for name, value in self.plain.summary(sites).items():
            if on_bound and name.endswith("_share"):
                close(row[name], value)
            else:
                self.check(row, name, lambda p, name=name: p.summary(sites)[name])


def check_experts(case):
    seen, plain = case.plain.seen, case.plain
    mixed = {one.block for one in seen if one.expert is not None}
    experts = [s for s, one in enumerate(seen) if one.block in mixed]
    assert [row["module"] for row in case.rows["expert_rows"]] == [seen[s].name for s in experts]
    scores, outputs = ([getattr(seen[s], key) for s in experts] for key in ("score", "output"))
    halves = [np.median([x for x in values if x > 0]) for values in (scores, outputs)]
    for s, row in zip(experts, case.rows["expert_rows"], strict=True):
        one = seen[s]
        assert (row["layer"], row["expert"]) == (plain.blocks.index(one.block), one.expert)
        assert row["kind"] == ("shared" if one.expert is None else "routed")
        assert (row["neurons"], row["tokens"]) == (one.size, plain.tokens(s))
        if one.expert is None:
            assert row["load"] is None
        else:
            case.check(row, "load", lambda p, s=s: p.load(s))
        if not plain.tokens(s):
            assert not row["load"]
            assert all(value is None for value in list(row.values())[8:])
            continue
        case.check(row, "activation_ratio", lambda p, s=s: p.expert_ratio(s))
        case.check_summary(row, [s])
        case.check(row, "reuse_expert_tokens", lambda p, s=s: p.expert_reuse(s))
        f = plain.frequencies([s])
        close(row["reuse_expert_tokens_by_chance"], sum(x * x for x in f) / sum(f) if f.any() else 0.0)
        close(row["largest_score"], one.score)
        close(row["largest_score_over_median"], one.score / halves[0])
        close(row["largest_output"], one.output)
        close(row["largest_output_over_median"], one.output / halves[1])
        beyond = one.output > np.percentile(outputs, 99.5) and one.output > max(outputs) / 10
        assert row["super_expert_candidate"] == int(beyond)


def check_chunks_of_experts(case):
    plain, rows = case.plain, iter(case.rows["expert_chunk_rows"])
    for row in case.rows["expert_rows"]:
        (s,) = (s for s, one in enumerate(plain.seen) if one.name == row["module"])
        for L in (1, 2, 4, 8, 16, 32, 64):
            if plain.window >= L and plain.expert_chunks(s, L):
                chunk = next(rows)
                assert (chunk["module"], chunk["expert_tokens"]) == (row["module"], L)
                assert chunk["chunks"] == plain.expert_chunks(s, L)
                case.check(chunk, "cls_expert_tokens", lambda p, s=s, L=L: p.expert_cls(s, L))
                close(chunk["sparsity_by_chance"], np.mean([(1 - x) ** L for x in plain.frequencies([s])]))
    assert next(rows, None) is None


def check_routing(case, *, experts, k):
    plain, rows = case.plain, {}
    for row in case.rows["expert_routing_rows"]:
        rows[row["layer"], row["expert"], row["segment"]] = row
    layers = {name: plain.blocks.index(name.rpartition(".mlp")[0]) for name in plain.routers}
    assert len(rows) == len(SEGMENTS) * (1 + len(layers) * (1 + experts))
    size = min(experts, 2 * k)
    groups = {("all", "all"): plain.routers} | {(layers[name], "all"): [name] for name in plain.routers}
    for key, routers in groups.items():
        pairs = [(name, e) for name in routers for e in range(experts)]
        for m in SEGMENTS:
            row = rows[(*key, m)]
            assert (row["experts"], row["routed"]) == (experts * len(routers), k * len(routers))
            assert row["cache"] == size * len(routers)
            if m > plain.window:
                assert row["srp"] is row["srp_se"] is row["size_ratio"] is None
            else:
                case.check(row, "srp", lambda p, pairs=pairs, m=m: p.srp(pairs, m)[0])
                close(row["size_ratio"], plain.srp(pairs, m)[1])
            sizes = [size] * len(routers)
            case.check(row, "sch", lambda p, routers=routers, sizes=sizes, m=m: p.sch(routers, sizes, m))
    for name, layer in layers.items():
        for e in range(experts):
            for m in SEGMENTS:
                row, (srp, ratio) = rows[layer, e, m], plain.srp([(name, e)], m)
                used = any(
                    e in chosen for (router, _, _), chosen in plain.chosen_by.items() if router == name
                )
                close(row["srp"], srp if used or srp is None else 0.0)
                close(row["size_ratio"], ratio if used else None)


def check_layers(case):
    plain = case.plain
    for row in layer_rows(case.report):
        sites = plain.sites("all" if row["layer"] == "all" else plain.blocks[row["layer"]])
        assert row["neurons"] == sum(plain.seen[s].size for s in sites)
        case.check(row, "activation_ratio", lambda p, sites=sites: p.layer_ratio(sites))
        case.check_summary(row, sites)
        case.check(row, "reuse", lambda p, sites=sites: p.layer_reuse(sites))
        f = np.concatenate([plain.fired(s) for s in sites]) / plain.all_tokens()
        close(row["reuse_by_chance"], sum(x * x for x in f) / sum(f))
    for row in chunk_rows(case.report):
        sites, L = plain.sites("all" if row["layer"] == "all" else plain.blocks[row["layer"]]), row["tokens"]
        neurons = sum(plain.seen[s].size for s in sites)

        def cls(p, sites=sites, L=L, neurons=neurons):
            return 1 - sum(p.union(s, L) for s in sites) / (p.window // L * sum(p.weights) * neurons)

        def first(p, sites=sites, L=L, neurons=neurons):
            return 1 - sum(p.union(s, L, first=True) for s in sites) / (sum(p.weights) * neurons)

        case.check(row, "cls", cls)
        case.check(row, "aggregated_sparsity", first)
        f = np.concatenate([plain.fired(s) for s in sites]) / plain.all_tokens()
        close(row["sparsity_by_chance"], np.mean([(1 - x) ** L for x in f]))
        if row["layer"] == "all":
            weights = 3 * case.d * neurons
            for name, skip_in, skip_out in (("output_side", False, True), ("input_side", True, False),
                                            ("oracle", True, True)):  # fmt: skip
                case.check(row, f"touched_{name}", lambda p, L=L, i=skip_in, o=skip_out, weights=weights:
                           p.touched(L, case.d, skip_in=i, skip_out=o)
                           / (p.window // L * sum(p.weights) * weights))  # fmt: skip
    for row in parameter_rows(case.report):
        skip = {"output-side": (False, True), "input-side": (True, False), "oracle": (True, True)}
        skip_in, skip_out = skip[row["convention"]]
        case.check(row, "ffn_params", lambda p, i=skip_in, o=skip_out:
                   p.touched(1, case.d, skip_in=i, skip_out=o) / p.all_tokens())  # fmt: skip


def check_tokens_and_loads(case, *, experts, k, shared):
    plain, counts = case.plain, case.report.estimator.counts
    by_layer = [[row["load"] * experts for row in case.rows["expert_rows"]
                 if row["kind"] == "routed" and row["layer"] == layer["layer"]]
                for layer in case.rows["expert_layer_rows"][1:]]  # fmt: skip
    whole, *layers = case.rows["expert_layer_rows"]
    for row, loads in zip(layers, by_layer, strict=True):
        assert (row["experts"], row["routed"], row["shared_experts"]) == (experts, k, shared)
        assert (row["least_load"], row["greatest_load"]) == (min(loads), max(loads))
        assert row["dead_experts"] == sum(load == 0 for load in loads)
    for key in ("experts", "routed", "shared_experts", "dead_experts"):
        assert whole[key] == sum(row[key] for row in layers)
    ids = case.windows.ids.tolist()
    active, there, seen_at = {}, {}, np.zeros(plain.window)
    for w, row in enumerate(ids):
        for t, token in enumerate(row):
            here = sum(len(plain.at(s, w, t)) for s in range(len(plain.seen)))
            active[token] = active.get(token, 0) + here
            there[token] = there.get(token, 0) + sum(one.size for one in plain.seen if (w, t) in one.active)
            seen_at[t] += here
    at_hand = there[ids[0][0]] / sum(row.count(ids[0][0]) for row in ids)  # the same for all tokens
    arrays = arrays_of(case.report)
    assert arrays["token_ratio"] == pytest.approx(
        [active[i] / there[i] for i in arrays["token_ids"].tolist()]
    )
    assert arrays["position_ratio"] == pytest.approx(seen_at / (at_hand * len(ids)))
    assert counts.loss_nats.sum() == pytest.approx(sum(case.losses), rel=1e-5)
    assert arrays["site_tokens"].tolist() == [plain.tokens(s) for s in range(len(plain.seen))]


@pytest.fixture(scope="module")
def learned():
    """A mixture taught for some seconds to go on in texts of two kinds, and such a text."""
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=64, hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=64, num_local_experts=6, num_experts_per_tok=2,
        output_router_logits=True, router_aux_loss_coef=0.002,
    )  # fmt: skip
    model = MixtralForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    steps = torch.tensor([1, 5])

    def texts(rows):
        """Counting by ones below 32, or by fives above, until a random jump."""
        kind = torch.randint(0, 2, (rows, 1)).repeat_interleave(32, 1)
        jumps = torch.randint(0, 32, (rows, 32)) * (torch.rand(rows, 32) < 0.1)
        return (steps[kind].cumsum(1) + jumps.cumsum(1)) % 32 + 32 * kind

    for _ in range(300):
        batch = texts(16)
        model(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.config.output_router_logits = False
    return model.eval(), texts(8).flatten()


SHAPES = {"mixtral": (5, 2, 0), "qwen2_moe": (5, 2, 1)}


@pytest.fixture(scope="module", params=[("mixtral", 0), ("mixtral", None), ("qwen2_moe", 0), ("qwen2_moe", None)],
                ids=lambda param: f"{param[0]}-{param[1]}")  # fmt: skip
def case(request):
    family, bos_id = request.param
    ids = torch.randint(0, 97, (WINDOWS * WINDOW,), generator=torch.Generator().manual_seed(0))
    made = Case(tiny(family), ids, window=WINDOW, bos_id=bos_id)
    made.shape = SHAPES[family]
    return made


@pytest.mark.parametrize("family", sorted(SHAPES))
@pytest.mark.long
def test_a_dead_expert_is_found(family):
    ids = torch.randint(0, 97, (WINDOWS * WINDOW,), generator=torch.Generator().manual_seed(1))
    case = Case(planted(family), ids, window=WINDOW, bos_id=0)
    dead = [(row["layer"], row["expert"]) for row in case.rows["expert_rows"] if row["tokens"] == 0]
    assert dead == [(0, 1)]
    assert [row["dead_experts"] for row in case.rows["expert_layer_rows"][:2]] == [1, 1]
    neurons = next(row["neurons"] for row in case.rows["expert_rows"] if row["expert"] == 1)
    assert layer_rows(case.report)[1]["never_share"] * case.report.estimator.sizes[0] >= neurons
    check_experts(case)
    check_layers(case)


@pytest.mark.slow
def test_a_mixture_that_was_trained_is_that_of_plain_loops(learned):
    """Its experts differ: in load, in frequencies and in what they give out."""
    model, ids = learned
    found = measure(model, ids, knob=0.2, window=32)
    case = Case(model, ids, window=32, bos_id=None, thresholds=list(found.thresholds))
    loads = [row["load"] for row in case.rows["expert_rows"]]
    assert max(loads) > 1.5 * min(loads)
    assert case.report.estimator.activation_ratio().value == pytest.approx(found.activation_ratio, abs=1e-12)
    check_experts(case)
    check_chunks_of_experts(case)
    check_layers(case)
    check_routing(case, experts=6, k=2)
    check_tokens_and_loads(case, experts=6, k=2, shared=0)


@pytest.mark.long
def test_counts_do_not_depend_on_the_batch_and_add_up(case):
    model_windows = case.windows
    calibration = Calibration("cett", tuple(case.thresholds))
    whole = neuron_pass(Subject(case.model, case.sites, model_windows, 7), calibration)
    one = Subject(case.model, case.sites, model_windows, 1)
    parts = [neuron_pass(one, calibration, rows=rows) for rows in np.array_split(one.all_rows, 3)]
    summed = parts[2] + parts[0] + parts[1]
    for field in fields(ExpertCounts):
        ours, theirs = getattr(summed.experts, field.name), getattr(whole.experts, field.name)
        if isinstance(ours, Largest):
            assert ours.values == pytest.approx(theirs.values, rel=1e-5)
        elif isinstance(ours, tuple):
            assert all(map(np.array_equal, ours, theirs))
        else:
            assert np.array_equal(ours, theirs), field.name


@pytest.mark.long
def test_experts_are_those_of_plain_loops(case):
    check_experts(case)
    check_chunks_of_experts(case)


def test_layers_are_those_of_plain_loops(case):
    check_layers(case)


def test_routers_and_tokens_are_those_of_plain_loops(case):
    experts, k, shared = case.shape
    check_routing(case, experts=experts, k=k)
    check_tokens_and_loads(case, experts=experts, k=k, shared=shared)
