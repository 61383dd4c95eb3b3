"""The series rule: one knob for a whole run of checkpoints (Sparsing Law, arXiv 2411.02335, appendix E).

The knob is the one at which the *mean of the perplexity ratios* of the last checkpoints is 1 + p; it is then
applied to every checkpoint. A knob for each checkpoint is another quantity: the two can move in opposite
directions along a run, so every record and plot says which rule it shows.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

from scipy.optimize import brentq

from sparsity_lab import registry
from sparsity_lab.measure.cells import Bench, Prepared
from sparsity_lab.measure.criteria import Knob
from sparsity_lab.measure.settings import Setting, at

logger = logging.getLogger(__name__)

ROUNDS = 4
TOLERANCE_SHARE = 0.02  # of p; the rest of the way is below every checkpoint's own error
ERROR_SHARE = 0.25


def series_knob(bench: Bench, checkpoints: Sequence[Prepared], setting: Setting) -> float:
    """The one knob at which the mean perplexity ratio of these checkpoints is 1 + p.

    Args:
        bench: measures cells or finds their records.
        checkpoints: the last ones of a run, already prepared.
        setting: `ppl-increase` with p.

    Returns:
        The knob, at six significant digits.
    """
    assert setting.ppl_increase is not None
    knob: Knob = registry.load("criteria", bench.spec.criterion).KNOB
    curves = [_points(bench.record(prepared, setting), knob) for prepared in checkpoints]
    target = 1.0 + setting.ppl_increase
    for _ in range(ROUNDS):
        value = float(f"{knob.from_x(_solve(curves, knob=knob, target=target)):.6g}")
        found = [bench.record(prepared, at(setting, value)) for prepared in checkpoints]
        mean = sum(record["ppl_ratio"] for record in found) / len(found)
        if abs(mean - target) <= _tolerance(found, setting.ppl_increase):
            break
        for points, record in zip(curves, found, strict=True):
            points.append((knob.to_x(value), math.log(record["ppl_ratio"])))
    logger.info(
        "series rule: %s = %g gives a mean perplexity ratio of %.5f over the last %d checkpoints",
        knob.symbol, value, mean, len(found),
    )  # fmt: skip
    return value


def _points(record: dict[str, Any], knob: Knob) -> list[tuple[float, float]]:
    """(x, rise in nats) of the evaluations over the whole text, the last one at the end."""
    whole = max(tokens for _, _, tokens in record["search"])
    return [(knob.to_x(value), rise) for value, rise, tokens in record["search"] if tokens == whole]


def _solve(curves: Sequence[list[tuple[float, float]]], *, knob: Knob, target: float) -> float:
    """x at which the mean of exp(rise) over the curves meets the target, each a power law near its nearest point."""

    def excess(x: float) -> float:
        rises = (_rise(points, x, slope=knob.slope) for points in curves)
        return sum(map(math.exp, rises)) / len(curves) - target

    low, high = knob.ends()
    return float(brentq(excess, low, high, xtol=1e-7)) if excess(low) < 0 < excess(high) else high


def _rise(points: Sequence[tuple[float, float]], x: float, *, slope: float) -> float:
    nearest_x, rise = min(points, key=lambda point: abs(point[0] - x))
    # Rises near zero are noise and have no logarithm; a floor keeps the power law usable there.
    return min(max(rise, 1e-5) * math.exp(slope * (x - nearest_x)), 50.0)


def _tolerance(found: Sequence[dict[str, Any]], p: float) -> float:
    error = math.sqrt(sum(record["loss_delta_se_nats"] ** 2 for record in found)) / len(found)
    return max(TOLERANCE_SHARE * p, min(ERROR_SHARE * error, 0.1 * p))
