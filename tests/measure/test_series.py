"""The series rule on real checkpoints: one knob, at which the mean of the last ones' perplexity ratios is 1 + p."""

import math
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoints import measure_checkpoints
from sparsity_lab.measure.search import noise
from sparsity_lab.measure.series_rule import ROUNDS, SeriesSearch
from sparsity_lab.measure.spec import MeasureSpec, expand, percent
from sparsity_lab.store.error_parts import ErrorParts
from tests.at_hand import at_hand

P = 0.02


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """Four copies of a trained model, each a little more disturbed than the next: a run that settles."""
    root = tmp_path_factory.mktemp("series") / "relu-2m"
    original = at_hand("models/relu-2m")
    weights = load_file(original / "model.safetensors")
    for step, size in zip((1, 2, 4, 12), (0.25, 0.1, 0.05, 0.0), strict=True):
        shutil.copytree(original, root / f"step-{step}")
        folder = root / f"step-{step}"
        generator = torch.Generator().manual_seed(step)
        moved = {k: w * (1 + size * torch.randn(w.shape, generator=generator)) for k, w in weights.items()}
        (folder / "model.safetensors").unlink()
        save_file(moved, folder / "model.safetensors", metadata={"format": "pt"})
    return root


@pytest.fixture(scope="module")
def measured(series, tmp_path_factory):
    """Rows of the series rule over the last three, and of each checkpoint at its own knob."""
    torch.set_num_threads(1)
    spec = MeasureSpec(
        text=at_hand("text/wikitext2.valid.txt"),
        ppl_increase=P,
        stabilise_last=3,
        tokens=1024,
        window=128,
    )
    output = tmp_path_factory.mktemp("out")
    return measure_checkpoints(spec, expand([str(series)]), output=output, per_checkpoint=True), output


def by_rule(rows, rule):
    return [row for row in rows if row["rule"] == rule]


def test_one_knob_is_applied_to_every_checkpoint(measured):
    rows = by_rule(measured[0], "series")
    assert [row["model"].rsplit("-", 1)[1] for row in rows] == ["1", "2", "4", "12"]
    assert len({row["knob"] for row in rows}) == 1
    assert {row["ppl_increase_target"] for row in rows} == {P}
    assert len({tuple(row["thresholds"]) for row in rows}) == 4, "thresholds are each checkpoint's own"


def test_the_mean_ratio_of_the_last_ones_is_one_plus_p(measured):
    last = by_rule(measured[0], "series")[-3:]
    mean = sum(row["ppl_ratio"] for row in last) / 3
    assert mean == pytest.approx(1 + P, abs=0.1 * P)
    assert min(row["ppl_ratio"] for row in last) != max(row["ppl_ratio"] for row in last)


def test_the_noise_of_the_one_knob_is_in_a_second_error_and_common_to_the_run(measured):
    rows, output = measured
    one_knob = by_rule(rows, "series")
    assert len({tuple(row["knob_interval"]) for row in one_knob}) == 1
    for row in one_knob:
        low, high = row["knob_interval"]
        assert low < row["knob"] < high
        parts = np.array(row["activation_ratio_components"])
        assert np.sqrt(parts @ parts) == pytest.approx(row["activation_ratio_se"])
        assert row["activation_ratio_slope"] < 0, "a larger c keeps fewer"
        assert row["activation_ratio_se_with_knob"] > 2 * row["activation_ratio_se"]
    assert {row["activation_ratio_se_with_knob"] for row in by_rule(rows, "ppl-increase")} == {None}
    table = (output / "table.md").read_text(encoding="utf-8")
    assert "± se with the knob's" in table
    parts = ErrorParts.beside([output / "table.csv"])
    of_run = parts.of([row["content_key"] for row in one_knob])
    assert np.sqrt((of_run**2).sum(axis=1)) == pytest.approx(
        [row["activation_ratio_se_with_knob"] for row in one_knob], rel=1e-4
    )
    correlation = np.corrcoef(of_run)[0, 1:]
    assert (correlation > 0.8).all(), "what moves the one knob moves all checkpoints together"


