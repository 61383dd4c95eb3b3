"""Left-out families, breaks, projections, corollaries and the planted study."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from sparsity_lab.bench.planted import World, live_through, run_planted
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.measure import measure_density
from sparsity_lab.fitting.density.options import DensityOptions
from sparsity_lab.fitting.density.scores.sizes import SizeConvention
from sparsity_lab.fitting.density.trend.corollaries import price_trend, run_needed, run_pairs
from sparsity_lab.fitting.density.trend.entering import TrendPoint
from sparsity_lab.fitting.density.trend.trend import chip_doubling_days, fit_trend
from sparsity_lab.fitting.density.trend.trend_checks import break_test, leave_one_out, project

START = date(2022, 1, 1)


def line(slopes, *, jitter=0.02, lineage=lambda i: "ab"[i % 2]):
    """A frontier of 40 models with one slope per half."""
    rng = np.random.default_rng(0)
    days = np.arange(40) * 20
    ln_rho = np.where(days < 400, slopes[0] * days, slopes[0] * 400 + slopes[1] * (days - 400))
    ln_rho = ln_rho + jitter * rng.standard_normal(40)
    return [
        TrendPoint(f"m{i}", START + timedelta(days=int(d)), float(y), np.full(20, float(y)), lineage(i))
        for i, (d, y) in enumerate(zip(days, ln_rho, strict=True))
    ]


def test_a_break_is_found_and_its_absence_too():
    middle = START + timedelta(days=400)
    broken = break_test(line((0.002, 0.010)), middle, seed=0)
    assert broken.p_value < 0.01
    assert broken.before == pytest.approx(0.002, rel=0.1)
    assert broken.after == pytest.approx(0.010, rel=0.1)
    assert break_test(line((0.006, 0.006)), middle, seed=0).p_value > 0.05


def test_a_break_outside_the_frontier():
    with pytest.raises(SparsityLabError, match="each side needs 3"):
        break_test(line((0.005, 0.005)), START - timedelta(days=5), seed=0)


def test_leaving_out_the_family_that_makes_the_frontier():
    points = line((0.006, 0.006), lineage=lambda i: "strong" if i >= 20 else "weak")
    found = leave_one_out(points, seed=0)
    assert set(found) == {"strong", "weak"}
    assert found["weak"].models == 20
    assert leave_one_out([p for p in points if p.lineage == "weak"], seed=0)["weak"] is None


def test_a_projection_lies_on_the_line():
    trend = fit_trend(line((0.006, 0.006)), seed=0)
    day = START + timedelta(days=1200)
    found = project(trend, day)
    assert found.middle == pytest.approx(np.exp(trend.corrected_intercept + trend.corrected * 1200))
    assert found.low < found.middle < found.high
    for far in (date(2500, 1, 1), date(2001, 1, 1)):
        with pytest.raises(SparsityLabError):
            project(trend, far)


def test_chips_and_models_add_their_rates():
    trend = fit_trend(line((0.006, 0.006)), seed=0)
    combined = chip_doubling_days(trend, chip_years=2.1)
    assert 1 / combined == pytest.approx(1 / trend.doubling_days + 1 / (2.1 * 365.25))


def test_prices_halve(tmp_path):
    rows = ["model,release_date,price,score"]
    for number in range(12):
        rows.append(f"m{number},{START + timedelta(days=30 * number)},{20 * 0.5 ** (number / 3)},0.7")
        rows.append(f"weak{number},{START + timedelta(days=30 * number)},0.001,0.2")
    path = tmp_path / "prices.csv"
    path.write_text("\n".join(rows) + "\n")
    found = price_trend(path, score=0.6)
    assert found.halving_days == pytest.approx(90, rel=1e-6)
    assert all(not row["model"].startswith("weak") for row in found.rows)
    assert found.least_squares_decline == pytest.approx(found.decline_per_day)
    path.write_text("\n".join(rows[:5]) + "\n")  # two of the four reach the score
    with pytest.raises(SparsityLabError, match=r"reach a score of 0\.6: 2"):
        price_trend(path, score=0.6)


def test_the_fall_of_prices_is_corrected_as_the_growth_of_density_is(tmp_path):
    rng = np.random.default_rng(0)
    rows = ["model,release_date,price,score"]
    for number, above in enumerate(rng.exponential(0.7, 30)):
        price = 20 * 0.5 ** (number / 6) * np.exp(above)
        rows.append(f"m{number},{START + timedelta(days=15 * number)},{price},0.7")
    path = tmp_path / "prices.csv"
    path.write_text("\n".join(rows) + "\n")
    found = price_trend(path, score=0.6)
    assert 0 < found.decline_per_day < found.least_squares_decline
    assert found.halving_days == pytest.approx(np.log(2) / found.decline_per_day)


@pytest.mark.long
def test_compressed_models_and_their_sources(tmp_path):
    options = DensityOptions(tasks=("MMLU",), ruler="Qwen2.5")
    rows = run_pairs(None, output=tmp_path, options=options)
    # Without a choice of tasks each pair is compared on those that both have: Llama-3.1-8B has BBH as well.
    shared = run_pairs(None, output=tmp_path, options=DensityOptions(ruler="Qwen2.5"))
    one, two = (next(r for r in found if r["model"] == "Llama-3.2-3B") for found in (rows, shared))
    assert two["tasks"] == "MMLU"
    assert two["ratio"] == pytest.approx(one["ratio"], rel=1e-6)
    assert {row["model"] for row in rows} == {"Llama-3.2-1B", "Llama-3.2-3B"}
    assert next(r for r in rows if r["model"] == "Llama-3.2-1B")["verdict"] == "less dense"
    path = tmp_path / "pairs.csv"
    path.write_text("model,source\nLlama-3.2-1B,nothing\n")
    with pytest.raises(SparsityLabError, match="row 2, column source"):
        run_pairs(path, output=tmp_path, options=options)


@pytest.mark.long
def test_fewer_parameters_are_needed_later(tmp_path):
    rows = run_needed(
        0.5, dates=[date(2023, 6, 1), date(2024, 6, 1)], output=tmp_path, options=DensityOptions()
    )
    assert rows[1]["params_b"] < rows[0]["params_b"] / 4
    assert rows[0]["low_b"] < rows[0]["params_b"] < rows[0]["high_b"]


@pytest.mark.long
def test_planted_worlds_are_held(tmp_path):
    rows = run_planted(output=tmp_path, worlds=30, seed=1000)
    assert rows[0]["held"] >= 26
    assert 0.91 <= rows[2]["share"] <= 0.99


def test_a_noiseless_world_is_recovered():
    quiet = World(scatter=1e-6, questions=10**9, deficit=1e-6)
    outcome = live_through(quiet, seed=0)
    assert outcome.growth == pytest.approx(quiet.growth, rel=0.01)


@pytest.mark.long
def test_active_parameters_raise_the_density_of_mixtures():
    total = measure_density(options=DensityOptions(ruler="Qwen2.5", sensitivity=False))
    active = measure_density(
        options=DensityOptions(ruler="Qwen2.5", sensitivity=False, convention=SizeConvention(active=True))
    )
    one, two = (
        next(d for d in report.densities if d.target.model == "Mixtral-8x22B") for report in (total, active)
    )
    assert two.rho == pytest.approx(one.rho * 140 / 39, rel=1e-6)


def test_density_against_training_compute():
    options = DensityOptions(
        ruler="Qwen2.5", tasks=("MMLU",), sensitivity=False, convention=SizeConvention(unit="flops")
    )
    report = measure_density(options=options)
    llama = next(d for d in report.densities if d.target.model == "Llama-3-8B")
    assert llama.size == pytest.approx(6 * 8e9 * 15e12)


def test_a_shipped_two_step_ruler_moves_with_d0(tmp_path):
    table = tmp_path / "models.csv"
    table.write_text("model,params,hellaswag,arc_easy\nmine-1B,1e9,62,68\n")
    shared = DensityOptions(targets=table, ruler="olmo-ladder", sensitivity=False)
    lean, rich = (measure_density(options=replace(shared, d0_tokens=d0)).densities[0] for d0 in (2e11, 1e13))
    assert lean.rho > rich.rho  # with more data a smaller reference model has the same score
    with pytest.raises(SparsityLabError, match="no D0"):
        measure_density(options=replace(shared, ruler="obs-qwen15", d0_tokens=1e12))
