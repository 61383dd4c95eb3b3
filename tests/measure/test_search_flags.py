"""The study of a search's flags: how often each is raised along planted curves, its noise, and its table."""

import csv
import math

import numpy as np
import pytest

from sparsity_lab.bench.measure import search_flags
from sparsity_lab.bench.measure.planted_curves import CURVES
from sparsity_lab.bench.measure.planted_search import JITTER, LENGTH, PlantedData
from sparsity_lab.bench.measure.search_flags import FLAGS, planted_row
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.search import noise
from sparsity_lab.settings import HEAD, SPREAD
from tests.at_hand import at_hand

BY_NAME = {curve.name: curve for curve in CURVES}


def searched(name, *, level, sample=SPREAD, searches=60):
    return planted_row(BY_NAME[name], noise=level, windows=16, searches=searches, sample=sample)


@pytest.mark.parametrize("level", [0.02, 0.3])
@pytest.mark.long
def test_a_power_law_raises_no_flag_and_its_ratio_is_right(level):
    row = searched("power law", level=level)
    assert all(row[flag] <= 0.05 and row[f"{flag}_right"] == 0 for flag in FLAGS)
    # The rise is as its error off the target, and the curve's slope turns that into a share of the ratio.
    assert abs(row["bias"]) < 4 * row["bias_se"] + level**2
    assert 0.1 < row["scatter"] / level < 1.0


def test_a_target_beyond_the_curve_is_not_reached_and_one_within_is():
    beyond, within = (
        searched("saturates at 0.6", level=0.02),
        searched("rests at 0.7, then rises", level=0.02),
    )
    assert beyond["not_reached"] == beyond["not_reached_right"] == 1
    assert beyond["off_target"] == beyond["off_target_right"] == 1
    assert within["not_reached"] == within["not_reached_right"] == 0


@pytest.mark.parametrize("sample", [SPREAD, HEAD])
@pytest.mark.long
def test_a_flat_curve_that_jumps_is_off_target_and_does_not_fall(sample):
    """With two standard errors for the limit of every pair, 18 % of spread samples and 33 % of heads fell."""
    row = searched("jumps from 0.3 to 3", level=0.1, sample=sample)
    assert row["off_target"] == row["off_target_right"] == 1
    assert row["not_monotone"] <= 0.06
    assert row["not_reached"] == row["not_monotone_right"] == row["fall_seen"] == 0


def test_a_deep_dip_is_told_where_the_knobs_tried_show_it():
    row = searched("dips at the target, by 0.9", level=0.1, searches=100)
    assert row["not_monotone_right"] == 1
    assert 0.1 < row["fall_seen"] < 0.4, "most searches try no knob inside the dip"
    assert row["not_monotone"] > 0.5 * row["fall_seen"]


def test_the_planted_noise_is_as_large_and_as_alike_as_said():
    x, level, target = -2.0, 0.1, math.log1p(0.01)
    made = [
        PlantedData.drawn(BY_NAME["power law"], target_nats=target, noise=level, windows=16, seed=seed)
        for seed in range(200)
    ]
    there = [data.crossing for data in made]
    at = np.array([data.rises_nats(u) for data, u in zip(made, there, strict=True)]) / target - 1
    assert at.mean(axis=1).std() == pytest.approx(level, rel=0.15)
    beside = np.array([data.rises_nats(u + x) for data, u in zip(made, there, strict=True)])
    expected = (1 - JITTER) * math.exp(x / LENGTH)
    assert np.corrcoef(at.ravel(), _standard(beside, made, x, target).ravel())[0, 1] == pytest.approx(
        expected, abs=0.05
    )


def _standard(rises, made, x, target):
    """Noise in units of what the square root of the curve says."""
    shares = np.array([data.shares(np.array([data.crossing + x]))[0] for data in made])[:, None]
    return (rises / target - shares) / np.sqrt(shares)


@pytest.mark.parametrize("differences", [1, 7])
def test_the_largest_of_many_differences_is_by_chance_above_its_limit_in_one_of_40(differences):
    draws = noise.replicates(np.arange(16), sample=HEAD)
    limit = draws.t_of_largest(differences)
    random = np.random.default_rng(0)
    t = random.standard_t(draws.freedom, (40_000, differences)).max(axis=1)
    assert (t > limit).mean() == pytest.approx(0.025, abs=0.004)
    assert draws.t_of_largest(1) == pytest.approx(draws.t)


@pytest.mark.long
def test_both_parts_are_written_and_cells_of_other_runs_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(search_flags, "CURVES", CURVES[:1])
    planted = ["--searches", "2", "--windows", "16", "--sample", SPREAD, "--noise"]
    search_flags.main([str(tmp_path), *planted, "0.1"])
    search_flags.main([
        str(tmp_path), *planted, "0.3", "0.1", "--targets", "0.01", "--tokens", "2048", "--samples", "2",
        "--long", "4096", "--models", str(at_hand("models/stories260K")),
        "--texts", str(at_hand("text/stories260K_selfgen.txt")),
    ])  # fmt: skip
    rows = list(csv.DictReader((tmp_path / "search-flags.csv").open(encoding="utf-8")))
    assert [(row["part"], row["windows"], row["searches"]) for row in rows] == [
        ("planted", "16", "2"), ("planted", "16", "2"), ("real", "8", "1"), ("real", "4", "2"),
    ]  # fmt: skip
    assert [row["noise"] for row in rows[:2]] == ["0.1", "0.3"]
    long, short = rows[2:]
    assert (long["bias"], float(short["unflagged"])) == ("", 1)
    assert 0 < abs(float(short["bias"])) < 0.1


def test_a_model_without_a_text_is_refused(tmp_path):
    with pytest.raises(SparsityLabError):
        search_flags.main([str(tmp_path), "--noise", "--models", "a"])