def test_the_knob_is_as_sure_as_the_mean_of_the_last_ones_is(measured):
    """Its interval is that of the mean ratio over its slope, the checkpoints' errors not taken as independent."""
    last = by_rule(measured[0], "series")[-3:]
    parts = np.mean([np.array(row["loss_delta_components_nats"]) * row["ppl_ratio"] for row in last], axis=0)
    alone = [row["loss_delta_se_nats"] * row["ppl_ratio"] for row in last]
    together = np.sqrt(parts @ parts)
    assert np.sqrt(np.square(alone).sum()) / 3 < together <= np.mean(alone) * (1 + 1e-9)
    low, high = np.log(last[0]["knob_interval"])
    t = noise.t_of(last[0]["error_units"], sample=last[0]["sample"])
    slope = together * t / ((high - low) / 2)
    assert 0.5 < slope / (np.log1p(P) * registry.load("criteria", "cett").KNOB.slope) < 2


def test_each_at_its_own_knob_meets_the_target_itself(measured):
    rows = by_rule(measured[0], "ppl-increase")
    assert len(rows) == 4
    for row in rows:
        assert row["ppl_ratio"] == pytest.approx(1 + P, abs=max(0.1 * P, row["loss_delta_se_nats"]))
        low, high = row["knob_interval"]
        assert low < row["knob"] < high
        assert row["knob"] == row["search"][-1][0] or row["knob"] in [knob for knob, _, _ in row["search"]]
    assert len({row["knob"] for row in rows}) == 4


def test_the_knob_lies_among_those_of_the_last_ones(measured):
    own = [row["knob"] for row in by_rule(measured[0], "ppl-increase")[-3:]]
    (knob,) = {row["knob"] for row in by_rule(measured[0], "series")}
    assert min(own) * 0.95 < knob < max(own) * 1.05


def test_both_rules_stand_in_the_table(measured):
    table = (measured[1] / "table.md").read_text(encoding="utf-8")
    assert table.count("| series ") == 4
    assert table.count("| ppl-increase ") == 4


def test_measuring_again_measures_nothing(measured, series):
    rows, output = measured
    before = {path: path.stat().st_mtime_ns for path in (output / "records").iterdir()}
    spec = MeasureSpec(
        text=at_hand("text/wikitext2.valid.txt"),
        ppl_increase=P,
        stabilise_last=3,
        tokens=1024,
        window=128,
    )
    assert measure_checkpoints(spec, expand([str(series)]), output=output, per_checkpoint=True) == rows
    assert {path: path.stat().st_mtime_ns for path in (output / "records").iterdir()} == before


@pytest.fixture(scope="module")
def measure_last_two(series, tmp_path_factory):
    """Rows of the series rule over the last two checkpoints at an increase of perplexity."""

    def run(p, **settings):
        torch.set_num_threads(1)
        spec = MeasureSpec(
            text=at_hand("text/wikitext2.valid.txt"), ppl_increase=p, stabilise_last=2, tokens=1024, window=128,
            **settings,
        )  # fmt: skip
        checkpoints = expand([str(series)])[-2:]
        return measure_checkpoints(spec, checkpoints, output=tmp_path_factory.mktemp("out"))

    return run


@pytest.mark.parametrize("p", [pytest.param(0.5, marks=pytest.mark.slow), 2.0])
def test_a_large_increase_is_met_too(measure_last_two, p):
    rows = measure_last_two(p)
    assert sum(row["ppl_ratio"] for row in rows) / 2 == pytest.approx(1 + p, abs=0.1 * p)
    assert all(not {"off_target", "not_reached"} & set(row["flags"]) for row in rows)


@pytest.mark.long
def test_an_error_too_large_for_the_increase_is_flagged_as_under_the_other_rules(measure_last_two):
    rows = measure_last_two(3e-3)
    assert all(row["loss_delta_se_nats"] > 0.25 * 3e-3 for row in rows)
    assert all("noisy" in row["flags"] for row in rows)


