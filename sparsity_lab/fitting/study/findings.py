"""Sentences on the comparisons between runs: equal loss, width-depth ratio, size, and the loss law."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sparsity_lab.fitting.study import selection, shapes
from sparsity_lab.fitting.study.curves import rule_words
from sparsity_lab.fitting.study.equal_loss import DENSER, SPARSER, TIED, Versus
from sparsity_lab.fitting.study.outcome import StudyOutcome
from sparsity_lab.fitting.study.scale import AgainstSize
from sparsity_lab.fitting.study.sentences import interval, slope_words
from sparsity_lab.fitting.study.shapes import FEWEST, Shaped
from sparsity_lab.fitting.study.trends import SHORT
from sparsity_lab.store.tables import number

Entries = Sequence[Mapping[str, Any]]
TEN = math.log(10.0)


def equal_loss(found: StudyOutcome, *, ppl_increase: float) -> list[str]:
    """The reference activation beside every other, at the lowest loss both reached."""
    lowest: dict[tuple[str, float, str], Versus] = {}
    for one in found.versus:  # losses come highest first
        lowest[one.rule, one.parameters, one.other] = one
    if not lowest:
        return ["No two activations of one shape reached a common loss."]
    lines = []
    for rule in selection.rules(found.curves):
        own = [one for one in lowest.values() if one.rule == rule]
        parts = [
            f"{one.other} less {one.reference} at N = {number(one.parameters / 1e6, 2)}M and "
            f"{number(one.loss_nats, 3)} nats: {interval(one.difference, one.low, one.high)} "
            f"({one.reference} {one.verdict})"
            for one in own
        ]
        if parts:
            lines.append(f"- {rule_words(rule, ppl_increase=ppl_increase)}: " + "; ".join(parts) + ".")
    return [
        *lines,
        _relu_beside_silu([one for one in found.versus if (one.reference, one.other) == ("relu", "silu")]),
    ]


def _relu_beside_silu(pairs: Sequence[Versus]) -> str:
    said = "The paper: ReLU is sparser than SiLU at comparable performance."
    if not pairs:
        return f"{said} This study has no ReLU and SiLU run of one shape."
    words = Counter(one.verdict for one in pairs)
    counts = ", ".join(f"{word} in {words[word]}" for word in (SPARSER, DENSER, TIED) if words[word])
    end = (
        "Agrees." if words[SPARSER] == len(pairs)
        else "**Disagrees.**" if words[DENSER] and not words[SPARSER]
        else "Agrees in part." if words[SPARSER]
        else "Not decided here."
    )  # fmt: skip
    return (
        f"{said} Over all rules, sizes and three losses of each pair ReLU is {counts}, of {len(pairs)}. {end}"
    )


def width_depth(found: StudyOutcome, entries: Entries, *, ppl_increase: float) -> list[str]:
    """Flat, straight, or linear then flat against the width-depth ratio, and the laws' standing by AICc."""
    lines = []
    for rule in selection.rules(found.curves):
        own = found.shapes_of(rule)
        if len(own) >= FEWEST:
            entry = next((e for e in entries if e["series"] == rule), None)
            lines.append(f"- {rule_words(rule, ppl_increase=ppl_increase)}: {_shape(found, own, entry)}")
    if not lines:
        return [f"Fewer than {FEWEST} shapes of one size and activation: nothing can be said."]
    return [
        _which_shapes(found.shapes_of(selection.rules(found.curves)[0])),
        *lines,
        _paper_on_shapes(found, entries),
    ]


def _which_shapes(own: Sequence[Shaped]) -> str:
    ratios = ", ".join(number(one.width_depth_ratio, 3) for one in own)
    sizes = sorted(one.parameters for one in own)
    return (
        f"{len(own)} {own[0].activation} runs of {number(sizes[0] / 1e6, 3)}M to {number(sizes[-1] / 1e6, 3)}M "
        f"parameters, d/L {ratios}, at {number(own[0].tokens / 1e6, 3)}M tokens."
    )


