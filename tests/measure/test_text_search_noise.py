"""Text into windows, the root finder, and the replicates behind every error bar."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.loading import Source, load_text_tokenizer
from sparsity_lab.measure.model.windows import choose_window, cut, tokenize
from sparsity_lab.measure.search import noise
from sparsity_lab.measure.search.counts import Counts
from sparsity_lab.measure.search.crossing import Together, seen_slope, shared_slope
from sparsity_lab.measure.search.root import RootSearch, Slope
from sparsity_lab.measure.sources.texts import read_text
from sparsity_lab.settings import HEAD, SPREAD, WHOLE

TARGET = math.log1p(0.01)
HEAD_ERROR = 0.008194471487834335  # by the circular blocks that decided before there were spread samples


@given(st.integers(4, 300), st.integers(2, 40))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_windows_hold_the_text_in_order_and_nothing_else(tokens, window):
    ids = torch.arange(tokens)
    if tokens < 2 * window:
        with pytest.raises(SparsityLabError, match="too short for two windows"):
            cut(ids, window=window)
        return
    found = cut(ids, window=window, bos_id=7)
    assert found.ids.flatten().tolist() == list(range(tokens // window * window))
    assert found.predictions_per_window == window
    assert cut(ids, window=window).predictions_per_window == window - 1
    rows = np.array([0, found.count - 1])
    assert found.inputs(rows)[:, 0].tolist() == [7, 7]
    assert torch.equal(found.inputs(rows)[:, 1:], found.ids[[0, found.count - 1]])
    assert cut(ids[: found.tokens].clone(), window=window).sha256 == found.sha256
    assert cut(ids + 1, window=window).sha256 != found.sha256


def test_the_window_fits_the_positions():
    assert choose_window(None, positions=512, bos=False) == 512
    assert choose_window(None, positions=512, bos=True) == 511
    assert choose_window(None, positions=100_000, bos=True) == 1024
    assert choose_window(None, positions=None, bos=False) == 1024
    assert choose_window(512, positions=512, bos=False) == 512
    with pytest.raises(SparsityLabError, match="and a BOS is beyond the model's 512 positions"):
        choose_window(512, positions=512, bos=True)


def test_a_byte_order_mark_is_no_text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes("\ufeffé".encode())
    assert read_text(path, tokens=10) == "é"


@pytest.mark.parametrize("power", [1.0, 1.8, 3.0])
@pytest.mark.parametrize("start", [-6.0, -2.0, -0.1])
def test_the_search_finds_the_crossing_of_a_power_law(power, start):
    def rise(x):
        return math.exp(power * (x + 1.5)) * TARGET

    root = RootSearch(
        target=TARGET, start=start, ends=(-13.0, 0.0), slope=Slope(1.8), tolerance=lambda: 1e-3 * TARGET
    ).root(rise)
    assert root.reached
    assert root.best.x == pytest.approx(-1.5, abs=2e-3)
    assert len(root.points) <= 8


def test_a_rise_below_the_target_everywhere_is_not_reached():
    root = RootSearch(
        target=TARGET, start=-2.0, ends=(-13.0, 0.0), slope=Slope(1.8), tolerance=lambda: 1e-5
    ).root(lambda x: 1e-4)
    assert not root.reached
    assert root.best.value == 1e-4
    assert all(-13.0 <= point.x <= 0.0 for point in root.points)


def test_a_flat_start_is_left_behind():
    """As with a quantile below a ReLU's share of zeros: nothing is dropped there and the loss does not move."""
    root = RootSearch(
        target=TARGET, start=-0.4, ends=(-13.0, 9.0), slope=Slope(1.5), tolerance=lambda: 0.02 * TARGET
    ).root(lambda x: 0.0 if x < 1.0 else math.exp(1.5 * (x - 2.0)) * TARGET)
    assert root.reached
    assert root.best.x == pytest.approx(2.0, abs=0.05)


def test_a_rise_above_the_target_everywhere_ends_too():
    root = RootSearch(
        target=TARGET, start=-2.0, ends=(-13.0, 0.0), slope=Slope(1.8), tolerance=lambda: 1e-5
    ).root(lambda x: 1.0)
    assert len(root.points) <= 8
    assert min(point.x for point in root.points) < -2.0


