"""What the headline rests on: who enters the trend, families resampled, records beyond the ruler; corollaries."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.optimize import minimize
from scipy.stats import norm, truncnorm

from sparsity_lab.bench.planted import KINDS, World, live_through, measured_world
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.densities import REFERENCE
from sparsity_lab.fitting.density.inversion import BEYOND, EXTRAPOLATED
from sparsity_lab.fitting.density.measure import measure_density
from sparsity_lab.fitting.density.options import DensityOptions
from sparsity_lab.fitting.density.paragraph import closing_sentences, one_ruler_sentence, paragraph
from sparsity_lab.fitting.density.report import sensitivity_table, table_rows, trend_json
from sparsity_lab.fitting.density.rulers import one_step, sigmoid
from sparsity_lab.fitting.density.trend.beyond import line_of_records
from sparsity_lab.fitting.density.trend.corollaries import compare_pairs, parameters_needed
from sparsity_lab.fitting.density.trend.entering import Entering, TrendPoint, kept_out, left_out, trend_points
from sparsity_lab.fitting.density.trend.families import Families
from sparsity_lab.fitting.density.trend.records import frontier_mask
from sparsity_lab.fitting.density.trend.trend import fit_trend
from sparsity_lab.fitting.page.parts.others import trend as page_sentence
from sparsity_lab.fitting.plots.canvas.style import COLOURS
from sparsity_lab.fitting.plots.density import _marked
from sparsity_lab.store.tables import number

START = date(2023, 1, 1)


@pytest.fixture(scope="module")
def bundled():
    return measure_density(options=DensityOptions(project_to=(date(2025, 6, 1),), sensitivity=False))


@pytest.mark.long
def test_the_corrected_growth_is_the_headline_everywhere(bundled):
    trend, found = bundled.trend, trend_json(bundled.trend)
    assert found["A_corrected"] < found["A_per_day"]  # records start late: the uncorrected line is too steep
    assert found["doubling_days_corrected"] == pytest.approx(np.log(2) / found["A_corrected"])
    assert found["doubling_days"] == pytest.approx(np.log(2) / found["A_per_day"])
    assert [round(entry["doubling_days"]) for entry in found["published"]] == [100, 107]
    for text, digits in ((closing_sentences(bundled)[0], 2), (page_sentence({"trend": found}), 3)):
        headline, uncorrected = (
            text.index(f"{number(found[key], digits)} days")
            for key in ("doubling_days_corrected", "doubling_days")
        )
        assert headline < uncorrected < text.index("published: 100 to 107 days")
    assert f"doubled every {trend.doubling_days:.0f} days" in paragraph(bundled)
    (projection,) = bundled.projections
    later = (projection.on - trend.origin).days
    assert projection.middle == pytest.approx(np.exp(found["B_corrected"] + found["A_corrected"] * later))
    rows = {row["value"]: row for row in sensitivity_table(bundled)}
    assert rows["without Yi"]["A_corrected"] < rows["without Yi"]["A_per_day"]
    assert rows["3.3 months"]["doubling_days"] == pytest.approx(100.4, abs=0.1)


def test_the_interval_of_one_density_is_said_to_be_under_one_ruler(bundled):
    assert any("rho_low_others" in note and bundled.ruler.name in note for note in bundled.notes)
    sentence = one_ruler_sentence(bundled)
    assert bundled.ruler.name in sentence
    assert sentence in closing_sentences(bundled)
    assert {"rho_low_others", "rho_high_others"} <= set(table_rows(bundled)[0])
    assert f"{bundled.trend.origin} to {bundled.trend.last}" in paragraph(bundled)


@pytest.mark.parametrize("distilled", ["yes", "no"])
def test_a_trend_of_distilled_models_alone_says_so(tmp_path, distilled):
    table = tmp_path / "models.csv"
    rows = [f"m{n}-7B,7,2024-0{n}-01,{distilled},{40 + 5 * n}" for n in range(1, 6)]
    table.write_text("\n".join(["model,params_b,release_date,distilled,MMLU", *rows]) + "\n")
    options = DensityOptions(targets=table, ruler="Qwen2.5", sensitivity=False, hindcast=False)
    assert ("distilled" in measure_density(options=options).trend_note) == (distilled == "yes")


def test_the_heat_map_sets_apart_the_rulers_own_models_and_those_without_a_date(bundled):
    models, axes = bundled.by_date, Figure().subplots()
    axes.set_yticks(range(len(models)), labels=[density.target.model for density in models])
    _marked(axes, models)
    green = {label.get_text() for label in axes.get_yticklabels() if label.get_color() == COLOURS[2]}
    assert green == {d.target.model for d in models if REFERENCE in d.flags} != set()
    (line,) = axes.lines
    assert line.get_ydata()[0] == sum(d.released is not None for d in models) - 0.5


def test_the_page_tells_of_a_file_without_published_figures(bundled):
    old = {key: value for key, value in trend_json(bundled.trend).items() if key != "published"}
    assert f"{np.log(2) / old['A_corrected']:.1f}" in page_sentence({"trend": old})
    still = page_sentence({"trend": {**old, "A_corrected": -0.001, "doubling_days": None}})
    assert "does not grow" in still


def test_the_middle_lies_in_the_middle_of_the_band(bundled):
    trend = bundled.trend
    days = np.array([0.0, 300.0, 800.0])
    _, middle, _ = trend.ln_rho_max(days)
    shares = [*(trend.lines(days) < middle).mean(0), (trend.slope_draws < trend.corrected).mean()]
    assert all(0.4 < share < 0.6 for share in shares)  # the uncorrected line lies at the 75th percentile


def test_who_enters_by_default(bundled):
    entered = {p.model for p in trend_points(bundled.densities)}
    by_name = {d.target.model: d for d in bundled.densities}
    assert all(not {EXTRAPOLATED, REFERENCE} & set(by_name[name].flags) for name in entered)
    assert {"Falcon-40B", "Qwen2-0.5B", "Qwen2.5-7B"} & entered == set()  # records, if all were let in
    assert bundled.trend.models == len(entered)
    everyone = Entering(partial=True, mixtures=True, extrapolated=True, references=True)
    dated = [d for d in bundled.densities if d.released]
    placed = [d for d in dated if d.rho is not None or d.low is not None]  # an upper bound is no record
    assert {d.target.model for d in placed} == {p.model for p in trend_points(bundled.densities, everyone)}
    assert "7 reference (--references)" in left_out(bundled.densities, Entering())
    said = [int(word) for word in left_out(bundled.densities, everyone).split() if word.isdigit()]
    assert said == [len(dated) - len(placed)]
    points = trend_points(bundled.densities, Entering(extrapolated=True, references=True))
    published = fit_trend(points, seed=0)
    records, best = [], -np.inf
    for point in sorted(points, key=lambda each: (each.released, -each.ln_rho)):
        if point.ln_rho > best:
            records.append(point)
            best = point.ln_rho
    days = [(point.released - published.origin).days for point in records]
    slope = np.polyfit(days, [point.ln_rho for point in records], 1)[0]  # apart from the trend's own code
    assert published.slope == pytest.approx(slope, rel=1e-9)
    assert published.frontier == tuple(point.model for point in records)
    assert published.frontier[-1] == "Qwen2.5-7B"


@pytest.mark.long
def test_a_model_beyond_the_ruler_enters_as_a_lower_bound():
    report = measure_density(options=DensityOptions(ruler="Llama-2", sensitivity=False))
    points = {p.model: p for p in trend_points(report.densities)}
    above = [d for d in report.densities if not kept_out(d, Entering()) and points[d.target.model].bounded]
    assert {d.inversion.flag for d in above} == {BEYOND, EXTRAPOLATED}
    for density in above:
        bound = density.low if density.rho is None else report.ruler.sizes[1] / density.size
        assert points[density.target.model].ln_rho == pytest.approx(np.log(bound))
    let_in = {p.model: p for p in trend_points(report.densities, Entering(extrapolated=True))}
    assert {d.target.model for d in above if let_in[d.target.model].bounded} == {
        d.target.model for d in above if d.rho is None
    }


def test_families_are_drawn_whole_and_every_deficit_as_often():
    names = list("aaaabbbccd")
    families = Families(names)
    donors = families.donors(np.random.default_rng(0), 40_000)
    donor_family = np.array(names)[donors]
    for family in "abcd":
        members = [i for i, name in enumerate(names) if name == family]
        assert (donor_family[:, members] == donor_family[:, members[:1]]).all()
    shares = np.bincount(donors.ravel(), minlength=10) / donors.size
    np.testing.assert_allclose(shares, 0.1, atol=0.008)
    assert (donor_family[:, 0] != donor_family[:, 4]).mean() > 0.5
    there = families.present(np.random.default_rng(0), 40_000)
    assert there[:, 9].mean() == pytest.approx(1 - (1 - 1 / 4) ** 4, abs=0.01)


def test_one_family_and_families_of_one_are_models_resampled():
    days = np.arange(25) * 30
    points = [
        TrendPoint(f"m{i}", START + timedelta(days=int(d)), float(y), np.full(9, float(y)), "one")
        for i, (d, y) in enumerate(zip(days, np.random.default_rng(3).normal(days / 100, 0.5), strict=True))
    ]
    one = fit_trend(points, seed=0, draws=20_000)
    alone = fit_trend([replace(p, lineage=p.model) for p in points], seed=1, draws=20_000)
    assert (one.families, alone.families) == (1, 25)
    np.testing.assert_allclose(one.interval, alone.interval, rtol=0.05)
    np.testing.assert_allclose(one.resampled, alone.resampled, rtol=0.05)


def clustered(seed, *, families=10, models=50, growth=0.007):
    """Families that release all their models on one day; half of the deficits' variance is the family's."""
    rng = np.random.default_rng(seed)
    of_model, release = rng.integers(0, families, models), rng.integers(0, 600, families)
    days = release[of_model]
    deficits = rng.exponential(0.5, families)[of_model] + rng.exponential(0.5, models)
    return [
        TrendPoint(f"m{i}", START + timedelta(days=int(d)), float(y), np.full(9, float(y)), f"f{f}")
        for i, (d, y, f) in enumerate(zip(days, growth * days - deficits, of_model, strict=True))
    ]


def test_families_resampled_hold_the_growth_where_models_do_not():
    worlds = [(seed, clustered(seed)) for seed in range(120)]

    def share(points_of):
        held = 0
        for seed, points in worlds:
            low, high = fit_trend(points_of(points), seed=seed, draws=300).interval
            held += low <= 0.007 <= high
        return held / len(worlds)

    assert share(lambda points: points) > 0.88
    assert share(lambda points: [replace(p, lineage=p.model) for p in points]) < 0.86


@pytest.mark.parametrize("kind", ["20 families", "10 families"])
@pytest.mark.long
def test_planted_families_are_held(kind):
    outcomes = [live_through(KINDS[kind], seed=seed) for seed in range(500, 520)]
    assert sum(outcome.growth_held for outcome in outcomes) >= 17


def test_models_of_a_planted_family_go_together():
    world = replace(KINDS["10 families"], models=400, scatter=1e-6, questions=10**9)
    measured, truths = measured_world(world, seed=0)
    days = np.array([(d.released - START).days for d in measured])
    deficits = world.ln_rho_start + world.growth * days - np.log([truths[d.target.model] for d in measured])
    lineages = [d.target.lineage for d in measured]
    of_family = [deficits[[name == lineage for name in lineages]] for lineage in set(lineages)]
    assert len(of_family) == 10
    # Within a family there is what the models have alone: half of the variance that the deficits' mean stands for.
    assert np.mean([d.var(ddof=1) for d in of_family]) == pytest.approx(world.deficit**2 / 2, rel=0.2)


DAYS = np.array([0.0, 60.0, 110.0, 200.0, 260.0, 330.0])
VALUES = np.array([0.1, 0.3, 1.0, 1.1, 2.2, 2.3])
BOUNDED = np.array([False, False, False, True, False, True])
ALL = np.ones(6, dtype=bool)


def test_the_line_through_bounds_is_the_most_likely():
    def cost(coefficients):
        slope, intercept, ln_spread = coefficients
        z = (VALUES - intercept - slope * DAYS) / np.exp(ln_spread)
        return -np.sum(np.where(BOUNDED, norm.logsf(z), norm.logpdf(z) - ln_spread))

    best = minimize(cost, [0.007, 0.0, -1.0], method="Nelder-Mead",
                    options={"xatol": 1e-10, "fatol": 1e-13, "maxiter": 20_000, "maxfev": 20_000})  # fmt: skip
    line = line_of_records(DAYS, VALUES, ALL, BOUNDED)
    np.testing.assert_allclose(
        [line.slope, line.intercept, np.log(line.spread)], best.x, rtol=1e-4, atol=1e-5
    )
    assert (line.lift[BOUNDED] > 0).all()
    assert (line.lift[~BOUNDED] == 0).all()


def test_what_lies_above_a_bound_is_drawn_from_there():
    line = line_of_records(DAYS, VALUES, ALL, BOUNDED)
    lifts = line.lifts(BOUNDED, np.random.default_rng(0), 20_000)
    assert (lifts[:, ~BOUNDED] == 0).all()
    np.testing.assert_allclose(lifts.mean(0), line.lift, atol=0.01)
    above = truncnorm(line.excess[3], np.inf).ppf([0.05, 0.5, 0.95]) - line.excess[3]
    np.testing.assert_allclose(np.quantile(lifts[:, 3], [0.05, 0.5, 0.95]), above * line.spread, atol=0.02)


@pytest.mark.parametrize("bound", [-40.0, 0.5])
def test_a_bound_below_a_line_without_residuals_moves_nothing(bound):
    values = np.array([0.0, 1.0, 2.0, bound])
    line = line_of_records(np.arange(4.0), values, np.ones(4, dtype=bool), np.arange(4) == 3)
    np.testing.assert_allclose([line.slope, line.intercept], [1.0, 0.0], atol=1e-6)
    assert line.lift[3] == pytest.approx(3 - bound, abs=1e-5)


def test_a_bound_far_above_lifts_the_line_like_a_number():
    values = np.array([0.0, 1.1, 1.9, 60.0])
    far = line_of_records(np.arange(4.0), values, np.ones(4, dtype=bool), np.arange(4) == 3)
    number = line_of_records(np.arange(4.0), values, np.ones(4, dtype=bool), np.zeros(4, dtype=bool))
    assert far.slope >= number.slope > 15


def test_a_record_beyond_the_ruler_steepens_the_trend_and_opens_it_upwards():
    rng = np.random.default_rng(4)
    days = np.arange(12) * 40
    ln_rho = 0.007 * days - rng.exponential(0.3, 12)
    points = [
        TrendPoint(f"m{i}", START + timedelta(days=int(d)), float(y), np.full(9, float(y)), "one")
        for i, (d, y) in enumerate(zip(days, ln_rho, strict=True))
    ]
    beyond = TrendPoint("beyond", START + timedelta(days=520), 6.0, np.full(9, 6.0), "one", bounded=True)
    without, found = fit_trend(points, seed=0), fit_trend([*points, beyond], seed=0)
    assert found.bounded == ("beyond",)
    assert found.frontier[-1] == "beyond"
    assert found.corrected > without.corrected
    assert found.interval[1] > without.interval[1]
    # A bound below the frontier may be no record, and says nothing.
    low = replace(beyond, ln_rho=-1.0, ruler_draws=np.full(9, -1.0))
    assert fit_trend([*points, low], seed=0).interval == without.interval


def test_bounds_alone_make_no_trend():
    points = [
        TrendPoint(
            f"m{i}", START + timedelta(days=30 * i), float(i), np.full(9, float(i)), "one", bounded=i > 1
        )
        for i in range(6)
    ]
    with pytest.raises(SparsityLabError, match=r"2 of them set a new maximum .* 4 more by a lower bound"):
        fit_trend(points, seed=0)


# Models of fixed sizes grow denser, so that the later of them leave a ruler that ends at 14e9.
OUTGROWING = World(
    own_sizes=(2e9, 30e9), reference_sizes=(0.1e9, 0.3e9, 0.5e9, 1.5e9, 3e9, 7e9, 14e9), middle_params=3e9,
    scatter=0.005,
)  # fmt: skip


@pytest.mark.long
def test_dropping_records_beyond_the_ruler_flattens_the_growth():
    entered, dropped, at_bound = [], [], []
    for seed in range(30):
        measured, _ = measured_world(OUTGROWING, seed=seed)
        points = trend_points(measured)
        numbers, taken = [p for p in points if not p.bounded], [replace(p, bounded=False) for p in points]
        for list_, chosen in ((entered, points), (dropped, numbers), (at_bound, taken)):
            list_.append(fit_trend(chosen, seed=seed, draws=200).corrected / OUTGROWING.growth)
    assert np.mean(entered) == pytest.approx(1, abs=0.05)
    # The form error of the ruler lowers the bounds, which then win back less than the 0.036 of a ruler without one.
    assert np.mean(dropped) < np.mean(entered) - 0.02
    assert np.mean(at_bound) < np.mean(entered) - 0.08


def needed(report, score, on=date(2024, 6, 1)):
    (row,) = parameters_needed(report.trend, report.ruler, report.tasks, score=score, dates=[on])
    return row


def test_parameters_needed_are_bounds_where_the_ruler_cannot_tell(bundled):
    found = needed(bundled, 0.5)
    assert found["low_b"] < found["params_b"] < found["high_b"]
    steep = needed(bundled, 0.75)  # the ruler's draws put N^ at 26e9 to infinity
    assert steep["low_b"] < steep["params_b"] < 1000
    assert steep["high_b"] is None
    for score in (0.795, 0.9):  # 0.004 below the ceiling, and above it
        ceiling = needed(bundled, score)
        assert (ceiling["params_b"], ceiling["high_b"], ceiling["flag"]) == (None, None, BEYOND)
        assert 10 < ceiling["low_b"] < 1000
    floor = needed(bundled, 0.01)
    assert (floor["params_b"], floor["low_b"]) == (None, None)
    assert 0 < floor["high_b"] < 1


def test_parameters_needed_carry_the_ruler(bundled):
    """A trend without any spread leaves the ruler's own interval of N^ over rho_max."""
    trend = bundled.trend
    still = replace(
        trend,
        slope_draws=np.full_like(trend.slope_draws, trend.corrected),
        intercept_draws=np.full_like(trend.intercept_draws, trend.corrected_intercept),
        ruler_columns=np.arange(len(trend.ruler_columns)) % 1000,
    )
    curve = bundled.ruler.curve(bundled.tasks)
    low, high = np.exp(np.quantile(curve.ln_size(np.asarray(0.5))[1:], [0.025, 0.975])) / 1e9
    row = needed(replace(bundled, trend=still), 0.5)
    assert row["high_b"] / row["low_b"] == pytest.approx(high / low, rel=0.05)


