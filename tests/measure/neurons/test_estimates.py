"""Estimates and their errors against direct computation; activated parameters by hand; reading against writing."""

import itertools

import numpy as np
import pytest
import torch

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.api import sparsified
from sparsity_lab.measure.model.hooks import tapped
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.model.passes import BatchVisitor, Subject
from sparsity_lab.measure.model.windows import cut
from sparsity_lab.measure.neurons.api import watch_neurons
from sparsity_lab.measure.neurons.counts import NeuronCounts
from sparsity_lab.measure.neurons.estimates import (
    Estimate,
    Estimator,
    histogram,
    position_ratios,
    token_ratios,
)
from sparsity_lab.measure.neurons.frequency.decoding import DecodePlan, compare_decoding, estimates
from sparsity_lab.measure.neurons.parameters import CONVENTIONS, Widths, activated
from sparsity_lab.measure.neurons.rows import chunk_rows, layer_rows, parameter_rows
from sparsity_lab.measure.neurons.visitor import neuron_pass
from sparsity_lab.measure.thresholds.stored import Calibration
from sparsity_lab.settings import HEAD, SPREAD

THRESHOLDS = (0.05, 0.2)
SIZES = np.array([40, 40])


@pytest.fixture
def report(llama, own_text):
    model = llama()
    return watch_neurons(model, own_text(model, windows=16), thresholds=THRESHOLDS, window=32)