@given(st.integers(0, 50))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_the_search_lands_within_a_noisy_curves_own_noise(seed):
    generator = np.random.default_rng(seed)
    size = 0.05 * TARGET

    def rise(x):
        return math.exp(1.8 * (x + 2)) * TARGET + float(generator.normal(scale=size))

    root = RootSearch(
        target=TARGET, start=-3.0, ends=(-13.0, 0.0), slope=Slope(1.8), tolerance=lambda: size / 4
    ).root(rise)
    assert root.reached
    assert abs(root.best.x + 2) < 4 * 0.05 / 1.8


def run_of(losses, *, active=None):
    counts = Counts.empty(len(losses), 1)
    counts.loss_nats[:] = losses
    counts.seen[:] = counts.predicted[:] = 10
    counts.active[:, 0] = 5 if active is None else active
    return counts


@pytest.mark.parametrize("sample", [SPREAD, HEAD, WHOLE])
@pytest.mark.parametrize("windows", [2, 3, 5, 16, 63, 64, 700])
def test_replicates_weigh_every_window_about_once(sample, windows):
    draws = noise.replicates(np.arange(windows), sample=sample)
    assert draws.units == (windows if sample == SPREAD else min(windows, noise.BLOCKS))
    assert draws.weights.mean(axis=0) == pytest.approx(np.ones(draws.units))
    assert draws.weights.mean(axis=1) == pytest.approx(np.ones(len(draws.weights)))
    assert draws.weights.min() > 0 or windows == 2
    assert draws.weights.size <= noise.weight_count(windows, sample=sample)


def test_the_error_of_a_spread_sample_is_that_of_successive_differences():
    generator = np.random.default_rng(0)
    for windows in (4, 16, 100, 513):
        difference = generator.normal(0.1, 0.5, windows)
        draws = noise.replicates(np.arange(windows), sample=SPREAD)
        error = noise.rise_error_nats(draws, run_of(np.zeros(windows)), run_of(difference))
        by_hand = (np.diff(difference) ** 2).sum() / (2 * windows * (windows - 1))
        assert error == pytest.approx(by_hand**0.5 / 10), "10 predictions a window"


def test_the_error_of_a_head_is_that_of_four_blocks():
    generator = np.random.default_rng(0)
    difference = generator.normal(0.1, 0.5, 40)
    for sample in (HEAD, WHOLE):
        draws = noise.replicates(np.arange(40), sample=sample)
        error = noise.rise_error_nats(draws, run_of(np.zeros(40)), run_of(difference))
        blocks = difference.reshape(4, 10).mean(axis=1)
        assert error == pytest.approx(blocks.std(ddof=1) / 2 / 10), "10 predictions a window"
        assert draws.t == pytest.approx(3.182, abs=1e-3)


def test_dense_and_sparse_are_paired():
    generator = np.random.default_rng(0)
    common, difference = generator.normal(30.0, 8.0, 400), generator.normal(0.1, 0.5, 400)
    draws = noise.replicates(np.arange(400), sample=SPREAD)
    error = noise.rise_error_nats(draws, run_of(common), run_of(common + difference))
    assert error == pytest.approx(difference.std() / 10 / 400**0.5, rel=0.1)
    assert noise.rise_error_nats(draws, run_of(common), run_of(common)) == 0.0


@pytest.mark.parametrize("sample", [SPREAD, HEAD])
def test_intervals_of_few_units_hold_what_they_say(sample):
    generator = np.random.default_rng(0)
    windows, held = 16, 0
    draws = noise.replicates(np.arange(windows), sample=sample)
    for _ in range(2000):
        difference = generator.normal(0.0, 1.0, windows)
        half = draws.t * noise.rise_error_nats(draws, run_of(np.zeros(windows)), run_of(difference))
        held += abs(difference.mean() / 10) <= half
    assert held / 2000 == pytest.approx(0.95, abs=0.015)