def _shape(found: StudyOutcome, own: Sequence[Shaped], entry: Mapping[str, Any] | None) -> str:
    shape = found.bottleneck(own[0].rule)
    assert shape is not None
    values = [one.activation_ratio for one in own]
    text = (
        f"**{shapes.word(shape, entry)}** (slope against none p = {number(shape.straight_p, 2)}, bend against a line "
        f"p = {number(shape.bottleneck_p, 2)}); ratios {number(min(values), 3)} to {number(max(values), 3)}"
    )
    if math.isfinite(shape.r_star):
        text += f", bottleneck d/L = {interval(shape.r_star, shape.low, shape.high)}"
    if entry is None:
        return text + "."
    gaps = ", ".join(f"{r['law']} {number(r['aicc_gap'] or 0.0, 2)}" for r in entry["rivals"]["rivals"])
    plateau = f"the width-depth law's plateau is {entry['verdict']} ({entry['reason']})"
    return f"{text}. AICc above the best: {gaps}; {plateau}."


def _paper_on_shapes(found: StudyOutcome, entries: Entries) -> str:
    said = "The paper: linear up to a bottleneck, then flat."
    fits = {entry["series"]: entry for entry in entries}
    words = [
        shapes.word(shape, fits.get(rule))
        for rule in selection.rules(found.curves)
        if (shape := found.bottleneck(rule)) is not None
    ]
    bent, flat = words.count(shapes.BENDS), words.count(shapes.FLAT_IN_THE_END)
    counts = ", ".join(f"{word} under {count}" for word, count in Counter(words).items())
    end = "Agrees in part." if bent or flat else "**Disagrees**, or too few shapes to show it."
    if flat == len(words):
        end = "Agrees."
    if bent:
        end += " A law without a plateau explains the bend better by AICc: that the ratio ends flat is not shown."
    return f"{said} Here: {counts} of {len(words)} rule(s). {end}"


def size(found: StudyOutcome, *, ppl_increase: float) -> list[str]:
    """How limits, and values at equal tokens per parameter, move with the number of parameters."""
    if not found.against_size:
        return ["Fewer than three sizes of one activation: nothing can be said about size."]
    lines = [_size(found, one, ppl_increase) for one in found.against_size]
    ways = Counter(one.values.way for one in found.against_size)
    limits = Counter(one.limits.way for one in found.against_size)
    counted = ", ".join(f"{way} in {count}" for way, count in ways.items())
    return [
        *lines,
        "The paper: the limit depends weakly on the number of parameters. Here, over rules and activations, the value "
        f"at equal tokens per parameter {counted}, of {len(found.against_size)}; the limits can be compared in "
        f"{len(found.against_size) - limits[SHORT]} of {len(found.against_size)}, and there "
        + (
            ", ".join(f"the slope {way} in {n}" for way, n in limits.items() if way != SHORT)
            or "nothing can be said"
        )
        + ". An interval that holds zero shows no dependence; it excludes only what lies outside it.",
    ]


def _size(found: StudyOutcome, one: AgainstSize, ppl_increase: float) -> str:
    own = [s for s in found.sizes if (s.rule, s.activation) == (one.rule, one.activation)]
    values = ", ".join(
        f"{number(s.ratio, 3)} ± {number(s.se, 1)} ({number(s.parameters / 1e6, 2)}M)" for s in own
    )
    per_ten = tuple(TEN * value for value in (one.values.slope, one.values.low, one.values.high))
    rule, mark = rule_words(one.rule, ppl_increase=ppl_increase), number(one.tokens_per_parameter, 3)
    text = (
        f"- {one.activation}, {rule}: at {mark} tokens per parameter {values}; change per factor ten of N "
        f"{interval(*per_ten)} ({one.values.way})"
    )
    if one.limits.way == SHORT:
        bounded = sum(s.fitted is not None and s.fitted.bounded for s in own)
        return (
            f"{text}. Limits: **not identified** in enough sizes ({bounded} of {len(own)} bounded, 3 needed)."
        )
    return f"{text}. Limits: slope per factor e of N {slope_words(one.limits)} ({one.limits.way})."


def loss_laws(entries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The loss law of each activation, one line each."""
    lines = []
    for activation, entry in entries.items():
        parts = [
            f"{name} = {interval(*(math.nan if one[end] is None else one[end] for end in ('value', 'low', 'high')))}"
            for name, one in entry["coefficients"].items()
        ]
        bound = f", {entry['bound']}" if entry["bound"] else ""
        lines.append(
            f"- {activation}: {'; '.join(parts)} (intervals over {entry['runs']} runs, {entry['points']} "
            f"points). Where it ends is **{entry['verdict']}**{bound}: {entry['reason']}."
        )
    return lines or ["No activation has two sizes: no loss law."]
