"""What a study concludes from curves, on curves whose truth is known, against slow computations by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.study import conclusions, equal_loss, scale, selection, shapes, trends
from sparsity_lab.fitting.study.curves import RunCurve, read_curves
from sparsity_lab.fitting.study.outcome import losses, outcome, write_tables
from sparsity_lab.fitting.study.trends import FALLS, LEVEL, RISES, SHORT
from sparsity_lab.store.tables import to_csv

TOKENS = np.geomspace(5e5, 2e7, 14)


def curve(run="relu-a", activation="relu", rule="series", *, slope=-0.01, parameters=2e5, shape=(64, 4), seed=0,
          se=1e-3, knob_slope=0.0, at=0.15, loss_shift=0.0, tokens=TOKENS):  # fmt: skip
    noise = np.random.default_rng(seed).normal(0, se, len(tokens))
    ln = np.log(tokens / tokens[0])
    return RunCurve(
        run=run, activation=activation, rule=rule, parameters=parameters, hidden_size=shape[0], layers=shape[1],
        tokens=tokens, ratio=at + slope * ln + noise, se=np.full(len(tokens), se), knob=0.1 * np.exp(knob_slope * ln),
        loss_nats=4 - 0.5 * ln + loss_shift, ppl_ratio=np.linspace(1.001, 1.01, len(tokens)),
    )  # fmt: skip


def study(relu_own=0.012, relu_knob=-0.3):
    found = []
    for activation, series in (("relu", -0.01), ("silu", 0.03)):
        for i, parameters in enumerate((1e5, 3e5, 1e6)):
            common = {"run": f"{activation}-{i}", "activation": activation, "parameters": parameters, "seed": i,
                      "se": 2e-4, "shape": (48 + i, 3), "at": 0.15 if activation == "relu" else 0.4}  # fmt: skip
            own = relu_own if activation == "relu" else 0.05
            found += [
                curve(**common, slope=series),
                curve(**common, rule="ppl-increase", slope=own, knob_slope=relu_knob),
            ]
            found += [curve(**common, rule="fixed-0.1", slope=series)]
    return found


def of_curves(curves, entries=()):
    return outcome(curves, list(entries), edges=(1, 10, 100, 1000))


def test_a_slope_is_that_of_weighted_least_squares_and_its_interval_the_wider_of_two():
    rng = np.random.default_rng(1)
    x = np.sort(rng.uniform(0, 4, 12))
    se = rng.uniform(0.5, 2.0, 12) * 1e-3
    y = 0.2 - 0.01 * x + rng.normal(0, se)
    found = trends.line(x, y, se)
    coefficients, covariance = np.polyfit(x, y, 1, w=1 / se, cov="unscaled")
    assert found.slope == pytest.approx(coefficients[0], rel=1e-9)
    chi2 = float(np.sum(((y - np.polyval(coefficients, x)) / se) ** 2)) / 10
    halves = (
        1.959964 * math.sqrt(covariance[0, 0]),
        stats.t.ppf(0.975, 10) * math.sqrt(chi2 * covariance[0, 0]),
    )
    assert found.high - found.slope == pytest.approx(max(halves), rel=1e-6)
    plain = trends.line(x, y)
    by_scipy = stats.linregress(x, y)
    assert plain.slope == pytest.approx(by_scipy.slope)
    assert plain.high - plain.slope == pytest.approx(stats.t.ppf(0.975, 10) * by_scipy.stderr)


def test_intervals_of_slopes_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(2)
    x, held = np.log(TOKENS[:6]), 0
    for _ in range(600):
        found = trends.line(x, -0.01 * x + rng.normal(0, 2e-3, 6), np.full(6, 2e-3))
        held += found.low <= -0.01 <= found.high
    assert held / 600 > 0.94


@pytest.mark.parametrize(("slope", "way"), [(-0.01, FALLS), (0.01, RISES), (0.0, LEVEL)])
def test_a_way_needs_an_interval_clear_of_zero(slope, way):
    assert trends.trend(curve(slope=slope)).way == way


def test_two_points_have_no_slope():
    assert trends.line(np.array([0.0, 1.0]), np.array([0.0, 1.0])).way == SHORT


def test_opposite_rules_are_found_where_they_are_and_said_with_their_numbers():
    found = of_curves(study())
    relu = [one for one in found.segments if one.activation == "relu"]
    assert {one.verdict for one in relu} == {"disagree"}
    assert all(one.difference.way == RISES for one in relu)
    assert {one.verdict for one in found.segments if one.activation == "silu"} == {"agree"}
    stretches = conclusions.deciding_stretches(found, ["relu"])
    assert [(row["run"], row["tokens/parameter"], row["series"], row["verdict"]) for row in stretches] == [
        (one.run, f"{one.low:g} to {one.high:g}", conclusions.slope_words(one.trends["series"]), "disagree")
        for one in relu
    ]
    of_relu, of_silu = conclusions.two_rules(found, ["relu", "silu"])
    assert (of_relu["runs that disagree"], of_relu["runs that agree"], of_relu["runs undecided"]) == (3, 0, 0)
    assert of_relu["CETT of equal quality"] == "falls 3/3"
    assert of_relu["the published direction is one"] == conclusions.STANDARD
    assert of_silu["the published direction is one"] == conclusions.QUALITY
    assert of_silu["agreed way"] == RISES
    assert {
        row["slopes of the two rules"].split(" (")[0] for row in conclusions.standards(found, ["relu"])
    } == {"apart at the end"}


def test_the_words_follow_the_numbers_the_other_way_too():
    found = of_curves(study(relu_own=-0.012, relu_knob=0.0))
    assert {one.verdict for one in found.segments if one.activation == "relu"} == {"agree"}
    (row,) = conclusions.two_rules(found, ["relu"])
    assert (row["the published direction is one"], row["agreed way"]) == (conclusions.QUALITY, FALLS)
    series, own, _ = conclusions.directions(found, "relu", ppl_increase=0.01)
    assert (series["paper"], own["paper"]) == (conclusions.AGREES, conclusions.AGREES)
    opposite = conclusions.directions(of_curves(study()), "relu", ppl_increase=0.01)[1]
    assert (opposite["with tokens"], opposite["paper"]) == ("rises 3/3", conclusions.DISAGREES)
    in_short = {
        row["question"]: row["verdict"]
        for row in conclusions.summary(of_curves(study()), {}, ppl_increase=0.01)
    }
    assert in_short["relu with data"] == conclusions.IN_PART
    assert in_short["silu with data"] == in_short["ReLU beside SiLU at equal loss"] == conclusions.AGREES


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        ([FALLS, FALLS], conclusions.AGREES),
        ([FALLS, LEVEL], conclusions.WHERE_DECIDED),
        ([FALLS, RISES], conclusions.IN_PART),
        ([RISES, LEVEL], conclusions.DISAGREES),
        ([LEVEL, SHORT], conclusions.NOT_DECIDED),
        ([], conclusions.NOT_DECIDED),
    ],
)
def test_a_verdict_on_the_paper_counts_what_is_with_it_and_against_it(words, verdict):
    assert conclusions.against_paper(words, FALLS) == verdict


def test_ratios_at_equal_loss_are_interpolated_by_hand():
    relu, silu = curve(se=0), curve("silu-a", "silu", at=0.4, slope=0.03, se=0, loss_shift=0.2)
    found = equal_loss.versus([relu, silu], reference="relu")
    assert [one.loss_nats for one in found] == sorted((one.loss_nats for one in found), reverse=True)
    lowest = found[-1]
    assert lowest.loss_nats == pytest.approx(float(silu.loss_nats[-1]))
    tokens = TOKENS[0] * math.exp((4 - lowest.loss_nats) / 0.5)
    assert lowest.reference_ratio == pytest.approx(0.15 - 0.01 * math.log(tokens / TOKENS[0]), abs=1e-9)
    assert lowest.difference == pytest.approx(float(silu.ratio[-1]) - lowest.reference_ratio)
    assert lowest.verdict == equal_loss.SPARSER
    (one, other) = equal_loss.at_lowest_common_loss([relu, silu])
    assert (one.activation, other.activation) == ("relu", "silu")
    assert one.tokens == pytest.approx(tokens, rel=1e-6)


def test_losses_that_never_meet_are_not_compared():
    far = curve("silu-a", "silu", loss_shift=9.0)
    assert equal_loss.versus([curve(), far], reference="relu") == []
    assert conclusions.equal_loss(of_curves([curve(), far]), ppl_increase=0.01) == []


def bent(rule="series"):
    rng = np.random.default_rng(3)
    ratios = (2, 4, 7, 10, 16, 24, 44, 128)
    return [
        curve(f"relu-{r}", parameters=2e5 * (1 + 0.01 * i), shape=(64 * r, 64), rule=rule,
              at=0.1 + 0.004 * min(r, 16) + rng.normal(0, 1e-4), slope=0.0, se=1e-4, seed=i)
        for i, r in enumerate(ratios)
    ]  # fmt: skip


def test_shapes_that_rise_and_then_stay_are_linear_then_flat():
    curves = bent()
    longer = curve(
        "relu-2",
        parameters=2e5,
        shape=(128, 64),
        tokens=np.geomspace(5e5, 8e7, 14),
        at=0.108,
        slope=0.0,
        se=1e-4,
    )
    found = of_curves([longer, *curves[1:]])
    own = found.shapes_of("series")
    assert [one.width_depth_ratio for one in own] == [2, 4, 7, 10, 16, 24, 44, 128]
    assert {one.tokens for one in own} == {2e7}  # the most that all shapes have seen
    shape = found.bottleneck("series")
    assert shape.finding == "linear then flat"
    assert shape.low <= 16 <= shape.high
    (row,) = conclusions.width_depth(found, [], ppl_increase=0.01)
    assert row["finding"] == "linear then flat"
    in_short = {one["question"]: one["verdict"] for one in conclusions.summary(found, {}, ppl_increase=0.01)}
    assert in_short["width-depth ratio"] == conclusions.AGREES


def test_a_bend_that_a_law_without_a_plateau_explains_better_does_not_end_flat():
    found = of_curves(bent())
    rivals = [{"law": "logarithmic", "aicc_gap": 0.0}, {"law": "width-depth", "aicc_gap": 5.0}]
    entry = {"series": "series", "verdict": "weakly identified", "reason": "", "rivals": {"rivals": rivals}}
    (row,) = conclusions.width_depth(found, [entry], ppl_increase=0.01)
    assert row["finding"] == shapes.BENDS
    assert row["AICc above the best"] == "logarithmic 0, width-depth 5"
    assert (
        conclusions.summary(found, {"series": entry}, ppl_increase=0.01)[-1]["verdict"] == conclusions.IN_PART
    )
    rivals[1]["aicc_gap"] = 1.0
    assert conclusions.width_depth(found, [entry], ppl_increase=0.01)[0]["finding"] == shapes.FLAT_IN_THE_END


def test_few_shapes_say_nothing():
    assert shapes.bottleneck(of_curves(bent()[:4]).shapes_of("series")) is None
    assert conclusions.width_depth(of_curves(bent()[:4]), [], ppl_increase=0.01) == []


def test_sizes_are_told_from_shapes():
    curves = [*bent(), curve("small", parameters=8e4), curve("large", parameters=7e5),
              curve("main", parameters=1.9e5, tokens=np.geomspace(5e5, 8e7, 14))]  # fmt: skip
    assert [one.run for one in selection.one_a_size(curves)] == ["small", "main", "large"]
    found = [one.run for one in selection.shapes(curves)]
    assert found == [*(f"relu-{r}" for r in (2, 4, 7, 10)), "main", *(f"relu-{r}" for r in (24, 44, 128))]


def test_size_is_compared_at_tokens_per_parameter_that_all_have():
    found = of_curves(study())
    (one,) = [a for a in found.against_size if (a.rule, a.activation) == ("series", "relu")]
    assert one.tokens_per_parameter == pytest.approx(20.0)  # the largest saw 2e7 / 1e6
    own = [s for s in found.sizes if (s.rule, s.activation) == ("series", "relu")]
    smallest = next(c for c in found.curves if c.run == "relu-0" and c.rule == "series")
    assert own[0].ratio == pytest.approx(
        float(np.interp(math.log(2e6), np.log(smallest.tokens), smallest.ratio))
    )
    row = conclusions.size(found, ppl_increase=0.01)[0]
    assert (row["limits bounded"], row["slope of limits per factor e of N"]) == ("0/3", "not identified")


def entry(name, verdict, value, low, high):
    return {
        "series": name, "law": "power", "verdict": verdict, "reason": "why", "bound": None,
        "coefficients": {"A0": {"value": value, "low": low, "high": high}},
        "rivals": {"best_by_aicc": "power", "aicc_ties": []},
    }  # fmt: skip


def test_a_limit_that_is_not_identified_enters_no_slope():
    names = [f"relu-{i}-series-0.1" for i in range(3)]
    sure = [entry(name, "identified", 0.1 + 0.01 * i, 0.09, 0.12) for i, name in enumerate(names)]
    (one,) = [
        a for a in of_curves(study(), sure).against_size if (a.rule, a.activation) == ("series", "relu")
    ]
    assert one.limits.points == 3
    assert one.limits.slope == pytest.approx(np.polyfit(np.log([1e5, 3e5, 1e6]), [0.1, 0.11, 0.12], 1)[0])
    unsure = [*sure[:2], entry(names[2], "not identified", 0.1, None, 0.2)]
    found = of_curves(study(), unsure)
    (one,) = [a for a in found.against_size if (a.rule, a.activation) == ("series", "relu")]
    assert one.limits.way == SHORT
    assert scale.fits_of(unsure, found.curves)["relu-2", "series"].verdict == "not identified"


def test_the_tables_hold_every_run_and_losses_one_run_a_size(tmp_path):
    found = of_curves(study())
    write_tables(found, tmp_path)
    for name in ("directions", "segments", "equal_loss", "versus", "shapes", "sizes", "against_size"):
        assert (tmp_path / f"{name}.csv").is_file()
        assert (tmp_path / f"{name}.md").is_file()
    assert set(losses(found.curves)) == {"relu", "silu"}
    assert len((tmp_path / "losses-relu.csv").read_text().splitlines()) == 1 + 3 * len(TOKENS)


def test_a_bad_table_names_its_row_and_column(tmp_path):
    row = {
        "series": "a", "rule": "series", "activation_function": "relu", "trained_tokens": 1e6, "activation_ratio": 0.1,
        "knob": 0.1, "loss_dense_nats": 3.0, "ppl_ratio": 1.01, "params_nonembedding": 1e5, "hidden_size": 64,
        "layers": 4, "architecture": "drelu_llama",
    }  # fmt: skip
    path = tmp_path / "table.csv"
    path.write_text(to_csv([row, {**row, "trained_tokens": 2e6}], list(row)))
    (read,) = read_curves([path])
    assert (read.activation, len(read.tokens)) == ("drelu", 2)
    path.write_text(to_csv([row, {**row, "loss_dense_nats": "nan"}], list(row)))
    with pytest.raises(SparsityLabError, match="row 3, column 'loss_dense_nats'"):
        read_curves([path])
    path.write_text("series,rule\na,series\n")
    with pytest.raises(SparsityLabError, match="no column 'activation_function'"):
        read_curves([path])