def test_a_pair_with_a_bound_has_a_bound(bundled, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("model,source\nGemma-2-9B,Gemma-2-27B\n")
    by_name, yard = {d.target.model: d for d in bundled.densities}, bundled.yardstick
    model, source = by_name["Gemma-2-9B"], by_name["Gemma-2-27B"]
    (number,) = compare_pairs(path, [model, source], yard)
    assert number["low"] < number["ratio"] < number["high"]
    draws = np.where(np.arange(len(source.draws)) % 2, np.inf, source.draws)
    bound = replace(source.inversion, size=None, low=4 * source.size, high=None, flag=BEYOND)
    (above,) = compare_pairs(path, [model, replace(source, inversion=bound, draws=draws)], yard)
    assert (above["ratio"], above["low"]) == (None, None)
    assert above["high"] == pytest.approx(model.high / 4)
    assert above["verdict"] == "less dense"
    (both,) = compare_pairs(path, [replace(model, draws=draws), replace(source, draws=draws)], yard)
    assert (both["low"], both["high"], both["verdict"]) == (None, None, "not told apart")


def test_records_are_told_by_bounds_and_not_by_what_may_lie_above():
    assert list(frontier_mask(np.arange(3.0), np.array([0.0, 2.0, 2.1]))) == [True, True, True]
    values = np.array([0.0, 1.0, 1.5, 2.0, 2.1])
    points = [
        TrendPoint(
            f"m{i}", START + timedelta(days=50 * i), float(y), np.full(9, float(y)), "one", bounded=i == 3
        )
        for i, y in enumerate(values)
    ]
    found = fit_trend(points, seed=0)
    assert found.frontier == ("m0", "m1", "m2", "m3", "m4")


def held_beyond(kind, worlds=12):
    """The share of intervals that hold the rho of models beyond the reference sizes."""
    outcomes = [live_through(KINDS[kind], seed=seed) for seed in range(worlds)]
    return np.mean([held for o in outcomes for held, out in zip(o.rho_held, o.beyond, strict=True) if out])


@pytest.mark.thorough
@pytest.mark.parametrize(("kind", "without_it"), [("Weibull ruler", 0.95), ("Gompertz ruler", 0.85)])
@pytest.mark.long
def test_rulers_of_another_form_are_held_beyond_their_sizes(kind, without_it, monkeypatch):
    assert held_beyond(kind) >= 0.88
    monkeypatch.setattr(one_step, "held_out_errors", lambda *_, **__: [(0.0, 1), (0.0, 1)])
    one_step._with_draws.cache_clear()
    assert held_beyond(kind) < without_it
    one_step._with_draws.cache_clear()


def test_held_out_errors_are_of_the_form_and_not_of_the_scatter():
    """Where the truth is a logistic nothing is left but scatter; a Gompertz curve is missed at both ends."""
    sizes = np.log(np.array(World().reference_sizes))
    straight, bent = (KINDS[kind].score(np.exp(sizes)) for kind in ("standard", "Gompertz ruler"))
    for scores, bounds in ((straight, (0.0, 1e-3)), (bent, (0.01, 0.2))):
        point, sse = sigmoid.fit(sizes, scores[None], floor=0.25)
        scatter = float(np.sqrt(sse[0] / 5))
        for error, pairs in one_step.held_out_errors(point, sizes, scores, scatter=scatter):
            assert bounds[0] <= error <= bounds[1]
            assert pairs == 10