@pytest.mark.long
def test_an_increase_that_steps_of_whole_neurons_jump_over_is_flagged_in_every_row(measure_last_two):
    rows = measure_last_two(0.1, criterion="top-k")
    mean = sum(row["ppl_ratio"] for row in rows) / 2
    missed = abs(mean - 1.1) > 0.01
    assert [("off_target" in row["flags"]) for row in rows] == [missed, missed]


KNOBS = {name: registry.load("criteria", name).KNOB for name in ("cett", "cats", "top-k", "max-p", "fat")}


@given(
    st.sampled_from(sorted(KNOBS)), st.floats(-4.0, 1.0).map(lambda n: 10.0**n),
    st.lists(st.tuples(st.floats(-4.0, 4.0), st.floats(0.3, 5.0)), min_size=1, max_size=5),
    st.floats(0.001, 3.0), st.integers(0, 9),
)  # fmt: skip
@settings(max_examples=300, deadline=None, derandomize=True)
@pytest.mark.long
def test_a_series_search_meets_its_mean_or_says_that_it_does_not(name, p, worlds, ceiling, seed):
    """Checkpoints whose rise is a power law that saturates, some of them below any increase wanted."""
    knob, generator = KNOBS[name], np.random.default_rng(seed)
    middle = sum(knob.ends()) / 2

    def rise(world, x):
        place, slope = world
        return ceiling / (1.0 + math.exp(-slope * (x - middle - place))) + 1e-9

    curves = [
        [(middle + float(u), rise(w, middle + float(u))) for u in generator.normal(size=3)] for w in worlds
    ]
    search, asked = SeriesSearch(knob, p, curves), 0
    while (value := search.ask()) is not None and asked < ROUNDS:
        rises = [rise(world, knob.to_x(value)) for world in worlds]
        search.note(value, [{"ppl_ratio": math.exp(r), "loss_delta_se_nats": 0.0} for r in rises])
        asked += 1
    value, flags, _ = search.answer()
    mean = sum(math.exp(rise(world, knob.to_x(value))) for world in worlds) / len(worlds)
    highest = sum(math.exp(rise(world, knob.ends()[1])) for world in worlds) / len(worlds)
    assert knob.low <= value <= knob.high
    assert ("off_target" in flags) == (abs(mean - 1 - p) > 0.1 * p)
    assert ("not_reached" in flags) <= (mean < 1 + p)
    if highest >= 1 + p and sum(math.exp(rise(w, knob.ends()[0])) for w in worlds) / len(worlds) <= 1 + p:
        assert "not_reached" not in flags


def test_checkpoints_come_in_natural_order(checkpoints):
    for model in (str(checkpoints), str(checkpoints / "step-*")):
        found = expand([model])
        assert [c.source.model.rsplit("/", 1)[1] for c in found] == ["step-1", "step-2", "step-3", "step-10"]
        assert {c.series for c in found} == {checkpoints.name}


def test_revisions_multiply_a_hub_id():
    found = expand(["org/model"], revisions=["a", "b"])
    assert [str(c.source) for c in found] == ["org/model@a", "org/model@b"]
    assert {c.series for c in found} == {"org/model"}


@pytest.mark.parametrize(
    ("text", "share"), [("1%", 0.01), (" 0.5 % ", 0.005), ("0.01", 0.01), ("1e-2", 0.01)]
)
def test_shares(text, share):
    assert percent(text) == pytest.approx(share, rel=1e-12)


@pytest.mark.parametrize("text", ["", "%", "one", "1%%", "1,0%"])
def test_what_is_no_share(text):
    with pytest.raises(SparsityLabError, match="is not a share"):
        percent(text)


@pytest.mark.parametrize(
    ("text", "share", "told"), [("1%", 0.01, False), ("0.01", 0.01, False), ("1", 1.0, True)]
)
def test_a_bare_number_that_may_be_meant_as_a_percentage_is_told(text, share, told, caplog):
    with caplog.at_level("WARNING"):
        assert percent(text) == share
    assert ("100 %" in caplog.text) == told
