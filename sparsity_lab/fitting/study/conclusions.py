"""What is concluded from a study, question by question: rows of tables with their numbers and verdicts.

The findings of the Sparsing Law (arXiv 2411.02335, abstract and sections 4 and 5) that a study is compared with:
(1) ReLU's ratio falls with data, as a logspace power law; (2) SiLU's rises, as a power law; (3) ReLU is sparser at
comparable performance; (4) the ratio rises linearly with the width-depth ratio up to a bottleneck and is flat beyond;
(5) its limit depends weakly on the number of parameters.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sparsity_lab.fitting.judge.slopes import SHORT, Trend
from sparsity_lab.fitting.study import selection, shapes, trends
from sparsity_lab.fitting.study.curves import OWN, SERIES, RunCurve, rule_words
from sparsity_lab.fitting.study.equal_loss import DENSER, SPARSER
from sparsity_lab.fitting.study.outcome import StudyOutcome
from sparsity_lab.fitting.study.trends import AGREE, DISAGREE, FALLS, OPEN, RISES
from sparsity_lab.store.tables import interval, number

Rows = list[dict[str, object]]
Entries = Sequence[Mapping[str, Any]]

EXPECTED = {"relu": (FALLS, "logspace-power"), "silu": (RISES, "power")}
OPPOSITE = {FALLS: RISES, RISES: FALLS, SPARSER: DENSER}
AGREES, WHERE_DECIDED, IN_PART = "agrees", "agrees where decided", "agrees in part"
DISAGREES, NOT_DECIDED = "disagrees", "not decided"
# What the two rules together say of the published curve, which is the series rule's.
STANDARD, QUALITY = "of a fixed relative error", "of equal quality"
TEN = math.log(10.0)


def against_paper(words: Iterable[str], expected: str) -> str:
    """How the words of several comparisons relate to the one that the paper's finding lets expect."""
    counts = Counter(words)
    with_it, against = counts[expected], counts[OPPOSITE[expected]]
    if with_it and against:
        return IN_PART
    if with_it:
        return AGREES if with_it == sum(counts.values()) else WHERE_DECIDED
    return DISAGREES if against else NOT_DECIDED


def counted(words: Iterable[str]) -> str:
    """Each word with how many of all there are of it, most frequent first."""
    counts = Counter(words)
    return ", ".join(f"{word} {count}/{sum(counts.values())}" for word, count in counts.most_common())


def slope_words(slope: Trend) -> str:
    """A slope with its interval."""
    return interval(slope.slope, slope.low, slope.high, unknown="not known")


def summary(
    outcome: StudyOutcome, shape_fits: Mapping[str, Mapping[str, Any]], *, ppl_increase: float
) -> Rows:
    """The paper's findings compared with this study's, rule by rule, and whether they agree over all rules.

    Args:
        outcome: of the study.
        shape_fits: rule -> the fit of the width-depth law, where there is one.
        ppl_increase: p of PPL-p%.
    """
    rules = {rule: rule_words(rule, ppl_increase=ppl_increase) for rule in selection.rules(outcome.curves)}
    rows: Rows = []

    def conclude(question: str, paper: str, words: Mapping[str, str], verdict: str) -> None:
        cells = {heading: words.get(rule, "") for rule, heading in rules.items()}
        rows.append({"question": question, "paper": paper, **cells, "verdict": verdict})

    for activation, (way, law) in EXPECTED.items():
        ways = {rule: _ways(selection.of(outcome.curves, rule=rule, activation=activation)) for rule in rules}
        if any(ways.values()):
            verdict = against_paper((word for words in ways.values() for word in words), way)
            by_rule = {rule: counted(words) for rule, words in ways.items()}
            conclude(f"{activation} with data", f"{way} ({law})", by_rule, verdict)
    pairs = [pair for pair in outcome.versus if (pair.reference, pair.other) == ("relu", "silu")]
    if pairs:
        by_rule = {rule: counted(pair.verdict for pair in pairs if pair.rule == rule) for rule in rules}
        verdict = against_paper((pair.verdict for pair in pairs), SPARSER)
        conclude("ReLU beside SiLU at equal loss", SPARSER, by_rule, verdict)
    bends = {
        rule: shapes.word(shape, shape_fits.get(rule))
        for rule in rules
        if (shape := outcome.bottleneck(rule))
    }
    if bends:
        conclude("width-depth ratio", shapes.FLAT_IN_THE_END, bends, _shapes_verdict(list(bends.values())))
    for activation in dict.fromkeys(slopes.activation for slopes in outcome.against_size):
        of_sizes = [slopes for slopes in outcome.against_size if slopes.activation == activation]
        mark = number(of_sizes[0].tokens_per_parameter, 3)
        by_rule = {slopes.rule: slopes.values.way for slopes in of_sizes}
        question = f"{activation} with size at {mark} tokens/parameter"
        conclude(question, "weak (of the limit)", by_rule, "")
    return rows


