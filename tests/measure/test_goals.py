"""Searches for a perplexity increase and for an activation ratio, and the local fit that settles them."""

import numpy as np
import pytest
import torch

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.api import measure
from sparsity_lab.measure.checkpoint.loading import Source, load_model, load_tokenizer
from sparsity_lab.measure.model.windows import encode
from sparsity_lab.measure.search.crossing import crossings, fit
from sparsity_lab.measure.search.root import Slope
from sparsity_lab.measure.search.targets import TargetRatio
from sparsity_lab.measure.sources.texts import read_text
from tests.at_hand import at_hand

TARGET = 0.01
STEPPED = {"top-k", "wina-down"}  # whole neurons of a token: the ratio moves by 1/F
SEARCHED = [
    name for name in registry.names("criteria") if registry.load("criteria", name).KNOB.scale != "none"
]


@pytest.fixture(scope="module")
def gated():
    """A trained SiLU model and a text for it."""
    source = Source(str(at_hand("models/silu-2m")))
    text = read_text(at_hand("text/wikitext2.valid.txt"), tokens=2048)
    model = load_model(source, dtype=torch.float32, device="cpu")
    return model, encode(load_tokenizer(source), text, tokens=2048)


@pytest.mark.thorough(2)
@pytest.mark.parametrize("ratio", [0.1, 0.3])
@pytest.mark.parametrize("criterion", SEARCHED)
@pytest.mark.long
def test_every_criterion_meets_a_target_ratio(gated, criterion, ratio):
    model, ids = gated
    found = measure(model, ids, criterion=criterion, activation_ratio=ratio, window=256)
    step = 0.5 / found.sizes[0] if criterion in STEPPED else 0.0
    if (
        criterion == "fat" and ratio == 0.3
    ):  # SiLU piles |s| up near its minimum: the ratio falls by a cliff there
        step = 0.002
    assert found.activation_ratio == pytest.approx(ratio, abs=0.0006 + step)
    assert "not_reached" not in found.flags
    again = measure(model, ids, criterion=criterion, knob=found.knob, window=256)
    assert again.activation_ratio == pytest.approx(found.activation_ratio, abs=0.002)
    assert found.spread.knob is not None
    low, high = found.spread.knob
    assert low <= found.knob * 1.001
    assert found.knob <= high * 1.001


def test_a_ratio_above_the_share_of_activations_that_are_not_zero_is_refused(llama, own_text):
    model = llama(activation="relu")
    with pytest.raises(
        SparsityLabError, match=r"cannot be reached: only 0\.[0-9]+ of this model's activations"
    ):
        measure(model, own_text(model), criterion="top-k", activation_ratio=0.9, window=64)


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.2, float("nan"), 30.0])
@pytest.mark.long
def test_a_ratio_outside_its_range_is_refused(llama, own_text, ratio):
    model = llama()
    with pytest.raises(SparsityLabError, match="is not between 0 and 1"):
        measure(model, own_text(model), activation_ratio=ratio)


def test_two_wishes_at_once_are_refused(llama, own_text):
    model = llama()
    with pytest.raises(SparsityLabError, match="more than one was given"):
        measure(model, own_text(model), activation_ratio=0.1, knob=0.2)


def test_odds_grow_as_neurons_are_dropped():
    goal = TargetRatio(0.25)
    assert goal.target == pytest.approx(3.0)
    assert goal.value(0.5, 0.2) > goal.value(0.1, 0.3)
    assert not goal.off_target(goal.value(0.0, 0.2505), rise_error_nats=0.0)
    assert goal.off_target(goal.value(0.0, 0.26), rise_error_nats=0.0)


def curve(xs, *, crossing=-2.0, slope=1.8):
    return TARGET * np.exp(slope * (np.asarray(xs) - crossing))


@pytest.mark.parametrize("slope", [1.0, 1.8, 3.0])
def test_the_local_fit_finds_the_crossing_of_a_clean_curve(slope):
    xs = np.array([-2.4, -2.1, -1.8])
    found = fit(xs, curve(xs, slope=slope), target=TARGET, slope=Slope(1.8))
    assert found.x == pytest.approx(-2.0, abs=0.01)
    assert found.error < 0.02


def test_one_value_is_taken_along_the_slope_known_beforehand():
    xs = np.array([-2.1])
    found = fit(xs, curve(xs), target=TARGET, slope=Slope(1.8))
    assert found.x == pytest.approx(-2.0, abs=1e-6)
    assert found.slope == pytest.approx(1.8)
    assert found.error == 0.0


def test_a_fit_beats_the_luckiest_of_its_noisy_values():
    """Over many noisy curves the fitted crossing lies nearer the true one than the value nearest the target does."""
    generator = np.random.default_rng(0)
    xs = np.array([-2.3, -2.12, -1.95, -1.8])
    fitted, luckiest = [], []
    for _ in range(300):
        values = curve(xs) + generator.normal(scale=0.15 * TARGET, size=4)
        fitted.append(fit(xs, values, target=TARGET, slope=Slope(1.8)).x + 2.0)
        luckiest.append(xs[np.argmin(np.abs(values - TARGET))] + 2.0)
    assert np.std(fitted) < 0.75 * np.std(luckiest)
    assert abs(np.mean(fitted)) < 0.02


def test_the_error_of_the_fit_is_the_scatter_of_its_crossings():
    generator = np.random.default_rng(1)
    xs = np.linspace(-2.2, -1.8, 5)
    found = [
        fit(xs, curve(xs) + generator.normal(scale=0.1 * TARGET, size=5), target=TARGET, slope=Slope(1.8))
        for _ in range(300)
    ]
    spread = np.std([one.x for one in found])
    assert np.mean([one.error for one in found]) == pytest.approx(spread, rel=0.35)


def test_values_that_do_not_rise_are_fitted_by_a_curve_that_does():
    xs = np.array([-2.2, -2.0, -1.8])
    found = fit(xs, np.array([1.1, 1.0, 0.9]) * TARGET, target=TARGET, slope=Slope(1.8))
    assert found.slope >= 0.9
    assert abs(found.x + 2.0) < 0.1


def test_resamples_move_the_crossing_by_what_their_values_move():
    xs = np.array([-2.1, -1.9])
    values = curve(xs)
    shifts = np.array([0.8, 1.0, 1.25])
    found = crossings(xs, values[None, :] * shifts[:, None], values, target=TARGET, slope=1.8)
    assert found == pytest.approx(-2.0 - np.log(shifts) / 1.8)
