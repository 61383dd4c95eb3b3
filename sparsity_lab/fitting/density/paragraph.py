"""What a run of `density` found, in sentences: one paragraph that can be quoted, and a sentence a finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sparsity_lab.fitting.density.by_size import size_sentence
from sparsity_lab.fitting.density.options import DensityReport
from sparsity_lab.fitting.density.rulers.disagreement import rulers_sentence
from sparsity_lab.fitting.density.rulers.one_step import OneStepRuler
from sparsity_lab.fitting.density.trend.forecasts import NO_GROWTH, TREND
from sparsity_lab.fitting.density.trend.hindcast import ALL, Hindcast, held_words, hindcast_sentence
from sparsity_lab.fitting.density.trend.published import published_words
from sparsity_lab.fitting.density.trend.sensitivity import HARNESS, TASKS, identified_sentence
from sparsity_lab.fitting.density.trend.trend import DensityTrend, doubling
from sparsity_lab.store.tables import number

Row = Mapping[str, object]

NEAR = 0.95  # scores nearer than this to one another are called equal


# A kind of choice in the table of sensitivity, and what of the trend is another there.
MOVED = {
    "D0": "other numbers of training tokens D0",
    "ruler": "other rulers",
    HARNESS: "pairs of a single harness and a ruler of its scores",
    TASKS: "other sets of tasks",
    "models": "other selections of models",
    "parameters": "ways of counting the parameters of mixtures of experts",
}


def paragraph(report: DensityReport) -> str:
    """The growth in one paragraph that can be quoted: its interval, what moves it, how it did on the past."""
    return ". ".join(headline(report)) + "."


def headline(report: DensityReport) -> list[str]:
    """The sentences of `paragraph`, without their full stops; the first says the growth."""
    trend = report.trend
    if trend is None:
        return [report.trend_note.rstrip(".")]
    sentences = [
        _growth(trend),
        _defined(report),
        _corrected(trend),
        _moved(report.sensitivity),
        _tried(report.hindcast) if report.hindcast else "",
        _rests_on(report, trend),
    ]
    return list(filter(None, sentences))


def _defined(report: DensityReport) -> str:
    """What density is, by which ruler and on which score."""
    ruler = report.ruler
    fitted = (
        "score against size"
        if isinstance(ruler, OneStepRuler)
        else "loss against size and data, then score against loss"
    )
    tasks = report.tasks[0] if len(report.tasks) == 1 else f"the mean of {_series(report.tasks)}"
    return (
        "Density is rho = N^ / N: the size N^ at which the ruler would reach a model's score, over the model's own "
        f"size N. The ruler is {ruler.name} ({fitted}), the score {tasks} (scores: {ruler.harness})"
    )


def _corrected(trend: DensityTrend) -> str:
    """What the headline is corrected for, what it is without, and what was published."""
    days = doubling(trend.slope)
    without = f"the doubling time is {days:.0f} days" if days else "there is no growth"
    return (
        "The first model is a record whatever its density, which makes a line through the records too steep; the "
        f"headline is corrected for this. Without the correction {without}; the published values, which are not "
        f"corrected either, are {published_words()} days"
    )


def _series(words: Sequence[str]) -> str:
    """Words as a sentence lists them: `a, b and c`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _growth(trend: DensityTrend) -> str:
    among = (
        f"The highest capacity density among {trend.models} models of {_families(trend)}, released from "
        f"{trend.origin} to {trend.last},"
    )
    if trend.doubling_days:
        return f"{among} doubled every {trend.doubling_days:.0f} days (95 % interval {_interval(trend)})"
    return f"{among} did not grow (95 % interval of the doubling time {_interval(trend)})"


def _families(trend: DensityTrend) -> str:
    return f"{trend.families} {'family' if trend.families == 1 else 'families'}"


def _interval(trend: DensityTrend) -> str:
    """The 95 % interval of the doubling time; an open end is where the growth may be none."""
    low, high = trend.doubling_interval
    if low is None:
        return "without growth at either end"
    return f"{low:.0f} days to no growth" if high is None else f"{low:.0f} to {high:.0f} days"


def _moved(rows: Sequence[Row]) -> str:
    """The doubling times that other choices give, a range a kind of choice."""
    ranges = []
    for choice, of in MOVED.items():
        made = [row for row in rows if row["choice"] == choice]
        grown = [row for row in made if isinstance(row.get("doubling_days_corrected"), float)]
        if not grown:
            continue
        low, high = (f"{pick(map(_days, grown)):.0f}" for pick in (min, max))
        days = low if low == high else f"{low} to {high}"
        ranges.append(f"{days} days over {len(grown)} {of}{_not_grown(made)}")
    return f"With one choice changed at a time, the doubling time is {_series(ranges)}" if ranges else ""


def _not_grown(rows: Sequence[Row]) -> str:
    """How many other rows show no growth and how many have no trend, empty where all grow."""
    still = sum(row.get("A_corrected") is not None and not row.get("doubling_days_corrected") for row in rows)
    none = sum(row.get("A_corrected") is None for row in rows)
    said = [f"{still} without growth"] * bool(still) + [f"{none} without a trend"] * bool(none)
    return f" (and {' and '.join(said)})" if said else ""