def _shapes_verdict(words: Sequence[str]) -> str:
    if all(word == shapes.FLAT_IN_THE_END for word in words):
        return AGREES
    return IN_PART if {shapes.FLAT_IN_THE_END, shapes.BENDS} & set(words) else DISAGREES


def _ways(curves: Sequence[RunCurve]) -> list[str]:
    return [trends.trend(curve).way for curve in curves]


def directions(outcome: StudyOutcome, activation: str, *, ppl_increase: float) -> Rows:
    """Which way an activation's ratio goes with tokens, and by which law: one row a rule."""
    return [
        _direction(outcome, curves, ppl_increase)
        for rule in selection.rules(outcome.curves)
        if (curves := selection.of(outcome.curves, rule=rule, activation=activation))
    ]


def _direction(outcome: StudyOutcome, curves: Sequence[RunCurve], ppl_increase: float) -> dict[str, object]:
    slopes = sorted((trends.trend(curve) for curve in curves), key=lambda slope: slope.slope)
    fits = [fit for curve in curves if (fit := outcome.fits.get((curve.run, curve.rule))) is not None]
    law = Counter(fit.law for fit in fits).most_common(1)[0][0] if fits else "none: too few checkpoints"
    good = sum(law in (fit.best, *fit.ties) for fit in fits)
    way = EXPECTED.get(curves[0].activation, ("",))[0]
    return {
        "rule": rule_words(curves[0].rule, ppl_increase=ppl_increase),
        "with tokens": counted(slope.way for slope in slopes),
        "lowest slope": slope_words(slopes[0]),
        "highest slope": slope_words(slopes[-1]),
        "law": law,
        "best or within 2": f"{good}/{len(fits)}" if fits else "",
        "best by AICc": counted(fit.best for fit in fits),
        "limit": counted(fit.verdict for fit in fits),
        "paper": against_paper((slope.way for slope in slopes), way) if way else "",
    }


def two_rules(outcome: StudyOutcome, activations: Sequence[str]) -> Rows:
    """Whether the series rule and each checkpoint's own knob agree in direction: one row an activation."""
    return [row for activation in activations if (row := _two_rules(outcome, activation))]


def _two_rules(outcome: StudyOutcome, activation: str) -> dict[str, object]:
    series, of_each = (
        selection.of(outcome.curves, rule=rule, activation=activation) for rule in (SERIES, OWN)
    )
    if not series or not of_each:
        return {}
    pairs = [
        (trends.trend(first), trends.trend(second)) for first, second in zip(series, of_each, strict=True)
    ]
    words = Counter(trends.together(*pair) for pair in pairs)
    agreed = {first.way for first, second in pairs if trends.together(first, second) == AGREE}
    parts = Counter(segment.verdict for segment in outcome.segments if segment.activation == activation)
    verdict = STANDARD if words[DISAGREE] > words[AGREE] else QUALITY if words[AGREE] else NOT_DECIDED
    return {
        "activation": activation,
        **{
            f"runs that {word}" if word != OPEN else f"runs {word}": words[word]
            for word in (AGREE, DISAGREE, OPEN)
        },
        "stretches": ", ".join(f"{word} {parts[word]}" for word in (AGREE, DISAGREE, OPEN)),
        "agreed way": " or ".join(sorted(agreed)),
        "CETT of equal quality": counted(trends.knob_trend(curve).way for curve in of_each),
        "the published direction is one": verdict,
    }


def deciding_stretches(outcome: StudyOutcome, activations: Sequence[str]) -> Rows:
    """The stretches of tokens per parameter in which both rules have a direction."""
    return [
        {"run": segment.run, "tokens/parameter": f"{segment.low:g} to {segment.high:g}",
         "series": slope_words(segment.trends[SERIES]), "own": slope_words(segment.trends[OWN]),
         "verdict": segment.verdict}
        for segment in outcome.segments
        if segment.activation in activations and segment.verdict != OPEN
    ]  # fmt: skip


def standards(outcome: StudyOutcome, activations: Sequence[str]) -> Rows:
    """How the CETT of equal quality moves along each run, and what the series' CETT costs at its ends."""
    series = {curve.run: curve for curve in selection.of(outcome.curves, rule=SERIES)}
    rows: Rows = []
    for curve in selection.of(outcome.curves, rule=OWN):
        if curve.activation in activations:
            knob, shared = trends.knob_trend(curve), series.get(curve.run)
            costs = (
                [None, None] if shared is None else [100 * (float(shared.ppl_ratio[i]) - 1) for i in (0, -1)]
            )
            rows.append({
                "run": curve.run, "own CETT, first": float(curve.knob[0]), "last": float(curve.knob[-1]),
                "ln c per ln D": slope_words(knob), "way": knob.way,
                "series' CETT": None if shared is None else float(shared.knob[0]),
                "PPL change there, first (%)": costs[0], "last (%)": costs[1],
                "slopes of the two rules": _apart(outcome, curve.run),
            })  # fmt: skip
    return rows


