"""The trend tried on the past: what forecasts know, how they are scored, and planted worlds that grow or stop."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from scipy.stats import binomtest

from sparsity_lab.bench.planted import KINDS, measured_world
from sparsity_lab.fitting.density.measure import measure_density
from sparsity_lab.fitting.density.options import DensityOptions
from sparsity_lab.fitting.density.paragraph import closing_sentences
from sparsity_lab.fitting.density.report import as_json, table_rows
from sparsity_lab.fitting.density.trend.entering import TrendPoint, trend_points
from sparsity_lab.fitting.density.trend.forecasts import (
    FORECASTS,
    NO_GROWTH,
    ONE_BREAK,
    TREND,
    Known,
    Quarter,
    best_break,
    lines_of,
    maxima,
)
from sparsity_lab.fitting.density.trend.hindcast import ALL, NEXT, hindcast, ranked_score, try_hindcast
from sparsity_lab.fitting.density.trend.sensitivity import identified_sentence, is_identified
from sparsity_lab.fitting.density.trend.trend import fit_trend
from sparsity_lab.fitting.quantiles import binomial_interval

START = date(2022, 1, 1)


def points_of(level, *, days=range(0, 1080, 20), deficit=0.3, seed=0, families=9):
    """Models every few days below a level that depends on the day."""
    rng = np.random.default_rng(seed)
    return [
        TrendPoint(f"m{i}", START + timedelta(days=day), value, np.full(5, value), f"f{i % families}")
        for i, day in enumerate(days)
        for value in [float(level(day) - rng.exponential(deficit))]
    ]


def growing(day):
    return 0.007 * day


def broken(day):
    return 0.012 * min(day, 540) + 0.001 * max(day - 540, 0)


@pytest.fixture(scope="module")
def bundled():
    return measure_density(options=DensityOptions(sensitivity=False))


def test_quarters_follow_the_calendar():
    assert [str(Quarter.of(date(2023, 12, 31)).later(ahead)) for ahead in (0, 1, 5)] == [
        "2023Q4",
        "2024Q1",
        "2025Q1",
    ]
    for day in (date(2024, 1, 1), date(2024, 2, 29), date(2024, 6, 30), date(2024, 10, 1)):
        quarter = Quarter.of(day)
        assert quarter.start <= day < quarter.later(1).start
        assert Quarter.of(quarter.start) == quarter


@pytest.mark.parametrize("value", [-3.0, 0.1, 0.9, 4.0])
def test_the_score_is_the_integral_that_it_is_said_to_be(value):
    draws = np.random.default_rng(0).normal(0.5, 1.0, 400)
    plain = np.abs(draws - value).mean() - 0.5 * np.abs(draws[:, None] - draws).mean()
    assert ranked_score(draws, value) == pytest.approx(plain, rel=1e-9)
    z = np.linspace(-6, 8, 140_001)
    share = np.searchsorted(np.sort(draws), z, side="right") / len(draws)
    below = np.trapezoid(np.where(z < value, share**2, 0.0), z)
    assert ranked_score(draws, value, bounded=True) == pytest.approx(below, abs=1e-3)


@pytest.mark.parametrize(("hits", "trials"), [(0, 4), (3, 4), (4, 4), (14, 17)])
def test_the_interval_of_a_share_is_clopper_and_pearsons(hits, trials):
    expected = binomtest(hits, trials).proportion_ci(method="exact")
    np.testing.assert_allclose(binomial_interval(hits, trials), [expected.low, expected.high], rtol=1e-9)
    assert binomial_interval(2.5, 4)[0] > binomial_interval(2, 4)[0]


@pytest.mark.long
def test_a_forecast_knows_nothing_of_what_comes(bundled):
    points = trend_points(bundled.densities)
    later = date(2024, 1, 1)
    changed = [p if p.released < later else replace(p, ln_rho=p.ln_rho + 3) for p in points]
    before, after = hindcast(points, seed=0), hindcast(changed, seed=0)
    foreseen = (
        "origin",
        "quarter",
        "known",
        "forecast",
        "rho_middle",
        "low_50",
        "high_50",
        "low_95",
        "high_95",
    )
    pairs = [(a, b) for a, b in zip(before.rows, after.rows, strict=True) if a["origin"] < "2024Q1"]
    assert len(pairs) > 3
    for a, b in pairs:
        assert [a[key] for key in foreseen] == [b[key] for key in foreseen]
        assert b["rho_max"] == pytest.approx(a["rho_max"] * np.exp(3 * (a["quarter"] >= "2024Q1")))
    assert hindcast(points, seed=1).rows != before.rows


@pytest.mark.long
def test_what_is_foreseen_is_the_densest_model_of_each_quarter(bundled):
    by_name = {d.target.model: d for d in bundled.densities}
    entered = {p.model for p in trend_points(bundled.densities)}
    rows = bundled.hindcast.rows
    assert {row["origin"] for row in rows} == {"2023Q3", "2023Q4", "2024Q1", "2024Q2"}
    for row in rows:
        of_quarter = [by_name[m] for m in entered if str(Quarter.of(by_name[m].released)) == row["quarter"]]
        assert row["models"] == len(of_quarter)
        densest = max(of_quarter, key=lambda d: d.rho)
        assert (row["model"], row["rho_max"]) == (densest.target.model, pytest.approx(densest.rho))
        assert row["known"] == sum(str(Quarter.of(by_name[m].released)) <= row["origin"] for m in entered)
        assert row["held_95"] == (row["low_95"] <= row["rho_max"] <= row["high_95"])
        assert row["low_95"] < row["low_50"] < row["rho_middle"] < row["high_50"] < row["high_95"]
    # The first models are of 2023Q1, so that from the end of 2023Q3 three quarters can be looked ahead.
    assert max(row["ahead"] for row in rows if row["origin"] == "2023Q3") == 3


def test_the_trend_that_foresees_is_the_one_that_there_was(bundled):
    points = trend_points(bundled.densities)
    until = [p for p in points if p.released <= date(2024, 3, 31)]
    known = Known.at_end_of(Quarter.of(date(2024, 3, 31)), points, seed=0, draws=2000)
    then = fit_trend(until, seed=0)
    assert (known.trend.corrected, known.trend.frontier) == (pytest.approx(then.corrected), then.frontier)


def test_scores_count_the_rows(bundled):
    tried = bundled.hindcast
    for forecast in FORECASTS:
        mine = [row for row in tried.rows if row["forecast"] == forecast]
        score = tried.score(forecast, ALL)
        assert (score["forecasts"], score["quarters"]) == (len(mine), len({row["quarter"] for row in mine}))
        assert score["held_50"] == sum(row["held_50"] for row in mine)
        assert score["crps"] == pytest.approx(np.mean([row["crps"] for row in mine]))
        assert score["mean_error"] == pytest.approx(np.mean([abs(row["error"]) for row in mine]))
        following = tried.score(forecast, NEXT)
        assert following["forecasts"] == following["quarters"] == sum(row["ahead"] == 1 for row in mine)
        # Nine forecasts of four quarters are as sure as four.
        wide = score["share_95_high"] - score["share_95_low"]
        assert wide >= np.subtract(*binomial_interval(score["held_95"], len(mine))[::-1])
    document = as_json(bundled, table_rows(bundled), seed=0)
    assert document["hindcast"]["rows"] == tried.rows
    assert any(tried.best in sentence and "Hindcast" in sentence for sentence in closing_sentences(bundled))


def test_steady_growth_is_foreseen_and_its_end_is_not():
    steady = hindcast(points_of(growing, deficit=0.05), seed=0)
    assert steady.best == TREND
    assert steady.score(TREND, ALL)["mean_error"] < 0.1
    four = [row["error"] for row in steady.rows if (row["forecast"], row["ahead"]) == (NO_GROWTH, 4)]
    assert np.median(four) == pytest.approx(0.007 * 365, rel=0.15)
    stopped = hindcast(points_of(lambda day: growing(min(day, 360)), deficit=0.05), seed=0)
    assert stopped.score(NO_GROWTH, ALL)["crps"] < stopped.score(TREND, ALL)["crps"]
    after = [row for row in stopped.rows if row["origin"] == "2023Q1" and row["forecast"] == TREND]
    assert all(row["error"] < 0 for row in after)


def test_a_break_is_found_where_there_is_one():
    points = points_of(broken, deficit=0.05)
    known = Known.at_end_of(Quarter.of(date(2024, 9, 30)), points, seed=0, draws=500)
    split = best_break(known.days, known.ln_rho, known.records)
    assert split == pytest.approx(540, abs=60)
    straight = Known.at_end_of(Quarter.of(date(2024, 9, 30)), points_of(growing), seed=0, draws=500)
    assert best_break(straight.days, straight.ln_rho, straight.records) is None
    lines = lines_of(known, seed=0)
    ahead = np.array([1010.0, 1110.0])
    slopes = {name: np.median(np.diff(lines[name](ahead))) / 100 for name in FORECASTS}
    assert slopes[ONE_BREAK] == pytest.approx(0.001, abs=0.0005)
    assert slopes[TREND] > 0.005
    assert slopes[NO_GROWTH] == 0


def test_more_models_a_quarter_and_a_longer_quarter_have_a_higher_maximum():
    points = points_of(growing, days=range(0, 720, 10))
    known = Known.at_end_of(Quarter.of(date(2023, 6, 30)), points, seed=0, draws=2000)
    lines, coming = lines_of(known, seed=0)[TREND], Quarter.of(date(2023, 7, 1))
    fewer = Known.at_end_of(Quarter.of(date(2023, 6, 30)), points[::4], seed=0, draws=2000)

    def middle(of, until):
        drawn = maxima(of, lines_of(of, seed=0)[TREND], coming, until=until, rng=np.random.default_rng(0))
        return np.median(drawn)

    whole, part = date(2023, 9, 30), date(2023, 7, 25)
    assert middle(known, whole) > middle(known, part) + 0.2
    assert middle(known, whole) > middle(fewer, whole)
    assert np.isfinite(maxima(known, lines, coming, until=coming.start, rng=np.random.default_rng(0))).all()


def test_a_bound_is_held_by_a_band_that_reaches_above_it():
    points = points_of(growing)
    last = max(points, key=lambda p: p.released)

    def with_bound(ln_rho):
        bound = TrendPoint("bound", last.released, ln_rho, np.full(5, ln_rho), "f0", bounded=True)
        tried = hindcast([*points, bound], seed=0)
        return [row for row in tried.rows if row["bound"] and row["forecast"] == TREND]

    low, high = with_bound(7.4), with_bound(60.0)
    assert low
    assert all(row["held_95"] for row in low)
    assert not any(row["held_95"] or row["held_50"] for row in high)
    assert all(row["error"] > 40 and row["crps"] > 40 for row in high)


def test_too_few_quarters_are_no_hindcast():
    points = points_of(growing, days=range(0, 80, 5))
    tried, why = try_hindcast(points, seed=0)
    assert tried is None
    assert why
    assert try_hindcast([], seed=0)[0] is None


def test_a_band_without_end_is_open():
    days = (0, 20, 40, 100, 130, 200, 230, 290)
    levels = np.array([0.0, 60.0, 150.0, 260.0, 380.0, 500.0, 510.0, 520.0])
    points = [
        TrendPoint(f"m{day}", START + timedelta(days=day), level, np.full(5, level), "ab"[i % 2])
        for i, (day, level) in enumerate(zip(days, levels, strict=True))
    ]
    rows = hindcast(points, seed=0).rows
    assert any(row["high_95"] is None for row in rows)
    assert all(np.isfinite(row["crps"]) for row in rows)


def of_worlds(kind, seeds):
    measured = (trend_points(measured_world(KINDS[kind], seed=seed)[0]) for seed in seeds)
    return [tried for points in measured if (tried := try_hindcast(points, seed=0)[0])]


@pytest.mark.parametrize("kind", ["20 families", "10 families"])
@pytest.mark.long
def test_bands_hold_what_comes_in_planted_worlds_that_grow(kind):
    worlds = of_worlds(kind, range(300, 312))
    rows = [row for tried in worlds for row in tried.rows if row["forecast"] == TREND]
    assert 0.9 <= np.mean([row["held_95"] for row in rows]) <= 0.98
    assert 0.35 <= np.mean([row["held_50"] for row in rows]) <= 0.65
    assert sum(tried.best != NO_GROWTH for tried in worlds) >= 8


@pytest.mark.long
def test_no_growth_wins_in_planted_worlds_whose_growth_stopped():
    worlds = of_worlds("growth stopped", range(300, 306))
    assert sum(tried.best == NO_GROWTH for tried in worlds) >= 4
    trend, stays = (
        np.mean([tried.score(forecast, ALL)["crps"] for tried in worlds]) for forecast in (TREND, NO_GROWTH)
    )
    assert stays < 0.7 * trend


def test_rows_of_the_sensitivity_table(tmp_path):
    assert is_identified({"A_low": 0.001, "A_high": 0.01})
    assert is_identified({"A_low": -0.01, "A_high": -0.001})
    assert not is_identified({"A_low": -0.001, "A_high": 0.01})
    assert not is_identified({"A_low": 0.001, "A_high": float("inf")})
    assert not is_identified({"note": "no trend"})
    rows = [
        {"choice": "tasks", "value": f"only {task}", "A_low": low, "A_high": 1.0}
        for task, low in (("a", 0.5), ("b", -1.0))
    ]
    assert "1 of 2" in identified_sentence(rows)
    assert identified_sentence([]) == ""
    table = tmp_path / "models.csv"
    lines = ["model,params,release_date,hellaswag,arc_easy,distilled"]
    for number in range(10):
        score = 55 + 1.5 * number
        lines.append(
            f"m{number},1e9,{START + timedelta(days=60 * number)},{score},{score + 5},{'yes' if number == 4 else 'no'}"
        )
    table.write_text("\n".join(lines) + "\n")
    options = DensityOptions(targets=table, ruler="olmo-ladder", extrapolated=True, hindcast=False)
    report = measure_density(options=options)
    assert (report.hindcast, report.hindcast_note) == (None, "")
    rows = {(row["choice"], row["value"]): row for row in report.sensitivity}
    tokens = [value for choice, value in rows if choice == "D0"]
    assert {"1e+12 tokens", "5e+12 tokens"} <= {*tokens, f"{report.ruler.d0_tokens:.0e} tokens"}
    assert f"{report.ruler.d0_tokens:.0e} tokens" not in tokens
    assert rows["models", "without distilled"]["models"] == rows["as chosen", "olmo-ladder"]["models"] - 1
    assert rows["models", "only distilled"]["note"]