def planted(frequency, *, windows=400, window=16, seed=0):
    """Counts of neurons that fire at their own frequencies, each token anew, in 32 groups."""
    generator = np.random.default_rng(seed)
    keep = generator.random((windows, window, len(frequency))) < frequency
    group = np.arange(windows) * 32 // windows
    levels = [keep[:, : window // 2**n * 2**n].reshape(windows, -1, 2**n, len(frequency)).any(axis=2)
              for n in range(window.bit_length())]  # fmt: skip

    def grouped(values):
        found = np.zeros((32, *values.shape[1:]), np.int64)
        np.add.at(found, group, values)
        return found

    size = keep.sum(axis=2)
    return NeuronCounts(
        windows=np.bincount(group),
        loss_nats=np.zeros(32),
        fired=grouped(keep.sum(axis=1)),
        followed=grouped(size[:, :-1].sum(axis=1))[:, None],
        shared=grouped((keep[:, 1:] & keep[:, :-1]).sum(axis=(1, 2)))[:, None],
        chunk_active=np.stack([grouped(u.sum(axis=(1, 2)))[:, None] for u in levels]),
        prefix_active=np.stack([grouped(u[:, 0].sum(axis=1))[:, None] for u in levels]),
        token_count=np.array([windows * window]),
        token_active=np.array([[keep.sum()]]),
        token_windows=np.array([windows]),
        token_squares=np.zeros((3, 1)),
        position_active=size.sum(axis=0)[None],
        position_square=(size.astype(float) ** 2).sum(axis=0),
    )


def test_independent_neurons_give_what_chance_says_within_their_errors():
    frequency = np.random.default_rng(1).beta(0.3, 2.0, size=200)
    estimator = Estimator.of(planted(frequency), np.array([200]), sample=SPREAD)
    pairs = [(estimator.reuse(), estimator.reuse_by_chance())]
    for level in (1, 3, 4):
        chance = estimator.union_by_chance(level)
        pairs += [(estimator.union(level), chance), (estimator.prefix(level), chance)]
    for found, chance in pairs:
        assert found.se > 0
        assert abs(found.value - chance) < 4 * found.se
    assert estimator.activation_ratio().value == pytest.approx(
        frequency.mean(), abs=4 * estimator.activation_ratio().se
    )


def test_errors_are_as_large_as_the_scatter_between_texts():
    frequency = np.random.default_rng(1).beta(0.3, 2.0, size=60)
    found = [
        Estimator.of(planted(frequency, windows=64, seed=seed), np.array([60]), sample=SPREAD)
        for seed in range(40)
    ]
    for name in ("activation_ratio", "reuse"):
        estimates = [getattr(one, name)() for one in found]
        scatter = np.std([e.value for e in estimates], ddof=1)
        assert 0.6 < np.mean([e.se for e in estimates]) / scatter < 1.5


def test_frequencies_and_their_summary_by_hand():
    frequency = np.array([0.0, 0.0, 0.0005, 0.01, 0.2, 0.6, 0.9, 1.0])
    counts = planted(frequency, windows=640)
    estimator = Estimator.of(counts, np.array([8]), sample=SPREAD)
    whole, layer = estimator.frequency_scalars()
    assert whole == layer
    found = estimator.frequencies()
    assert found == pytest.approx(frequency, abs=0.02)
    assert whole["dead_share"] == (found < 1e-3).mean() == 3 / 8
    assert whole["hot_share"] == 3 / 8
    assert whole["never_share"] == (found == 0).mean()
    assert whole["frequency_median"] == pytest.approx(np.median(found))
    assert whole["frequency_median_se"] > 0 == whole["hot_share_se"]
    assert histogram(found, (0.0, 0.1, 1.0)).tolist() == [(found == 0).sum(), 4 - (found == 0).sum(), 4]


def test_layers_and_all_of_them_agree(report):
    rows = layer_rows(report)
    assert [row["layer"] for row in rows] == ["all", 0, 1]
    assert rows[0]["activation_ratio"] == pytest.approx(
        np.mean([row["activation_ratio"] for row in rows[1:]])
    )
    assert rows[0]["neurons"] == 80
    for row in rows:
        assert row["activation_ratio_se"] > 0
        assert 0 <= row["reuse"] <= 1


def test_errors_are_those_of_four_blocks_of_the_text(report):
    counts = report.estimator.counts
    assert np.array_equal(counts.windows, np.ones(32))
    active, tokens = counts.active(SIZES).sum(axis=1).reshape(4, 8), counts.tokens.reshape(4, 8)
    shares = active.sum(axis=1) / (tokens.sum(axis=1) * 80)
    assert report.estimator.activation_ratio().se == pytest.approx(shares.std(ddof=1) / 2)


def test_chunks_start_at_token_sparsity_and_fall(report):
    rows = [row for row in chunk_rows(report) if row["layer"] == "all"]
    assert [row["tokens"] for row in rows] == [1, 2, 4, 8, 16, 32]
    ratio = report.estimator.activation_ratio().value
    assert rows[0]["cls"] == pytest.approx(1 - ratio) == pytest.approx(rows[0]["sparsity_by_chance"])
    assert all(a["cls"] >= b["cls"] for a, b in itertools.pairwise(rows))
    assert rows[5]["cls"] == rows[5]["aggregated_sparsity"], "a chunk as long as the window is its beginning"
    for row in rows:
        assert row["touched_oracle"] == pytest.approx(1 - row["cls"])
        assert row["touched_output_side"] == pytest.approx((2 + 1 - row["cls"]) / 3)
        assert row["touched_input_side"] == pytest.approx((2 * (1 - row["cls"]) + 1) / 3)


def test_activated_parameters_by_hand(report):
    ratio = report.estimator.activation_ratio().value
    d, total = 16, report.widths.params_total
    dense = 2 * 40 * 3 * d
    expected = {
        "output-side": dense * (2 + ratio) / 3,
        "input-side": dense * (2 * ratio + 1) / 3,
        "oracle": dense * ratio,
    }
    for row in parameter_rows(report):
        ffn = expected[row["convention"]]
        assert row["ffn_params"] == pytest.approx(ffn)
        assert row["ffn_dense"] == dense
        assert row["model_params"] == pytest.approx(total - dense + ffn)
        assert row["model_share"] == pytest.approx((total - dense + ffn) / total)
        assert row["ffn_params_se"] > 0


def test_conventions_without_a_gate_and_with_unequal_layers():
    widths = Widths(np.array([8, 16]), np.array([8, 8]), np.array([10, 5]), 1000)
    active, units = np.array([[3, 2], [6, 1]]), np.array([1, 2])
    assert widths.ffn == 10 * 16 + 5 * 24
    assert widths.touched(active, units, "oracle").tolist() == [3 * 16 + 2 * 24, 6 * 16 + 24]
    assert widths.touched(active, units, "output-side").tolist() == [80 + 80 + 24 + 16, 160 + 160 + 48 + 8]
    both = sum(widths.touched(active, units, side) for side in ("output-side", "input-side"))
    assert np.array_equal(both, widths.touched(active, units, "oracle") + units * widths.ffn)
    assert set(CONVENTIONS) == {"output-side", "input-side", "oracle"}
    found = activated(Estimate(100.0, 2.0), widths)
    assert found["model_params"] == 100 + 1000 - widths.ffn
    assert found["ffn_share_se"] == 2 / widths.ffn


def test_errors_of_tokens_and_positions_against_direct_computation(llama, own_text):
    model = llama()
    ids = own_text(model, windows=16)
    windows = cut(ids, window=32)
    subject = Subject(model, find_sites(model)[1], windows, 4)
    kept = []

    class Keeper(BatchVisitor):
        def visit(self, site, a, s):
            kept.append((a != 0).sum(dim=-1))

    with torch.no_grad(), sparsified(model, THRESHOLDS), tapped(subject.sites, Keeper()):
        model(input_ids=windows.ids)
    active = (kept[0] + kept[1]).numpy()
    counts = neuron_pass(subject, Calibration("cett", THRESHOLDS))
    mean, error = position_ratios(counts, SIZES)
    assert mean == pytest.approx(active.mean(axis=0) / 80)
    assert error == pytest.approx(active.std(axis=0, ddof=1) / np.sqrt(32) / 80)
    token = int(np.argmax(counts.token_count))
    (ratio,), (se,) = token_ratios(counts, SIZES, np.array([token]))
    here = windows.ids.numpy() == token
    assert ratio == pytest.approx(active[here].mean() / 80)
    residuals = np.array(
        [(active[w][here[w]] - active[here].mean()).sum() for w in range(32) if here[w].any()]
    )
    expected = np.sqrt((residuals**2).sum() * len(residuals) / (len(residuals) - 1)) / here.sum() / 80
    assert se == pytest.approx(expected)
    alone = np.flatnonzero(counts.token_windows == 1)
    assert np.isnan(token_ratios(counts, SIZES, alone)[1]).all()


@pytest.mark.parametrize("bos_id", [None, 1])
@pytest.mark.long
def test_written_tokens_are_counted_as_a_single_reading_counts_them(llama, own_text, bos_id):
    model = llama(activation="silu")
    windows = cut(own_text(model), window=64, bos_id=bos_id)
    sites = find_sites(model)[1]
    subject = Subject(model, sites, windows, 3)
    plan = DecodePlan(prompts=5, prompt_tokens=20, written_tokens=30)
    counts = compare_decoding(subject, Calibration("cett", THRESHOLDS), plan, seed=3)
    rows = np.linspace(0, windows.count - 1, 5).round().astype(np.int64)
    skipped = int(bos_id is not None)
    prompts = windows.inputs(rows)[:, : 20 + skipped]
    for ids, after in (
        (windows.ids[rows, 20:50], counts.continuation),
        (torch.from_numpy(counts.ids), counts.written),
    ):
        kept = []

        class Keeper(BatchVisitor):
            def visit(self, site, a, s, kept=kept):
                kept.append((a != 0).sum(dim=-1)[:, skipped:])

        with torch.no_grad(), sparsified(model, THRESHOLDS), tapped(sites, Keeper()):
            model(input_ids=torch.cat([prompts, ids], dim=1))
        active = torch.stack(kept, dim=-1).numpy()
        # The cache and the whole reading round differently; a neuron at its threshold may move.
        assert np.abs(active[:, :20].sum(axis=1) - counts.prompt).max() <= 1
        assert np.abs(active[:, 20:].sum(axis=1) - after).max() <= 1
    again = compare_decoding(Subject(model, sites, windows, 1), Calibration("cett", THRESHOLDS), plan, seed=3)
    assert np.array_equal(again.ids, counts.ids), "what is written does not depend on the batch"
    other = compare_decoding(subject, Calibration("cett", THRESHOLDS), plan, seed=4)
    assert not np.array_equal(other.ids, counts.ids)


def test_written_tokens_follow_the_models_distribution(llama, own_text):
    """First tokens of many prompts, all of one kind, are as frequent as the model says."""
    model = llama()
    windows = cut(torch.tensor([5, 6, 7, 8] * 600), window=4)
    plan = DecodePlan(prompts=600, prompt_tokens=3, written_tokens=1)
    subject = Subject(model, find_sites(model)[1], windows, 600)
    counts = compare_decoding(subject, Calibration("cett", (0.0, 0.0)), plan, seed=0)
    with torch.no_grad():
        expected = 600 * model(input_ids=torch.tensor([[5, 6, 7]])).logits[0, -1].softmax(dim=-1).numpy()
    found = np.bincount(counts.ids[:, 0], minlength=64)
    often = expected > 5
    assert ((found - expected)[often] ** 2 / expected[often]).sum() < 3 * often.sum() + 10
    assert len(np.flatnonzero(found)) > 3


def test_decoding_estimates_are_means_with_paired_differences(llama, own_text):
    model = llama()
    plan = DecodePlan(prompts=8, prompt_tokens=16, written_tokens=16)
    report = watch_neurons(model, own_text(model), thresholds=THRESHOLDS, window=64, decode=plan)
    found = estimates(report.decode, SIZES, layer=None, sample=HEAD)
    assert found["prompt"].value == pytest.approx(report.decode.prompt.sum() / (8 * 16 * 80))
    difference = found["written"].value - found["continuation"].value
    assert found["written_less_continuation"].value == pytest.approx(difference)
    assert all(one.se > 0 for one in found.values())


def test_a_plan_beyond_the_window_is_refused(llama, own_text):
    model = llama()
    with pytest.raises(SparsityLabError, match="beyond the window of 64"):
        watch_neurons(model, own_text(model), thresholds=THRESHOLDS, window=64, decode=DecodePlan(2, 40, 25))