def test_what_the_order_of_a_text_explains_is_no_noise_of_a_spread_sample():
    trend = np.linspace(0.0, 5.0, 64)
    noises = np.random.default_rng(0).normal(0.0, 0.5, 64)
    draws = noise.replicates(np.arange(64), sample=SPREAD)
    zero = run_of(np.zeros(64))
    flat = noise.rise_error_nats(draws, zero, run_of(noises))
    assert noise.rise_error_nats(draws, zero, run_of(noises + trend)) == pytest.approx(flat, rel=0.1)


def test_neighbouring_windows_that_move_together_make_the_error_of_a_head_larger():
    generator = np.random.default_rng(0)
    zero, draws = run_of(np.zeros(512)), noise.replicates(np.arange(512), sample=HEAD)
    together, apart = [], []
    for _ in range(100):
        shared = np.repeat(generator.normal(0.0, 0.5, 64), 8)
        together.append(noise.rise_error_nats(draws, zero, run_of(shared)) ** 2)
        apart.append(noise.rise_error_nats(draws, zero, run_of(generator.permutation(shared))) ** 2)
    assert np.mean(together) ** 0.5 > 2 * np.mean(apart) ** 0.5


def test_where_a_search_at_a_head_stops_is_as_it_was():
    generator = np.random.default_rng(0)
    difference = generator.normal(0.0, 0.5, 64)
    draws = noise.head_draws(np.arange(64), window=512, seed=0)
    error = noise.rise_error_nats(draws, run_of(np.zeros(64)), run_of(difference))
    assert error == pytest.approx(HEAD_ERROR, rel=1e-12)


def test_the_slope_of_lines_on_different_windows():
    """Each set of windows has a height of its own; a slope of nothing is the guess."""
    first = Together(np.array([1.0, 2.0, 4.0]), np.array([3.0, 5.0, 9.0]), 0.5)
    other = Together(np.array([0.0, 1.0]), np.array([30.0, 32.0]), 1.0)
    assert shared_slope([first, other]) == pytest.approx(2.0)
    assert shared_slope([Together(np.array([1.0, 1.0]), np.array([3.0, 5.0]), 1.0)], guess=0.7) == 0.7


def test_the_slope_of_errors_is_the_one_seen():
    """A rise that goes as c^1.25, evaluated on two sets of windows; the guess is 2."""
    xs = np.array([-0.35, 0.0])
    groups = [Together(xs, 0.02 * np.exp(1.25 * xs), 0.5), Together(xs[1:], np.array([0.01]), 1.0)]
    assert seen_slope(groups, groups, slope=Slope(2.0)) == pytest.approx(1.25, abs=0.05)
    assert seen_slope(groups[1:], groups[1:], slope=Slope(2.0)) == pytest.approx(2.0)
    falling = [Together(xs, np.array([0.02, 0.01]), 1.0)]
    assert seen_slope(falling, falling, slope=Slope(2.0)) == pytest.approx(2 / 3), "a third of the guess"


def test_a_rise_that_bends_has_the_errors_of_either_side():
    """1.8 below the answer and 1.0 above it: x* scatters by 1 / 1.8 on one side and by 1 / 1.0 on the other."""
    below, above = (
        [Together(np.array([0.0, x]), 0.01 * np.exp(s * np.array([0.0, x])), 1.0)]
        for x, s in ((-0.3, 1.8), (0.3, 1.0))
    )
    expected = ((1.8**-2 + 1.0**-2) / 2) ** -0.5
    assert seen_slope(below, above, slope=Slope(2.0)) == pytest.approx(expected, abs=0.05)


def test_tokens_do_not_depend_on_line_ends_and_the_record_says_what_was_read(
    trained, source_text, tmp_path, caplog
):
    tokenizer = load_text_tokenizer(Source(str(trained)))
    plain = source_text.read_bytes()[:4000]
    (tmp_path / "lf.txt").write_bytes(plain)
    (tmp_path / "crlf.txt").write_bytes(b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n"))
    lf, crlf = (
        tokenize(tokenizer, read_text(tmp_path / f"{n}.txt", tokens=500), tokens=500) for n in ("lf", "crlf")
    )
    assert lf.ids.tolist() == crlf.ids.tolist()
    assert lf.notes == ()
    assert crlf.windows(64).notes == (
        f"The text has {plain.count(10)} line ends CR LF or CR: each is read as LF",
    )
    assert crlf.notes[0] in caplog.text
