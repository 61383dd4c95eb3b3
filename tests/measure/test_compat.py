"""The reproduced algorithm of Sparsing Law against plain loops over all scores, and what it costs."""

import json
import math

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from sparsity_lab.bench.measure.comparison import compare_at_ppl_increase
from sparsity_lab.bench.measure.cost import Metered, peak_memory
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.compat import sparsinglaw
from sparsity_lab.measure.compat.layer_search import CANDIDATES, layer_threshold
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.model.passes import UNSEEN, BatchVisitor, Subject
from sparsity_lab.measure.model.windows import cut
from sparsity_lab.measure.search import engine
from sparsity_lab.store.records import read_record
from tests.command import exit_code

pytestmark = pytest.mark.usefixtures("unrendered")

TARGET = math.log1p(0.01)
WINDOW, WINDOWS = 64, 8


@pytest.fixture
def subject(llama, own_text):
    """A model with a text of its own; the batch size must not matter."""

    def build(activation="silu", kind=Subject):
        model = llama(activation=activation)
        windows = cut(own_text(model, windows=WINDOWS, window=WINDOW), window=WINDOW)
        return kind(model, find_sites(model)[1], windows, 4)

    return build


class Recorded(BatchVisitor):
    """Every layer's activations in one pass, for the loops below."""

    def __init__(self):
        self.seen = {}

    def visit_output(self, site, a, y):
        self.seen.setdefault(site.layer, []).append(a.flatten(0, 1).double().numpy())


def dense_activations(subject):
    visitor = Recorded()
    subject.losses(subject.all_rows, visitor=visitor, label="dense", outputs=True)
    return [np.concatenate(parts) for _, parts in sorted(visitor.seen.items())]


def mean_cett(a, weight, eps):
    """Mean CETT with every score <= eps dropped, token by token and neuron by neuron, float64."""
    norms = [math.sqrt(sum(w * w for w in column)) for column in weight.T]
    total = 0.0
    for token in a:
        dropped = np.zeros(len(weight))
        for i, value in enumerate(token):
            if abs(value) * norms[i] <= eps:
                dropped = dropped + value * weight[:, i]
        total += np.linalg.norm(dropped) / np.linalg.norm(weight @ token)
    return total / len(a)


def slow_sparse_run(subject, thresholds):
    """(activation ratio, mean loss) where |a_i| < eps / w_i is dropped, one window at a time."""
    kept = total = 0
    losses = []
    layers = subject.model.model.layers

    def masking(weight, eps):
        limits = eps / weight.detach().norm(dim=0)

        def mask(_, inputs):
            nonlocal kept, total
            keep = ~(inputs[0].abs() < limits)
            kept, total = kept + int(keep.sum()), total + keep.numel()
            return (inputs[0] * keep,)

        return mask

    hooks = [
        block.mlp.down_proj.register_forward_pre_hook(masking(block.mlp.down_proj.weight, eps))
        for block, eps in zip(layers, thresholds, strict=True)
    ]
    with torch.no_grad():
        for window in subject.windows.ids:
            chances = subject.model(input_ids=window[None]).logits[0].double().log_softmax(dim=-1)
            losses += [-float(chances[t, window[t + 1]]) for t in range(len(window) - 1)]
    for hook in hooks:
        hook.remove()
    return kept / total, sum(losses) / len(losses)


@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("c", [0.05, 0.3])
@pytest.mark.long
def test_thresholds_sit_where_a_plain_loop_finds_the_mean_crossing_c(subject, activation, c):
    subject = subject(activation)
    found = sparsinglaw.at_cett(subject, c=c)
    for a, site, layer in zip(dense_activations(subject), subject.sites, found.layers, strict=True):
        weight = site.down_weight().detach().double().numpy()
        assert not layer.capped
        assert mean_cett(a, weight, layer.eps) <= c * (1 + 1e-5)
        assert mean_cett(a, weight, layer.eps + 1.001 * layer.step) > c * (1 - 1e-5)
    ratio, loss = slow_sparse_run(subject, found.thresholds)
    assert found.activation_ratio == ratio
    assert found.measurement.sparse.mean_loss_nats() == pytest.approx(loss, abs=1e-5)


