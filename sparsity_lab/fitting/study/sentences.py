"""What is concluded from a study, in sentences made of its numbers, and how that compares with the paper.

The five findings of the Sparsing Law (arXiv 2411.02335, abstract and sections 4 and 5) that a study is put
beside: (1) ReLU's ratio falls with data, as a logspace power law; (2) SiLU's rises, as a power law; (3) ReLU
is sparser at comparable performance; (4) the ratio rises linearly with the width-depth ratio up to a
bottleneck and is flat beyond; (5) its limit depends weakly on the number of parameters.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sparsity_lab.fitting.judge.verdict import IDENTIFIED, NOT, WEAK
from sparsity_lab.fitting.study import selection, shapes, trends
from sparsity_lab.fitting.study.curves import OWN, SERIES, RunCurve, rule_words
from sparsity_lab.fitting.study.outcome import StudyOutcome
from sparsity_lab.fitting.study.trends import AGREE, DISAGREE, FALLS, OPEN, RISES, Trend
from sparsity_lab.store.tables import number

EXPECTED = {"relu": (FALLS, "logspace-power"), "silu": (RISES, "power")}


def interval(value: float, low: float, high: float) -> str:
    """A value with its 95 % interval; an end that is not there is called open."""
    ends = ", ".join(number(end, 3) if math.isfinite(end) else "open" for end in (low, high))
    return f"{number(value, 3)} [{ends}]" if math.isfinite(value) else "not known"


def slope_words(slope: Trend) -> str:
    """A slope with its interval."""
    return interval(slope.slope, slope.low, slope.high)


def direction(found: StudyOutcome, activation: str, *, ppl_increase: float) -> list[str]:
    """Which way an activation's ratio goes with tokens, rule by rule."""
    return [
        _direction(found, activation, rule, ppl_increase=ppl_increase)
        for rule in selection.rules(found.curves)
        if selection.of(found.curves, rule=rule, activation=activation)
    ]


def _direction(found: StudyOutcome, activation: str, rule: str, *, ppl_increase: float) -> str:
    curves = selection.of(found.curves, rule=rule, activation=activation)
    slopes = [trends.trend(curve) for curve in curves]
    ways = Counter(slope.way for slope in slopes)
    counted = ", ".join(
        f"{way} in {ways[way]}" for way in (FALLS, RISES, trends.LEVEL, trends.SHORT) if ways[way]
    )
    extremes = sorted(slopes, key=lambda slope: slope.slope)
    text = (
        f"**{rule_words(rule, ppl_increase=ppl_increase)}**: {counted} of {len(curves)} run(s); slopes per factor e "
        f"of tokens from {slope_words(extremes[0])} to {slope_words(extremes[-1])}."
    )
    return " ".join([text, _laws(found, curves), _against_paper(activation, ways, len(curves))]).strip()


def _laws(found: StudyOutcome, curves: Sequence[RunCurve]) -> str:
    fitted = [fit for curve in curves if (fit := found.fits.get((curve.run, curve.rule))) is not None]
    if not fitted:
        return "No law was fitted: too few checkpoints."
    law = Counter(fit.law for fit in fitted).most_common(1)[0][0]
    good = sum(fit.best == law or law in fit.ties for fit in fitted)
    words = Counter(fit.verdict for fit in fitted)
    best = Counter(fit.best for fit in fitted).most_common()
    verdicts = ", ".join(f"{word} in {words[word]}" for word in (IDENTIFIED, WEAK, NOT) if words[word])
    others = ", ".join(f"{name} {count}" for name, count in best)
    return (
        f"The law {law} is best by AICc, or within 2 of the best, in {good} of {len(fitted)} (best: {others}); its "
        f"limit is {verdicts}."
    )


