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
from sparsity_lab.measure.gather import gather
from sparsity_lab.measure.settings import Setting, at
from sparsity_lab.measure.tasks import Crew

logger = logging.getLogger(__name__)

ROUNDS = 4
TOLERANCE_SHARE = 0.02  # of p; the rest of the way is below every checkpoint's own error
ERROR_SHARE = 0.25


def series_knobs(
    bench: Bench, series: Sequence[Sequence[Prepared]], setting: Setting, *, crew: Crew
) -> list[float]:
    """For each series, the one knob at which the mean perplexity ratio of its checkpoints is 1 + p.

    The searches go on side by side, round by round, so that a round's cells of all series can be measured at once.

    Args:
        bench: knows the records of cells.
        series: of each run, the last checkpoints, already prepared.
        setting: `ppl-increase` with p.
        crew: measures cells without a record.

    Returns:
        The knobs, at six significant digits.
    """
    assert setting.ppl_increase is not None
    own = gather(
        bench, [(one, setting) for group in series for one in group], crew=crew, label="last checkpoints"
    )
    rows = iter(own)
    searches = [
        _Search(bench.spec.criterion, setting.ppl_increase, [next(rows) for _ in group]) for group in series
    ]
    for number in range(1, ROUNDS + 1):
        open_ones = [
            (search, group) for search, group in zip(searches, series, strict=True) if not search.ended
        ]
        if not open_ones:
            break
        cells = [
            (one, tried)
            for search, group in open_ones
            for tried in [at(setting, search.ask())]
            for one in group
        ]
        found = iter(gather(bench, cells, crew=crew, label=f"one knob, round {number}"))
        for search, group in open_ones:
            search.note([next(found) for _ in group])
    return [search.value for search in searches]


class _Search:
    """The search of one series' knob.

    Args:
        criterion: id of the criterion.
        p: the perplexity increase, a fraction.
        own: records of the checkpoints, each at its own knob.
    """

    def __init__(self, criterion: str, p: float, own: Sequence[dict[str, Any]]) -> None:
        self.knob: Knob = registry.load("criteria", criterion).KNOB
        self.p, self.ended, self.value = p, False, math.nan
        self.curves = [_points(record, self.knob) for record in own]

    def ask(self) -> float:
        """The knob to try next."""
        x = _solve(self.curves, knob=self.knob, target=1.0 + self.p)
        self.value = float(f"{self.knob.from_x(x):.6g}")
        return self.value

    def note(self, found: Sequence[dict[str, Any]]) -> None:
        """Take in the records at the knob asked for; ends the search where they meet the target."""
        mean = sum(record["ppl_ratio"] for record in found) / len(found)
        self.ended = abs(mean - 1.0 - self.p) <= _tolerance(found, self.p)
        for points, record in zip(self.curves, found, strict=True):
            points.append((self.knob.to_x(self.value), math.log(record["ppl_ratio"])))
        logger.info(
            "series rule: %s = %g gives a mean perplexity ratio of %.5f over the last %d checkpoints",
            self.knob.symbol, self.value, mean, len(found),
        )  # fmt: skip


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