@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_it_agrees_with_the_engine_within_its_own_grid(subject, activation):
    subject = subject(activation)
    ours = engine.at_knob(subject, criterion="cett", knob=0.1)
    theirs = sparsinglaw.at_cett(subject, c=0.1)
    assert theirs.activation_ratio == pytest.approx(ours.activation_ratio, abs=0.0005)
    assert theirs.loss_delta_nats == pytest.approx(ours.loss_delta_nats, abs=2e-4)
    assert theirs.thresholds == pytest.approx(ours.thresholds, rel=0.003)
    assert theirs.measurement.nonzero_ratio == ours.nonzero_ratio


def test_the_cap_keeps_a_hundredth_of_every_layer_where_the_engine_drops_more(subject):
    subject = subject()
    ours = engine.at_knob(subject, criterion="cett", knob=0.99)
    theirs = sparsinglaw.at_cett(subject, c=0.99)
    for a, site, layer in zip(dense_activations(subject), subject.sites, theirs.layers, strict=True):
        scores = np.sort((np.abs(a) * site.column_norms().detach().numpy()).ravel())
        cap = np.quantile(scores, 0.99)
        assert layer.capped
        assert layer.eps == pytest.approx(cap - layer.step, rel=1e-6)  # the last candidate is never taken
    assert theirs.activation_ratio > 0.009
    assert ours.activation_ratio < 0.009
    assert min(ours.thresholds) > max(theirs.thresholds[0], 0)


def test_large_layers_take_their_cap_from_every_nth_score():
    a = torch.rand(500, 300)
    a[:, 1::2] = 0.0  # every second score, which the sample of every second one leaves out
    weight = torch.randn(4, 300)
    scores = a * weight.norm(dim=0)
    found = layer_threshold(a, weight, c=1e9)
    assert a.numel() // CANDIDATES == 2
    assert found.eps + found.step == pytest.approx(float(np.quantile(scores[:, ::2], 0.99)), rel=1e-5)
    assert found.eps + found.step > 1.01 * float(np.quantile(scores, 0.99))


def test_a_dead_token_or_c_beyond_the_first_candidate_end_at_the_top_of_the_grid():
    torch.manual_seed(0)
    a, weight = torch.rand(64, 32) + 0.1, torch.randn(8, 32)
    plain = layer_threshold(a, weight, c=0.1)
    assert not plain.capped
    dead = a.clone()
    dead[3] = 0.0  # 0 / 0: the mean is NaN and never above c
    end = layer_threshold(dead, weight, c=0.1)
    assert end.capped
    assert end.eps > 2 * plain.eps
    below = layer_threshold(a, weight, c=0.0)  # index -1
    top = float(np.quantile(a * weight.norm(dim=0), 0.99))
    assert below.capped
    assert below.eps == pytest.approx(top, rel=1e-5)


def test_a_score_at_the_threshold_is_dropped_when_searching_and_kept_when_applied(subject):
    subject = subject("relu")
    site = subject.sites[0]
    visitor = sparsinglaw._StrictVisitor(subject, [0.5, 0.5])
    limits = 0.5 / site.down_weight().detach().norm(dim=0)
    a = torch.stack([limits, limits * 0.999, torch.zeros_like(limits)])[None]
    assert (visitor.visit(site, a, None) != 0).sum(dim=-1).tolist() == [[len(limits), 0, 0]]


