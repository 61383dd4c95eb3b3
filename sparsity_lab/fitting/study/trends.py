"""Slopes of the activation ratio against ln tokens, with intervals: which way a curve goes, and where.

A straight line in ln D by weighted least squares; weights 1/se^2. Its half-width is Student's quantile times the error
that the scatter about the line gives, curvature included. Checkpoints of one run are measured on one text, whose
errors move them together: what that does to the slope is put to it in squares, from the parts of the errors that
`measure` keeps next to its table. Without these the errors are taken as independent, and the larger of the two
half-widths holds: the slope's true error was then 1.1 to 1.3 times the one given at a knob held, and 2.4 times with the
noise of the one knob of a series (two runs of the demo).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sparsity_lab.fitting.judge.slopes import FALLS as FALLS
from sparsity_lab.fitting.judge.slopes import FEWEST as FEWEST
from sparsity_lab.fitting.judge.slopes import LEVEL, SHORT, Trend, line
from sparsity_lab.fitting.judge.slopes import RISES as RISES
from sparsity_lab.fitting.study.curves import OWN, SERIES, RunCurve

AGREE, DISAGREE, OPEN = "agree", "disagree", "undecided"
FEWEST_IN_SEGMENT = 4  # on three points the scatter has one degree of freedom, and Student's quantile is 12.7


@dataclass(frozen=True)
class Segment:
    """A piece of a run under both rules.

    Attributes:
        run, activation, parameters: which run. low, high: edges in tokens per parameter.
        trends: rule -> its slope there. difference: own less series, with its interval.
    """

    run: str
    activation: str
    parameters: float
    low: float
    high: float
    trends: dict[str, Trend]
    difference: Trend

    @property
    def verdict(self) -> str:
        """Whether both rules go the same way, each beyond its error."""
        return together(self.trends[SERIES], self.trends[OWN])


def trend(curve: RunCurve) -> Trend:
    """The slope of a whole run's activation ratio per factor e of tokens."""
    return line(np.log(curve.tokens), curve.ratio, curve.se, curve.text)


def knob_trend(curve: RunCurve) -> Trend:
    """The slope of ln c against ln tokens, from its scatter."""
    positive = curve.knob > 0
    return line(np.log(curve.tokens[positive]), np.log(curve.knob[positive]))


def segments(curves: Sequence[RunCurve], edges: Sequence[float]) -> list[Segment]:
    """Every run between every two edges (tokens per parameter) where both rules have enough checkpoints."""
    by_run: dict[str, dict[str, RunCurve]] = {}
    for curve in curves:
        by_run.setdefault(curve.run, {})[curve.rule] = curve
    stretches = []
    for run, by_rule in by_run.items():
        if SERIES not in by_rule or OWN not in by_rule:
            continue
        for low, high in pairwise(edges):
            slopes = {rule: within(curve, low, high) for rule, curve in by_rule.items()}
            if slopes[SERIES].way != SHORT and slopes[OWN].way != SHORT:
                first = by_rule[SERIES]
                gap = difference(slopes[OWN], slopes[SERIES], first.text.t)
                stretches.append(Segment(run, first.activation, first.parameters, low, high, slopes, gap))
    return stretches


def together(first: Trend, second: Trend) -> str:
    """Whether two slopes have the same sign, each beyond its error."""
    ways = {first.way, second.way}
    if ways & {LEVEL, SHORT}:
        return OPEN
    return AGREE if len(ways) == 1 else DISAGREE


def within(curve: RunCurve, low: float, high: float) -> Trend:
    """The slope between two edges in tokens per parameter."""
    inside = (curve.tokens_per_parameter >= low) & (curve.tokens_per_parameter <= high)
    if inside.sum() < FEWEST_IN_SEGMENT:
        return Trend(int(inside.sum()), math.nan, math.nan, math.nan)
    return line(
        np.log(curve.tokens[inside]), curve.ratio[inside], curve.se[inside], curve.text.chosen(inside)
    )


def difference(first: Trend, second: Trend, t: float) -> Trend:
    """The difference of two slopes; what one text does to both of them cancels in part, the rest is added in squares.

    Args:
        first, second: the slopes.
        t: half a 95 % interval in standard errors of the text.
    """
    gap = first.slope - second.slope
    if first.by_text is None or second.by_text is None:
        half = math.hypot(first.high - first.slope, second.high - second.slope)
    else:
        apart = float(np.linalg.norm(first.by_text - second.by_text))
        half = math.hypot(first.by_scatter, second.by_scatter, t * apart)
    return Trend(min(first.points, second.points), gap, gap - half, gap + half)