def _apart(outcome: StudyOutcome, run: str) -> str:
    """Tokens per parameter beyond which the slopes of the two rules can no longer be distinguished."""
    parts = sorted((part for part in outcome.segments if part.run == run), key=lambda part: part.low)
    apart = [segment for segment in parts if segment.difference.way in (RISES, FALLS)]
    if not apart:
        return "nowhere apart" if parts else ""
    last = parts[-1]
    return (
        f"apart at the end ({last.low:g} to {last.high:g})"
        if apart[-1] is last
        else f"apart to {apart[-1].high:g}"
    )


def equal_loss(outcome: StudyOutcome, *, ppl_increase: float) -> Rows:
    """The reference activation and every other, at the lowest loss both reached."""
    lowest = {
        (pair.rule, pair.parameters, pair.other): pair for pair in outcome.versus
    }  # highest losses come first
    return [
        {"rule": rule_words(pair.rule, ppl_increase=ppl_increase), "parameters": int(pair.parameters),
         "loss (nats)": pair.loss_nats, "pair": f"{pair.other} less {pair.reference}",
         "difference": interval(pair.difference, pair.low, pair.high), "verdict": f"{pair.reference} {pair.verdict}"}
        for rule in selection.rules(outcome.curves) for pair in lowest.values() if pair.rule == rule
    ]  # fmt: skip


def width_depth(outcome: StudyOutcome, shape_fits: Entries, *, ppl_increase: float) -> Rows:
    """Flat, straight, or linear then flat against the width-depth ratio, and the laws by AICc: one row a rule."""
    fits = {entry["series"]: entry for entry in shape_fits}
    rows: Rows = []
    for rule in selection.rules(outcome.curves):
        if (shape := outcome.bottleneck(rule)) is None:
            continue
        entry, values = fits.get(rule), [shaped.activation_ratio for shaped in outcome.shapes_of(rule)]
        rivals = entry["rivals"]["rivals"] if entry else []
        rows.append({
            "rule": rule_words(rule, ppl_increase=ppl_increase), "finding": shapes.word(shape, entry),
            "p of a slope": shape.straight_p, "p of a bend": shape.bottleneck_p,
            "ratios": f"{number(min(values), 3)} to {number(max(values), 3)}",
            "bottleneck d/L": interval(shape.r_star, shape.low, shape.high),
            "AICc above the best": ", ".join(f"{law['law']} {number(law['aicc_gap'] or 0.0, 2)}" for law in rivals),
            "plateau": f"{entry['verdict']}: {entry['reason']}" if entry else "",
        })  # fmt: skip
    return rows


def size(outcome: StudyOutcome, *, ppl_increase: float) -> Rows:
    """How values at equal tokens per parameter, and limits, move with the number of parameters."""
    rows: Rows = []
    for slopes in outcome.against_size:
        sizes = [
            sized
            for sized in outcome.sizes
            if (sized.rule, sized.activation) == (slopes.rule, slopes.activation)
        ]
        bounded = sum(sized.fitted is not None and sized.fitted.bounded for sized in sizes)
        ten = (TEN * value for value in (slopes.values.slope, slopes.values.low, slopes.values.high))
        values = (
            f"{number(sized.ratio, 3)} ± {number(sized.se, 1)} ({number(sized.parameters / 1e6, 2)}M)"
            for sized in sizes
        )
        short = slopes.limits.way == SHORT
        rows.append({
            "activation": slopes.activation, "rule": rule_words(slopes.rule, ppl_increase=ppl_increase),
            "tokens/parameter": slopes.tokens_per_parameter, "values (parameters)": ", ".join(values),
            "change per factor ten of N": interval(*ten), "way": slopes.values.way,
            "limits bounded": f"{bounded}/{len(sizes)}",
            "slope of limits per factor e of N": "not identified" if short else slope_words(slopes.limits),
            "limits": "" if short else slopes.limits.way,
        })  # fmt: skip
    return rows


def loss_laws(entries: Mapping[str, Mapping[str, Any]]) -> Rows:
    """The loss law of each activation."""
    return [
        {"activation": activation,
         **{name: interval(c["value"], c["low"], c["high"]) for name, c in entry["coefficients"].items()},
         "runs": entry["runs"], "points": entry["points"], "where it ends": entry["verdict"],
         "bound": entry["bound"] or "", "reason": entry["reason"]}
        for activation, entry in entries.items()
    ]  # fmt: skip