def _against_paper(activation: str, ways: Counter[str], runs: int) -> str:
    if activation not in EXPECTED:
        return ""
    way, law = EXPECTED[activation]
    opposite = RISES if way == FALLS else FALLS
    with_it, against = ways[way], ways[opposite]
    said = f"The paper: it {way}, as a {law} law."
    if with_it and not against:
        undecided = f", {runs - with_it} undecided" if runs > with_it else ""
        return f"{said} Same direction in {with_it} of {runs}{undecided}."
    if against and not with_it:
        return f"{said} **Here the opposite**, in {against} of {runs}."
    if against:
        return f"{said} Here {with_it} with it, **{against} against it**, of {runs}."
    return f"{said} Not decided here: no slope leaves its error."


def two_rules(found: StudyOutcome, activation: str) -> list[str]:
    """Where the series rule and each checkpoint's own knob agree in direction, and what sets them apart."""
    own = [segment for segment in found.segments if segment.activation == activation]
    if not own:
        return [f"{activation}: no stretch holds enough checkpoints under both rules."]
    words = Counter(segment.verdict for segment in own)
    lines = [
        f"**{activation}**, stretch by stretch of tokens per parameter: the two rules agree in direction in "
        f"{words[AGREE]}, disagree in {words[DISAGREE]}, and {words[OPEN]} of {len(own)} are undecided (one of the "
        "two slopes within its error)."
    ]
    for verdict, verb in ((DISAGREE, "They disagree"), (AGREE, "They agree")):
        named = [
            f"{segment.run} at {segment.low:g} to {segment.high:g} (series {slope_words(segment.trends[SERIES])}, own "
            f"{slope_words(segment.trends[OWN])})"
            for segment in own
            if segment.verdict == verdict
        ]
        lines.append(f"{verb}: {'; '.join(named)}." if named else f"{verb} beyond error in no stretch.")
    return [*lines, _meeting(own), *_causes(found, activation)]


def _meeting(own: Sequence[trends.Segment]) -> str:
    """From where on the slopes of the two rules are no longer told apart, size by size."""
    parts = []
    for run in dict.fromkeys(segment.run for segment in own):
        mine = sorted((s for s in own if s.run == run), key=lambda segment: segment.low)
        apart = [s for s in mine if s.difference.way in (RISES, FALLS)]
        last = mine[-1]
        if not apart:
            parts.append(f"{run} nowhere apart")
        elif apart[-1] is last:
            parts.append(f"{run} still apart at its end ({last.low:g} to {last.high:g})")
        else:
            parts.append(f"{run} not told apart beyond {apart[-1].high:g}")
    return (
        "Slopes of the two rules compared with each other (difference with its interval): "
        + "; ".join(parts)
        + "."
    )


def _causes(found: StudyOutcome, activation: str) -> list[str]:
    lines = []
    for curve in selection.of(found.curves, rule=OWN, activation=activation):
        knob = trends.knob_trend(curve)
        series = next((c for c in found.curves if c.run == curve.run and c.rule == SERIES), None)
        text = (
            f"- {curve.run}: own CETT from {number(curve.knob[0], 3)} to {number(curve.knob[-1], 3)}, ln c per ln D "
            f"{slope_words(knob)} ({knob.way})"
        )
        if series is not None:
            first, last = (100 * (float(series.ppl_ratio[i]) - 1) for i in (0, -1))
            text += (
                f"; at the series' CETT of {number(series.knob[0], 3)} perplexity changes by {first:+.2f} % at the "
                f"first checkpoint and by {last:+.2f} % at the last"
            )
        lines.append(text + ".")
    return lines


