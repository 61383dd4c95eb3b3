"""The frontier and its growth, against loops and against worlds whose growth is known."""

from datetime import date, timedelta

import numpy as np
import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.trend.trend import TrendPoint, fit_trend, frontier_mask, line_through


def slow_frontier(days, values):
    best, records = -np.inf, set()
    for day in sorted(set(days)):
        same = [i for i in range(len(days)) if days[i] == day]
        top = max(same, key=lambda i: values[i])
        if values[top] > best:
            best = values[top]
            records.add(top)
    return [i in records for i in range(len(days))]


@pytest.mark.parametrize("seed", range(5))
def test_records_match_a_loop(seed):
    rng = np.random.default_rng(seed)
    days = rng.integers(0, 12, (4, 30)).astype(float)
    values = rng.standard_normal((4, 30))
    mask = frontier_mask(days, values)
    for i in range(4):
        assert list(mask[i]) == slow_frontier(days[i], values[i])


def test_the_line_is_polyfit():
    rng = np.random.default_rng(1)
    days, values = rng.random(20) * 100, rng.standard_normal(20)
    mask = rng.random(20) < 0.6
    slope, intercept = line_through(days, values, mask)
    np.testing.assert_allclose([slope, intercept], np.polyfit(days[mask], values[mask], 1), rtol=1e-9)


def points(rng, *, slope=0.007, models=50, ruler_sd=0.0):
    days = np.sort(rng.integers(0, 600, models))
    ln_rho = slope * days - rng.exponential(0.6, models)
    shared = ruler_sd * rng.standard_normal(200)
    return [
        TrendPoint(f"m{i}", date(2023, 1, 1) + timedelta(days=int(d)), y, y + shared, "m")
        for i, (d, y) in enumerate(zip(days, ln_rho, strict=True))
    ]


def test_a_noiseless_frontier_is_recovered():
    clean = [
        TrendPoint(f"m{i}", date(2023, 1, 1) + timedelta(days=30 * i), 0.21 * i, np.full(50, 0.21 * i), "m")
        for i in range(12)
    ]
    trend = fit_trend(clean, seed=0)
    assert trend.slope == pytest.approx(0.007)
    assert trend.doubling_days == pytest.approx(np.log(2) / 0.007)
    assert trend.r2 == pytest.approx(1)
    assert len(trend.frontier) == 12


def test_a_shift_of_the_whole_ruler_does_not_move_the_slope():
    still = fit_trend(points(np.random.default_rng(5)), seed=0)
    shifted = fit_trend(points(np.random.default_rng(5), ruler_sd=1.0), seed=0)
    np.testing.assert_allclose(shifted.interval, still.interval, rtol=1e-6)
    days = np.array([300.0])
    assert np.ptp(shifted.ln_rho_max(days)) > np.ptp(still.ln_rho_max(days))


def test_the_interval_holds_the_planted_slope():
    held = 0
    for world in range(100):
        low, high = fit_trend(points(np.random.default_rng(world)), seed=world, draws=400).interval
        held += low <= 0.007 <= high
    assert held >= 88  # 95 expected; three standard errors of a share of 100 are 6.5


def test_too_few_dates():
    clean = [TrendPoint(f"m{i}", date(2023, 1, 1), float(i), np.full(5, float(i)), "m") for i in range(9)]
    with pytest.raises(SparsityLabError, match="dates"):
        fit_trend(clean, seed=0)


def test_the_same_seed_gives_the_same_trend():
    one, two = (fit_trend(points(np.random.default_rng(2)), seed=4) for _ in range(2))
    assert (one.slope, one.interval, one.resampled) == (two.slope, two.interval, two.resampled)