def _tried(tried: Hindcast) -> str:
    """How the trend did on the past, against no growth since."""
    trend, still = (float(str(tried.score(name, ALL)["crps"])) for name in (TREND, NO_GROWTH))
    verdict = (
        "better than" if trend < NEAR * still else "worse than" if still < NEAR * trend else "no better than"
    )
    return (
        "A hindcast fits the trend at the end of each earlier quarter and predicts the densest model of the next ones: "
        f"of these maxima its 95 % bands held {held_words(tried.score(TREND, ALL), 95)}, and it did {verdict} the "
        f"assumption of no further growth (continuous ranked probability score of ln rho {trend:.2f} against "
        f"{still:.2f}; lower is better)"
    )


def _rests_on(report: DensityReport, trend: DensityTrend) -> str:
    """What would change the number."""
    words = (
        f"The trend has no model released after {trend.last} and says nothing of growth since; it rests on "
        f"{len(trend.frontier)} record models, so that a few new records would change it"
    )
    ends = {
        "there is no trend": [name for name, each in report.without.items() if each is None],
        "there is no growth": [
            name for name, each in report.without.items() if each and not each.doubling_days
        ],
    }
    if gone := [f"without the models of {' or of '.join(of)} {end}" for end, of in ends.items() if of]:
        return "; ".join([words, *gone])
    left = {name: each.doubling_days or 0.0 for name, each in report.without.items() if each}
    if not left:
        return words
    name, days = max(left.items(), key=lambda each: abs(each[1] - (trend.doubling_days or 0.0)))
    return f"{words}; without the models of {name} the doubling time is {days:.0f} days"


def _days(row: Row) -> float:
    return float(str(row["doubling_days_corrected"]))


def closing_sentences(report: DensityReport) -> list[str]:
    """What a run found, one sentence a finding."""
    if report.trend is None:
        rulers = one_ruler_sentence(report)
        return [s for s in (rulers, size_sentence(report.by_size)) if s]
    sentences = [
        trend_sentence(report.trend),
        spread_sentence(report),
        one_ruler_sentence(report),
        identified_sentence(report.sensitivity),
        hindcast_sentence(report.hindcast) if report.hindcast else "",
        f"No hindcast: {report.hindcast_note}" if report.hindcast_note else "",
        break_sentence(report),
    ]
    sentences += [
        f"Projected to {p.on}: rho_max {number(p.middle, 3)} "
        f"(95 % band {number(p.low, 3)} to {number(p.high, 3)})"
        for p in report.projections
    ]
    return [s for s in [*sentences, size_sentence(report.by_size), report.trend_note] if s]


def one_ruler_sentence(report: DensityReport) -> str:
    """What the interval of a single density leaves out, and how far other rulers move it."""
    words = (
        f"The 95 % interval of a single density is under the ruler {report.ruler.name} alone: it does not cover the "
        "choice of ruler or of its corpus"
    )
    return ". ".join(filter(None, [words, rulers_sentence(report.agreements)]))


def spread_sentence(report: DensityReport) -> str:
    """How far the doubling time moves with the choices, empty where that was not asked for."""
    rows = [row for row in report.sensitivity if isinstance(row.get("doubling_days_corrected"), float)]
    if not rows:
        return ""
    low, high = (pick(rows, key=_days) for pick in (min, max))
    return (
        f"With other choices the doubling time lies between {_days(low):.0f} days "
        f"({low['choice']}: {low['value']}) and {_days(high):.0f} "
        f"({high['choice']}: {high['value']})"
    )


def break_sentence(report: DensityReport) -> str:
    """The break test in one sentence, empty where none was asked for."""
    test = report.break_test
    if test is None:
        return ""
    return (
        f"Before {test.at} the frontier grows by {number(test.before, 3)} per day "
        f"({test.records_before} models), from then on by {number(test.after, 3)} ({test.records_after}); "
        f"p = {test.p_value:.2g} for no difference"
    )


def trend_sentence(trend: DensityTrend) -> str:
    """The corrected trend in one sentence, and beside it the line as published and what was published."""
    low, high = ("open" if days is None else f"{days:.0f}" for days in trend.doubling_interval)
    growth = (
        f"doubling every {trend.doubling_days:.0f} days (95 % interval {low} to {high})"
        if trend.doubling_days
        else "not growing"
    )
    days = doubling(trend.slope)
    uncorrected = f"doubling every {days:.0f} days" if days else "not growing"
    return (
        f"ln rho_max = A t + B with A = {number(trend.corrected, 3)} per day "
        f"(95 % interval {number(trend.interval[0], 3)} to {number(trend.interval[1], 3)}), {growth}, corrected for "
        f"the bias of records: {len(trend.frontier)} frontier models of {trend.models} in {_families(trend)}. "
        f"Uncorrected, by least squares over the frontier as in the publication: A = {number(trend.slope, 3)}, "
        f"{uncorrected} (R2 = {trend.r2:.2f}); published: {published_words()} days"
    )
