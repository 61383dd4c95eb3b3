"""Text into windows, the root finder, and the bootstrap behind every error bar."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.loading import Source, load_text_tokenizer
from sparsity_lab.measure.model.windows import choose_window, cut, read_text, tokenize
from sparsity_lab.measure.search import noise
from sparsity_lab.measure.search.counts import Counts
from sparsity_lab.measure.search.root import RootSearch, Slope

TARGET = math.log1p(0.01)


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


def test_each_resample_draws_as_many_windows_as_there_are_and_the_seed_decides():
    draws = noise.resamples(np.arange(40), window=512, seed=3)
    assert draws.weights.sum(axis=1) == pytest.approx(np.full(noise.RESAMPLES, 40.0))
    assert np.array_equal(noise.resamples(np.arange(40), window=512, seed=3).weights, draws.weights)
    assert not np.array_equal(noise.resamples(np.arange(40), window=512, seed=4).weights, draws.weights)
    assert draws.weights.mean(axis=0) == pytest.approx(np.ones(40), abs=0.2)


def test_the_error_of_a_loss_difference_is_that_of_a_mean_and_paired():
    generator = np.random.default_rng(0)
    windows = 400
    common = generator.normal(30.0, 8.0, windows)
    difference = generator.normal(0.1, 0.5, windows)
    draws = noise.resamples(np.arange(windows), window=512, seed=0)
    error = noise.rise_error_nats(draws, run_of(common), run_of(common + difference))
    assert error == pytest.approx(difference.std() / 10 / windows**0.5, rel=0.2), "10 predictions a window"
    assert noise.rise_error_nats(draws, run_of(common), run_of(common)) == 0.0


def test_the_error_of_a_mean_is_unbiased_by_few_blocks():
    generator = np.random.default_rng(0)
    errors = []
    for _ in range(200):
        difference = generator.normal(0.0, 1.0, 16)
        draws = noise.resamples(np.arange(16), window=1024, seed=0)
        errors.append(noise.rise_error_nats(draws, run_of(np.zeros(16)), run_of(difference)) ** 2)
    assert np.mean(errors) ** 0.5 == pytest.approx(1.0 / 10 / 16**0.5, rel=0.05), "10 predictions a window"


@pytest.mark.parametrize(
    ("windows", "window", "length"),
    [
        (512, 128, 32),
        (64, 1024, 4),
        (1_000_000, 1024, 100),
        (16, 1024, 2),
        (16, 32, 2),
        (7, 64, 1),
        (2, 8, 1),
    ],
)
def test_blocks_are_long_enough_and_enough(windows, window, length):
    assert noise.block_length(windows, window=window) == length


def test_neighbouring_windows_that_move_together_make_the_error_larger():
    generator = np.random.default_rng(0)
    shared = np.repeat(generator.normal(0.0, 0.5, 64), 8)
    draws = noise.resamples(np.arange(512), window=256, seed=0)
    zero = run_of(np.zeros(512))
    alone = noise.rise_error_nats(draws, zero, run_of(generator.permutation(shared)))
    assert noise.rise_error_nats(draws, zero, run_of(shared)) > 1.6 * alone


def test_the_slope_of_a_line():
    assert noise.line_slope(np.array([1.0, 2.0, 4.0]), np.array([3.0, 5.0, 9.0])) == pytest.approx(2.0)
    assert noise.line_slope(np.array([1.0, 1.0]), np.array([3.0, 5.0])) == 0.0


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
