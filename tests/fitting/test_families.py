"""What runs say together: scale, width and depth with its bottleneck, convergence, pairs."""

import json
import math

import numpy as np
import pytest

from sparsity_lab.fitting.fit_table import fit_table
from sparsity_lab.fitting.judge.verdict import IDENTIFIED, NOT
from sparsity_lab.fitting.reproduce import families
from sparsity_lab.fitting.reproduce.families import Limit
from sparsity_lab.fitting.spec import FitSpec


def limits(values, *, sizes=(1e8, 2e8, 4e8, 8e8, 1.6e9), se=0.002, kind="relu"):
    half = 1.959964 * se
    return [
        Limit(f"{n:g}-{kind}", kind, n, v, v - half, v + half, IDENTIFIED)
        for n, v in zip(sizes, values, strict=True)
    ]


def test_a_slope_is_found_with_its_interval():
    values = [0.07 + 0.01 * math.log(n / 1e9) for n in (1e8, 2e8, 4e8, 8e8, 1.6e9)]
    (found,) = families.against_scale(limits(values))
    assert found.s == pytest.approx(0.01)
    assert found.low < 0.01 < found.high
    assert found.finding == "rises with size"


def test_no_slope_is_called_none():
    (found,) = families.against_scale(limits([0.070, 0.073, 0.069, 0.072, 0.070]))
    assert found.finding == "no dependence shown"
    assert found.low < 0 < found.high


def test_limits_that_are_not_identified_do_not_enter():
    wild = [*limits([0.07, 0.071, 0.07, 0.071, 0.07]), Limit("x", "relu", 1e10, -25.0, math.nan, 0.06, NOT)]
    (found,) = families.against_scale(wild)
    assert found.runs == 5
    assert families.against_scale(wild[:2]) == []


@pytest.mark.parametrize("sizes", [(1e9,) * 5, (2.2e8,) * 5, (1e9, 1e9, 1e9, 2e9, 2e9)])
def test_seeds_of_one_or_two_sizes_have_no_slope_in_size(sizes):
    assert families.against_scale(limits([0.07, 0.071, 0.0725, 0.07, 0.071], sizes=sizes)) == []


def test_limits_are_drawn_where_an_activation_has_them_at_two_sizes():
    seeds = limits([0.07, 0.071], sizes=[1e9, 1e9])
    several = limits([0.38, 0.39, 0.4], sizes=[1e9, 2e9, 4e9], kind="silu")
    assert families.with_sizes([*seeds, *several]) == several
    assert families.with_sizes(seeds) == []


def shape(law, *, noise=5e-4, seed=0, points=14):
    r = np.linspace(10, 200, points)
    return r, law(r) + np.random.default_rng(seed).normal(0, noise, points)


def test_linear_then_flat_with_its_bottleneck():
    held = 0
    for seed in range(20):
        found = families.width_depth(*shape(lambda r: 0.05 + 2e-4 * np.minimum(r, 110), seed=seed))
        assert found.finding == "linear then flat"
        held += found.low <= 110 <= found.high
    assert held >= 17


@pytest.mark.parametrize(
    ("law", "word"), [(lambda r: 0.05 + 1e-4 * r, "straight"), (lambda r: 0.05 + 0 * r, "flat")]
)
def test_straight_and_flat_are_not_given_a_bottleneck(law, word):
    words = [families.width_depth(*shape(law, seed=seed)).finding for seed in range(40)]
    assert words.count(word) >= 33


def test_the_f_test_by_hand():
    from scipy.stats import f

    assert families.f_test(3.0, 2.0, more=1, freedom=10) == pytest.approx(f.sf(5.0, 1, 10))


def test_two_activations_at_equal_parameters():
    (pair,) = families.pairs([*limits([0.07], sizes=[1e9]), *limits([0.38], sizes=[1e9], kind="silu")])
    assert pair.difference == pytest.approx(0.31)
    assert (pair.low + pair.high) / 2 == pytest.approx(0.31)
    assert pair.high - pair.low == pytest.approx(2 * 1.96 * 0.002 * math.sqrt(2), rel=1e-3)


@pytest.mark.slow
def test_a_family_is_written_where_sizes_are_known(tmp_path):
    generator = np.random.default_rng(0)
    rows = ["model,activation,tokens,activation_ratio"]
    for size in ("0.1B", "0.2B", "0.4B"):
        d = np.geomspace(1, 40, 16)
        y = 0.38 - 0.1 * d**-0.8 + generator.normal(0, 3e-4, 16)
        rows += [f"{size},silu,{round(a * 1e9)},{float(b)!r}" for a, b in zip(d, y, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    first, *_ = fit_table(tmp_path / "t.csv", output=tmp_path / "out", spec=FitSpec(draws=0))
    found = json.loads((tmp_path / "out" / "families.json").read_text(encoding="utf-8"))
    assert [one["parameters"] for one in found["limits"]] == [1e8, 2e8, 4e8]
    assert found["against_scale"][0]["finding"] == "no dependence shown"
    speed = families.speed(first)
    alpha, c = first.values["alpha"], first.values["c"]
    by_hand = math.log(2) * c * alpha * 2.0**-alpha  # at 20 tokens a parameter, D = 2
    assert speed.per_doubling[0] == (20.0, pytest.approx(by_hand))
    assert (tmp_path / "out" / "plots" / "limits.png").exists()