class Calls(TorchFunctionMode):
    """Names of the torch functions called."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.append(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {}))


def test_one_evaluation_costs_two_passes_seventeen_products_and_sixteen_waits_a_layer(subject):
    subject = subject()
    layers, tokens = len(subject.sites), subject.windows.tokens
    one = Subject(subject.model, subject.sites, subject.windows, 1)
    with FlopCounterMode(display=False) as plain:
        one.losses(one.all_rows, visitor=UNSEEN, label="plain")
    with FlopCounterMode(display=False) as whole:
        found = sparsinglaw.at_cett(subject, c=0.1)
    product = 2 * tokens * subject.sites[0].down_weight().numel()
    assert whole.get_total_flops() - 2 * plain.get_total_flops() == 17 * layers * product
    assert (found.forward_passes, found.products, found.syncs) == (2, 17 * layers, 16 * layers)
    with Calls() as calls:
        layer_threshold(torch.rand(9, 40), torch.randn(16, 40), c=0.1)
    assert calls.names.count("__bool__") == 16


@pytest.mark.long
def test_a_search_is_twenty_bisections_of_c_and_costs_what_is_said_of_it(subject):
    subject = subject()
    layers = len(subject.sites)
    found = sparsinglaw.at_ppl_increase(subject, ppl_increase=0.01)
    assert (found.forward_passes, found.products, found.syncs) == (42, 357 * layers, 336 * layers)
    low, high = 0.0, 1.0
    for evaluation in found.measurement.searched[:-1]:
        assert evaluation.knob == (low + high) / 2
        if evaluation.rise_nats < TARGET:
            low = evaluation.knob
        else:
            high = evaluation.knob
    assert len(found.measurement.searched) == 21
    assert high - low <= 1e-6 < 2 * (high - low)
    assert found.knob == (low + high) / 2
    again = sparsinglaw.at_cett(subject, c=found.knob)
    assert again.activation_ratio == found.activation_ratio
    assert again.thresholds == found.thresholds
    assert found.loss_delta_nats == pytest.approx(TARGET, abs=1e-3)
    assert "not_reached" not in found.measurement.flags


@pytest.mark.long
def test_a_rise_that_never_comes_is_flagged(subject):
    found = sparsinglaw.at_ppl_increase(subject(), ppl_increase=10.0)
    assert found.knob > 0.999
    assert "not_reached" in found.measurement.flags


def test_the_meter_counts_products_and_waits_of_calibrating_visitors_alone(subject):
    metered = subject(kind=Metered)

    class Product(BatchVisitor):
        def visit_output(self, site, a, y):
            float((a.float() @ site.down_weight().T.float()).sum())

    metered.losses(metered.all_rows, visitor=Product(), label="one product", outputs=True)
    assert metered.products == len(metered.sites)
    assert metered.syncs == len(metered.sites) * WINDOWS / metered.batch_size
    metered.losses(metered.all_rows, visitor=UNSEEN, label="plain")
    assert metered.products == len(metered.sites)


def test_peak_memory_sees_what_is_freed_again():
    with peak_memory("cpu") as peak:
        block = torch.ones(32 * 2**20)
        del block
    if peak.bytes is None:
        pytest.skip("this system keeps no resettable high-water mark")
    assert 120 * 2**20 < peak.bytes < 200 * 2**20


@pytest.mark.long
def test_side_by_side_rows_say_what_each_path_found(subject):
    found = compare_at_ppl_increase(subject(), ppl_increase=0.01)
    ours, theirs, again = found.rows
    assert (ours.path, theirs.path) == ("sparsity-lab", "sparsinglaw")
    assert (ours.activation_ratio, ours.products, ours.knob) == (
        again.activation_ratio, again.products, again.knob,
    )  # fmt: skip
    assert found.activation_ratio_difference == ours.activation_ratio - theirs.activation_ratio
    assert found.target_miss_nats == ours.loss_delta_nats - TARGET
    assert found.speed_up == pytest.approx(2 * theirs.seconds / (ours.seconds + again.seconds))
    assert found.speed_up > 1
    assert 0 < ours.products < theirs.products == 357 * 2
    assert ours.forward_passes < theirs.forward_passes == 42


@pytest.fixture
def model(trained, source_text):
    """Command-line words for a small checkpoint."""
    return ("measure", trained, "--text", source_text, "--tokens", 1024, "--window", 64)


def test_a_record_says_which_path_it_is_of_and_never_stands_in_for_the_other(model, tmp_path):
    for extra in (("--sample", "head"), ("--compat", "sparsinglaw")):
        assert exit_code(*model, "--knob", 0.1, *extra, "--output", tmp_path) == 0
    records = {
        read_record(path)["compat"]: read_record(path) for path in (tmp_path / "records").glob("*.json")
    }
    assert set(records) == {None, "sparsinglaw"}
    ours, theirs = records[None], records["sparsinglaw"]
    assert ours["content_key"] != theirs["content_key"]
    assert theirs["forward_passes"] == 2
    assert theirs["activation_ratio"] == pytest.approx(ours["activation_ratio"], abs=0.002)
    assert len(theirs["thresholds"]) == theirs["layers"]
    assert "sparsinglaw" in (tmp_path / "table.csv").read_text()


@pytest.mark.slow
def test_a_search_on_the_command_line_leaves_its_whole_path(model, tmp_path):
    assert exit_code(*model, "--compat", "sparsinglaw", "--output", tmp_path) == 0
    (path,) = (tmp_path / "records").glob("*.json")
    record = read_record(path)
    assert record["forward_passes"] == 42
    assert len(record["search"]) == 21
    assert record["knob_interval"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--compat", "sparsinglow"), "Did you mean 'sparsinglaw'"),
        (("--compat", "sparsinglaw", "--criterion", "fat"), "reproduces CETT alone, not fat"),
        (("--compat", "sparsinglaw", "--criterion", "all"), "has one criterion"),
        (("--compat", "sparsinglaw", "--stabilise", "last:2"), "one checkpoint at a time"),
        (("--compat", "sparsinglaw", "--batch-size", 4), "one window at a time"),
        (("--compat", "sparsinglaw", "--activation-ratio", "30%"), "a rise of perplexity alone"),
    ],
)
def test_what_it_does_not_do_is_refused(model, tmp_path, capfd, words, said):
    assert exit_code(*model, *words, "--output", tmp_path / "out") == 2
    assert said in " ".join(capfd.readouterr().err.split())
    assert not list(tmp_path.rglob("*.json"))


def test_mixtures_are_refused(subject):
    subject = subject()
    subject.sites = [type("Expert", (), {"routed": True})()]
    with pytest.raises(SparsityLabError, match="no mixtures of experts"):
        sparsinglaw.at_cett(subject, c=0.1)


BENCH = ("bench", "measure")


@pytest.mark.slow
def test_the_bench_writes_what_it_compared(trained, source_text, tmp_path, capfd):
    words = (
        "--against",
        "sparsinglaw",
        "--text",
        source_text,
        "--tokens",
        256,
        "--window",
        64,
        "--knob",
        0.1,
    )
    assert exit_code(*BENCH, trained, *words, "--output", tmp_path) == 0
    assert "host syncs" in capfd.readouterr().out
    found = json.loads((tmp_path / "sparsinglaw.json").read_text())
    assert [row["question"] for row in found["rows"]] == ["PPL-1%"] * 3 + ["c = 0.1"] * 3
    assert [row["path"] for row in found["rows"][:2]] == ["sparsity-lab", "sparsinglaw"]
    assert found["tokens"] == 256
    assert found["comparisons"][1]["target_miss_nats"] is None
    lines = (tmp_path / "sparsinglaw.csv").read_text().splitlines()
    assert len(lines) == 7


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--against", "sparsinglaw"), "There is no text to read"),
        (("--against", "sparsinglaw", "--text", "TEXT"), "Random weights have no perplexity"),
        (("--against", "sparsinglow", "--text", "TEXT"), "Did you mean 'sparsinglaw'"),
        (("--against", "sparsinglaw", "--text", "TEXT", "--pairs", 2), "--pairs does nothing with --against"),
        (("--against", "sparsinglaw", "--text", "TEXT", "--knob", 2), "outside its range"),
        (("--ppl-increase", "1%"), "--ppl-increase does nothing without --against"),
        (("--text", "TEXT"), "--text does nothing without --against"),
    ],
)
def test_the_bench_refuses_what_would_do_nothing(source_text, tmp_path, capfd, words, said):
    words = [source_text if word == "TEXT" else word for word in words]
    assert exit_code(*BENCH, *words, "--output", tmp_path / "out") == 2
    assert said in " ".join(capfd.readouterr().err.split())