def meaning(found: StudyOutcome, activation: str) -> str:
    """What the two rules together say of the published curve, which is the series rule's."""
    slopes = {
        rule: [trends.trend(curve) for curve in selection.of(found.curves, rule=rule, activation=activation)]
        for rule in (SERIES, OWN)
    }
    if not slopes[SERIES] or not slopes[OWN]:
        return f"{activation}: not measured under both rules."
    verdicts = Counter(trends.together(*pair) for pair in zip(slopes[SERIES], slopes[OWN], strict=True))
    total = sum(verdicts.values())
    counts = ", ".join(f"{word} {verdicts[word]}" for word in (AGREE, DISAGREE, OPEN))
    text = f"**{activation}**, whole runs: {counts} of {total}."
    if verdicts[DISAGREE] > verdicts[AGREE]:
        return f"{text} {_another_standard(found, activation)}"
    if verdicts[AGREE]:
        ways = Counter(one.way for one, other in zip(*slopes.values(), strict=True) if one.way == other.way)
        agreed = " or ".join(way for way in (FALLS, RISES) if ways[way])
        rest = (
            f"; {verdicts[DISAGREE] + verdicts[OPEN]} run(s) do not say so" if verdicts[AGREE] < total else ""
        )
        return (
            f"{text} Where both rules decide alike the ratio {agreed} under either, so there the direction is one of "
            f"equal quality as well{rest}."
        )
    return f"{text} These runs do not decide whether the published direction is one of equal quality."


def _another_standard(found: StudyOutcome, activation: str) -> str:
    """What a disagreement says: how the CETT of equal quality moves along the runs."""
    own = selection.of(found.curves, rule=OWN, activation=activation)
    ways = Counter(trends.knob_trend(curve).way for curve in own)
    moved = ", ".join(f"{way} along {ways[way]}" for way in (FALLS, RISES, trends.LEVEL) if ways[way])
    return (
        "The published direction is then one of a *fixed relative error of each layer's output*, not of fixed "
        f"quality: the CETT that costs the same perplexity {moved} of {len(own)} run(s), so that one CETT for the "
        "series holds early and late checkpoints to different standards, and its curve shows the change of the model "
        "together with the change of the standard."
    )


def summary(
    found: StudyOutcome, shape_fits: Mapping[str, Mapping[str, Any]], *, ppl_increase: float
) -> list[dict[str, object]]:
    """The paper's findings beside this study's, rule by rule: the rows of a table.

    Args:
        found: what the comparisons gave.
        shape_fits: rule -> the fit of the width-depth law, where there is one.
        ppl_increase: p of PPL-p%.
    """
    rules = selection.rules(found.curves)
    heads = {rule: rule_words(rule, ppl_increase=ppl_increase) for rule in rules}
    rows: list[dict[str, object]] = []
    for activation, (way, law) in EXPECTED.items():
        if activation in selection.activations(found.curves):
            cells = {
                heads[rule]: _ways(selection.of(found.curves, rule=rule, activation=activation))
                for rule in rules
            }
            rows.append({"question": f"{activation} with data", "paper": f"{way} ({law})", **cells})
    pairs = [one for one in found.versus if (one.reference, one.other) == ("relu", "silu")]
    if pairs:
        cells = {heads[rule]: _counted(one.verdict for one in pairs if one.rule == rule) for rule in rules}
        rows.append({"question": "ReLU beside SiLU at equal loss", "paper": "sparser", **cells})
    if any(found.bottleneck(rule) for rule in rules):
        cells = {
            heads[rule]: shapes.word(shape, shape_fits.get(rule)) if (shape := found.bottleneck(rule)) else ""
            for rule in rules
        }
        rows.append({"question": "width-depth ratio", "paper": "linear then flat", **cells})
    for activation in dict.fromkeys(one.activation for one in found.against_size):
        own = {one.rule: one for one in found.against_size if one.activation == activation}
        cells = {heads[rule]: own[rule].values.way if rule in own else "" for rule in rules}
        mark = number(next(iter(own.values())).tokens_per_parameter, 3)
        rows.append(
            {
                "question": f"{activation} with size at {mark} tokens/parameter",
                "paper": "weak (of the limit)",
                **cells,
            }
        )
    return rows


def _ways(curves: Sequence[RunCurve]) -> str:
    return _counted(trends.trend(curve).way for curve in curves)


def _counted(words: Iterable[str]) -> str:
    counts = Counter(words)
    return ", ".join(f"{word} {count}/{sum(counts.values())}" for word, count in counts.most_common())
