"""Slopes of the activation ratio against ln tokens, with intervals: which way a curve goes, and where.

A straight line in ln D by weighted least squares; weights 1/se^2. Checkpoints of one run are measured on one
text, so their errors are correlated, which the line does not know: the slope's true error was 1.1 to 1.3 times the one
given at a knob held, and 2.4 times with the noise of the one knob of a series (two runs of the demo). Its half-width
is the larger of two: 1.96 times the error the measured errors give, and Student's quantile times the error the scatter
about the line gives, curvature included.
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
    return line(np.log(curve.tokens), curve.ratio, curve.se)


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
            slopes = {rule: _within(curve, low, high) for rule, curve in by_rule.items()}
            if slopes[SERIES].way != SHORT and slopes[OWN].way != SHORT:
                first = by_rule[SERIES]
                gap = _gap(slopes[OWN], slopes[SERIES])
                stretches.append(Segment(run, first.activation, first.parameters, low, high, slopes, gap))
    return stretches


def together(first: Trend, second: Trend) -> str:
    """Whether two slopes have the same sign, each beyond its error."""
    ways = {first.way, second.way}
    if ways & {LEVEL, SHORT}:
        return OPEN
    return AGREE if len(ways) == 1 else DISAGREE


def _within(curve: RunCurve, low: float, high: float) -> Trend:
    inside = (curve.tokens_per_parameter >= low) & (curve.tokens_per_parameter <= high)
    if inside.sum() < FEWEST_IN_SEGMENT:
        return Trend(int(inside.sum()), math.nan, math.nan, math.nan)
    return line(np.log(curve.tokens[inside]), curve.ratio[inside], curve.se[inside])


def _gap(first: Trend, second: Trend) -> Trend:
    """The difference of two slopes; their half-widths added in squares."""
    gap = first.slope - second.slope
    half = math.hypot(first.high - first.slope, second.high - second.slope)
    return Trend(min(first.points, second.points), gap, gap - half, gap + half)
