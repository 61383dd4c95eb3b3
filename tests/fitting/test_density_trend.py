"""The frontier and its growth, against loops and against worlds whose growth is known."""

import itertools
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.trend.entering import TrendPoint
from sparsity_lab.fitting.density.trend.records import frontier_mask, line_through
from sparsity_lab.fitting.density.trend.trend import fit_trend


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


def test_a_tie_is_no_record():
    mask = frontier_mask(np.array([0.0, 1.0, 2.0]), np.array([0.5, 0.5, 0.7]))
    assert list(mask) == [True, False, True]


def test_the_line_is_polyfit():
    rng = np.random.default_rng(1)
    days, values = rng.random(20) * 100, rng.standard_normal(20)
    mask = rng.random(20) < 0.6
    slope, intercept = line_through(days, values, mask)
    np.testing.assert_allclose([slope, intercept], np.polyfit(days[mask], values[mask], 1), rtol=1e-9)
    one_day_apart = line_through(np.array([3.0, 4.0]), np.array([1.0, 3.0]), np.array([True, True]))
    np.testing.assert_allclose(one_day_apart, [2, -5])


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


FIRST = date(2023, 1, 1)
DAYS, LN_RHO = np.array([0.0, 40.0, 90.0, 200.0, 310.0]), np.array([1.0, -0.7, 1.4, -0.2, 2.5])
RULER = np.stack(
    [LN_RHO, LN_RHO + 0.002 * DAYS - 0.1, np.where(DAYS < 100, LN_RHO, np.inf) - DAYS / 50], axis=1
)
RULER[0, 1] = -np.inf


@pytest.fixture(scope="module")
def five():
    """Five models, of which the first, third and last are records; the ruler has three draws."""
    dates = [FIRST + timedelta(days=int(d)) for d in DAYS]
    rows = zip("abcde", dates, LN_RHO, RULER, strict=True)
    return fit_trend([TrendPoint(*row, "m") for row in rows], seed=0, draws=20_000)


def slow_line(days, values):
    """Slope and intercept through the records, by a loop and numpy's polynomial; None on a single date."""
    finite = [i for i in range(len(days)) if np.isfinite(values[i])]
    days, values = np.array(days)[finite], np.array(values)[finite]
    records = slow_frontier(list(days), values)
    return np.polyfit(days[records], values[records], 1) if len(set(days[records])) > 1 else None


def within(value, exact, share, room=0.0045):
    """Whether a value lies at this share of a distribution; the room is four standard errors of 20 000 draws."""
    low, high = np.quantile(exact, [share - room, share + room])
    return low - 1e-9 <= value <= high + 1e-9


def test_the_line_and_its_r2(five):
    records = [0, 2, 4]
    slope, intercept = np.polyfit(DAYS[records], LN_RHO[records], 1)
    np.testing.assert_allclose([five.slope, five.intercept], [slope, intercept])
    assert five.r2 == pytest.approx(np.corrcoef(DAYS[records], LN_RHO[records])[0, 1] ** 2)
    assert five.doubling_days == pytest.approx(np.log(2) / five.corrected)
    assert (five.frontier, five.models) == (("a", "c", "e"), 5)
    assert (five.origin, five.last) == (FIRST, FIRST + timedelta(days=310))


def test_the_resampled_interval_is_that_of_a_loop():
    world = points(np.random.default_rng(5), models=12)
    days = np.array([float((p.released - FIRST).days) for p in world])
    ln_rho = np.array([p.ln_rho for p in world])
    rng = np.random.default_rng(1)
    lines = [slow_line(days[chosen], ln_rho[chosen]) for chosen in rng.integers(0, 12, (4000, 12))]
    slopes = [line[0] for line in lines if line is not None]
    low, high = fit_trend(world, seed=0, draws=20_000).resampled
    assert within(low, slopes, 0.025, room=0.008)  # three standard errors of 4000 draws
    assert within(high, slopes, 0.975, room=0.008)


def test_the_interval_is_that_of_all_worlds_and_ruler_draws(five):
    """Deficits resampled in all 5^5 ways, each with each draw of the ruler; a draw without a line moves nothing."""
    slope, intercept = np.polyfit(DAYS[[0, 2, 4]], LN_RHO[[0, 2, 4]], 1)
    deficits = LN_RHO - slope * DAYS
    worlds = [
        slow_line(DAYS, slope * DAYS + deficits[list(chosen)])
        for chosen in itertools.product(range(5), repeat=5)
    ]
    noise = np.array([line for line in worlds if line is not None])
    assert len(noise) < 5**5
    ruler = [slow_line(DAYS, column) for column in RULER.T]
    assert ruler[2] is None
    moved = [np.zeros(2) if line is None else line - [slope, intercept] for line in ruler]
    lines = np.concatenate([2 * np.array([slope, intercept]) - noise + shift for shift in moved])
    low, high = five.interval
    assert within(low, lines[:, 0], 0.025)
    assert within(high, lines[:, 0], 0.975)
    assert five.corrected == pytest.approx(
        2 * slope - noise[:, 0].mean(), abs=4 * noise[:, 0].std() / 20_000**0.5
    )
    later = np.array([0.0, 500.0])
    bottom, middle, top = five.ln_rho_max(later)
    assert five.corrected_intercept == pytest.approx(
        2 * intercept - noise[:, 1].mean(), abs=4 * noise[:, 1].std() / 20_000**0.5
    )
    np.testing.assert_allclose(middle, five.corrected_intercept + five.corrected * later)
    for day, lowest, highest in zip(later, bottom, top, strict=True):
        assert within(lowest, lines @ [day, 1], 0.025)
        assert within(highest, lines @ [day, 1], 0.975)
    fastest, slowest = five.doubling_interval
    assert fastest == pytest.approx(np.log(2) / high)
    assert slowest == (pytest.approx(np.log(2) / low) if low > 0 else None)


def test_a_first_model_that_stays_the_best():
    falling = [
        TrendPoint(f"m{i}", FIRST + timedelta(days=i), -i, np.full(5, -float(i)), "m") for i in range(4)
    ]
    with pytest.raises(SparsityLabError, match="1 of them set a new maximum"):
        fit_trend(falling, seed=0)


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


def test_three_dates_are_enough():
    rising = [TrendPoint(f"m{i}", FIRST + timedelta(days=i), i / 8, np.full(5, i / 8), "m") for i in range(3)]
    trend = fit_trend(rising, seed=0)
    assert (trend.slope, trend.r2) == (pytest.approx(1 / 8), pytest.approx(1))
    with pytest.raises(SparsityLabError, match="2 of them set a new maximum"):
        fit_trend(rising[:2], seed=0)
    # Many dates with two records are two points all the same.
    fallen = [replace(p, ln_rho=p.ln_rho - 9, released=p.released + timedelta(days=50)) for p in rising]
    with pytest.raises(SparsityLabError, match="2 of them set a new maximum"):
        fit_trend([*rising[:2], *fallen], seed=0)


def test_too_few_dates():
    clean = [TrendPoint(f"m{i}", date(2023, 1, 1), float(i), np.full(5, float(i)), "m") for i in range(9)]
    with pytest.raises(SparsityLabError, match="1 of them set a new maximum"):
        fit_trend(clean, seed=0)


def test_the_same_seed_gives_the_same_trend():
    one, two = (fit_trend(points(np.random.default_rng(2)), seed=4) for _ in range(2))
    assert (one.slope, one.interval, one.resampled) == (two.slope, two.interval, two.resampled)
