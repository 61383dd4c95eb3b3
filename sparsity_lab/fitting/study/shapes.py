"""Activation ratio against the width-depth ratio at one size, at the tokens all shapes have reached."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparsity_lab.fitting.reproduce import families
from sparsity_lab.fitting.reproduce.families import Bottleneck
from sparsity_lab.fitting.study import selection
from sparsity_lab.fitting.study.curves import RunCurve
from sparsity_lab.reading.csv_file import read_csv

FEWEST = 5  # shapes, below which a bend cannot be distinguished from a line


@dataclass(frozen=True)
class Shaped:
    """A shape's ratio at the common tokens; a row of shapes.csv."""

    rule: str
    run: str
    activation: str
    width_depth_ratio: float
    activation_ratio: float
    activation_ratio_se: float
    tokens: float
    parameters: float


def at_common_tokens(curves: Sequence[RunCurve]) -> list[Shaped]:
    """The shapes of one size and activation under every rule, at the most tokens all of them have seen."""
    shaped = []
    for rule in selection.rules(curves):
        group = selection.shapes(selection.of(curves, rule=rule))
        tokens = min((float(curve.tokens[-1]) for curve in group), default=0.0)
        for curve in group:
            if (at := curve.at_tokens(tokens)) is not None:
                place = (rule, curve.run, curve.activation, curve.width_depth_ratio)
                shaped.append(Shaped(*place, at.ratio, at.se, tokens, curve.parameters))
    return shaped


FLAT_IN_THE_END, BENDS = "linear then flat", "less steep further on"
ENDLESS = ("logarithmic", "linear")  # laws without a plateau
BETTER = 2.0  # of AICc


def bottleneck(shapes: Sequence[Shaped]) -> Bottleneck | None:
    """Flat, straight, or linear then flat, by F-tests; None with fewer shapes than can tell."""
    if len(shapes) < FEWEST:
        return None
    ratios = np.array([shape.width_depth_ratio for shape in shapes])
    values = np.array([shape.activation_ratio for shape in shapes])
    errors = np.array([shape.activation_ratio_se for shape in shapes])
    return families.width_depth(ratios, values, se=errors if np.all(errors > 0) else None)


def word(shape: Bottleneck, entry: Mapping[str, Any] | None) -> str:
    """What the points show: the F-tests' finding, unless a law without a plateau explains the bend better.

    Args:
        shape: the F-tests.
        entry: the fit of the width-depth law to the same points with its rivals, where there is one.
    """
    if shape.finding != FLAT_IN_THE_END or entry is None:
        return shape.finding
    gaps = {row["law"]: float(row["aicc_gap"] or 0.0) for row in entry["rivals"]["rivals"]}
    endless = min((gap for law, gap in gaps.items() if law in ENDLESS), default=math.inf)
    return BENDS if endless + BETTER < gaps.get("width-depth", math.inf) else shape.finding


def enough(table: Path) -> bool:
    """Whether shapes.csv holds enough shapes for the width-depth law."""
    rules = Counter(row.get("rule") for _, row in read_csv(table)[1])
    return max(rules.values(), default=0) >= FEWEST
