"""The series rule: one knob for a whole run of checkpoints (Sparsing Law, arXiv 2411.02335, appendix E).

The knob is the one at which the *mean of the perplexity ratios* of the last checkpoints is 1 + p; it is then
applied to every checkpoint. A knob for each checkpoint is another quantity: the two can move in opposite
directions along a run, so every record and plot says which rule it shows.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import brentq

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.prepared import Prepared
from sparsity_lab.measure.checkpoint.source import Source
from sparsity_lab.measure.criteria import Knob
from sparsity_lab.measure.search import noise
from sparsity_lab.measure.search.counts import Floats
from sparsity_lab.measure.search.settings import KnobNoise, Setting, at
from sparsity_lab.measure.work.cells import Cell
from sparsity_lab.measure.work.failures import Lost
from sparsity_lab.measure.work.measuring import MeasureRecipe, Wanted
from sparsity_lab.measure.work.run_cells import CellRun
from sparsity_lab.settings import SPREAD

logger = logging.getLogger(__name__)

FEWER = "fewer_checkpoints"  # flag: some of the last checkpoints failed and have no part in the knob
ROUNDS = 10
TOLERANCE_SHARE = 0.02  # of p; the rest of the way is below every checkpoint's own error
ERROR_SHARE, MOST_TOLERANCE = 0.25, 0.1  # of the mean's standard error; of p
CLOSED = 1e-3  # in x: no knob is tried nearer to another
LEAST_RISE_NATS, MOST_RISE_NATS = 1e-5, 50.0  # rises near zero are noise and have no logarithm


Answer = tuple[float, tuple[str, ...], KnobNoise | None]  # knob, flags and noise


@dataclass(frozen=True)
class SeriesKnob:
    """The one knob of a series.

    Attributes:
        knob: at six significant digits; None where no checkpoint is left to find it on.
        flags: `not_reached` where the mean ratio stayed below 1 + p at every knob tried, `off_target` where none came
            as near to it as `PplIncrease` allows, `fewer_checkpoints` where some failed that it was to be found on.
        noise: of the knob; None where there is none.
        failed: why, of each checkpoint that failed in the search, by its source.
    """

    knob: float | None
    flags: tuple[str, ...]
    noise: KnobNoise | None
    failed: Mapping[Source, SparsityLabError]

    def left(self, each: Prepared | Lost) -> Prepared | Lost:
        """A checkpoint of the series, or why it takes no part in it."""
        error = self.failed.get(each.checkpoint.source)
        return each if error is None or isinstance(each, Lost) else Lost(each.checkpoint, error)

    def wanted(self, each: Prepared | Lost, search: MeasureRecipe) -> Wanted:
        """What to measure of a checkpoint of the series at the knob, `search` being how it was searched for."""
        if self.knob is not None:
            setting = at(search.setting, self.knob, flags=self.flags, knob_noise=self.noise)
            return self.left(each), replace(search, setting=setting)
        error = SparsityLabError(
            f"The series {each.checkpoint.series} has no knob",
            why="Each of the last checkpoints, which it is found on, failed",
            fix="Mend them, or measure each checkpoint at its own knob, without --stabilise",
        )
        there = self.left(each)
        lost = there if isinstance(there, Lost) else Lost(each.checkpoint, error)
        return lost, replace(search, setting=replace(search.setting, rule="series"))


def series_knobs(
    run: CellRun[dict[str, Any]], series: Sequence[Sequence[Prepared | Lost]], search: MeasureRecipe
) -> list[SeriesKnob]:
    """For each series, the one knob at which the mean perplexity ratio of its checkpoints is 1 + p.

    The searches go on side by side, round by round, so that a round's cells of all series can be measured at once. A
    checkpoint that fails in a search leaves its series, and the search begins again without it, from the records.

    Args:
        run: measures cells.
        series: of each run, the last checkpoints, already prepared.
        search: measures each at its own knob, by `ppl-increase` with p.
    """
    failed: dict[Source, SparsityLabError] = {}
    while True:
        there = [
            [each for each in group if isinstance(each, Prepared) and each.checkpoint.source not in failed]
            for group in series
        ]
        searches = _Searches(run, there, search)
        answers = searches.answers()
        failed |= searches.failed
        if not searches.failed:
            break
    knobs = []
    for group, kept, answer in zip(series, there, answers, strict=True):
        if fewer := len(kept) < len(group):
            logger.warning(
                "series rule: %d of the last %d checkpoints of %s failed and have no part in its knob",
                len(group) - len(kept), len(group), group[0].checkpoint.series,
            )  # fmt: skip
        knob, flags, noise = (None, (), None) if answer is None else answer
        knobs.append(SeriesKnob(knob, (*flags, *((FEWER,) if fewer else ())), noise, failed))
    return knobs


class _Searches:
    """The searches of all series side by side, up to the first round in which a checkpoint fails.

    Args:
        run, search: as in `series_knobs`.
        series: of each run, the last checkpoints that have not failed.
    """

    def __init__(
        self, run: CellRun[dict[str, Any]], series: Sequence[Sequence[Prepared]], search: MeasureRecipe
    ) -> None:
        self.run, self.series, self.search, self.setting = run, series, search, search.setting
        self.failed: dict[Source, SparsityLabError] = {}

    def answers(self) -> list[Answer | None]:
        """What each series' search found, None of one without checkpoints; nothing where a checkpoint failed."""
        p = self.setting.ppl_increase
        assert p is not None
        knob = registry.load("criteria", self.search.spec.criterion).KNOB
        groups = [group for group in self.series if group]
        rows = iter(
            self._rows([(one, self.setting) for group in groups for one in group], "last checkpoints")
        )
        if self.failed:
            return [None for _ in self.series]
        searches = [SeriesSearch(knob, p, [curve_of(next(rows), knob) for _ in group]) for group in groups]
        for number in range(1, ROUNDS + 1):
            asked = [(search, group, search.ask()) for search, group in zip(searches, groups, strict=True)]
            tries = [(search, group, value) for search, group, value in asked if value is not None]
            cells = [(one, at(self.setting, value)) for _, group, value in tries for one in group]
            measured = iter(self._rows(cells, f"one knob, round {number}")) if tries else iter(())
            if not tries or self.failed:
                break
            for search, group, value in tries:
                search.note(value, [next(measured) for _ in group])
        found = iter(searches)
        return [None if self.failed or not group else next(found).answer() for group in self.series]

    def _rows(self, cells: Sequence[tuple[Prepared, Setting]], label: str) -> list[dict[str, Any]]:
        """The records of cells, where none failed; of those that did it is noted why."""
        asked = [Cell(replace(self.search, setting=setting), prepared) for prepared, setting in cells]
        rows = []
        for cell, answer in zip(asked, self.run.answers(asked, label=label), strict=True):
            if isinstance(answer, SparsityLabError):
                self.failed[cell.checkpoint.source] = answer
            else:
                rows.append(answer)
        return rows


@dataclass(frozen=True)
class Try:
    """One knob, and what it gave.

    Attributes:
        knob: its value.
        x: its coordinate.
        mean: mean perplexity ratio of the checkpoints.
        error: its standard error, from theirs.
        rows: the checkpoints' records.
    """

    knob: float
    x: float
    mean: float
    error: float
    rows: Sequence[Mapping[str, Any]]


class SeriesSearch:
    """The search of one series' knob.

    Args:
        knob: the criterion's.
        p: the perplexity increase, a fraction.
        curves: of each checkpoint, (x, loss rise in nats) where it was evaluated before.
    """

    def __init__(self, knob: Knob, p: float, curves: Sequence[list[tuple[float, float]]]) -> None:
        self.knob, self.p = knob, p
        self.curves, self.tries = [list(curve) for curve in curves], list[Try]()

    def ask(self) -> float | None:
        """The knob to try next; None where one met the target, or there is none left that would tell more."""
        if self.tries and abs(self._nearest().mean - 1.0 - self.p) <= self._tolerance(self._nearest()):
            return None
        value = float(f"{self.knob.from_x(self._wanted()):.6g}")
        x = self.knob.to_x(value)
        return None if any(abs(x - other.x) < CLOSED for other in self.tries) else value

    def note(self, value: float, rows: Sequence[dict[str, Any]]) -> None:
        """Take in the checkpoints' records at a knob."""
        x, mean = self.knob.to_x(value), sum(row["ppl_ratio"] for row in rows) / len(rows)
        self.tries.append(Try(value, x, mean, _error(rows), rows))
        for points, row in zip(self.curves, rows, strict=True):
            points.append((x, math.log(row["ppl_ratio"])))
        logger.info(
            "series rule: %s = %g gives a mean perplexity ratio of %.5f over the last %d checkpoints",
            self.knob.symbol, value, mean, len(rows),
        )  # fmt: skip

    def answer(self) -> Answer:
        """The knob that came nearest, what to say of it, and its noise."""
        nearest = self._nearest()
        off = abs(nearest.mean - 1.0 - self.p) > max(nearest.error / 2, MOST_TOLERANCE * self.p)
        below = off and all(one.mean < 1.0 + self.p for one in self.tries)
        flags = (*(("not_reached",) if below else ()), *(("off_target",) if off else ()))
        if flags:
            logger.warning(
                "series rule: no %s gives a mean perplexity ratio of %.5g; the nearest, %g, gives %.5g",
                self.knob.symbol, 1.0 + self.p, nearest.knob, nearest.mean,
            )  # fmt: skip
        return nearest.knob, flags, None if below else self._noise(nearest)

    def _noise(self, found: Try) -> KnobNoise | None:
        """How far the knob would be off on other windows, all checkpoints reading the same; None by older records."""
        errors = _together(found.rows)
        if errors is None:
            return None
        step = 0.05
        per_x = (self._excess(found.x + step) - self._excess(found.x - step)) / (2 * step)
        parts = -errors / max(per_x, LEAST_RISE_NATS)
        half = float(np.sqrt(parts @ parts)) * _t(found.rows[0])
        low, high = sorted(self.knob.from_x(found.x + side * half) for side in (-1, 1))
        return KnobNoise(
            tuple(parts.tolist()), (low, high), self._ratio_slope(found), found.rows[0]["text_sha256"]
        )

    def _ratio_slope(self, found: Try) -> float | None:
        """d ln(activation ratio) / dx over the checkpoints, between the knob found and the one tried next to it."""
        others = [one for one in self.tries if abs(one.x - found.x) > CLOSED]
        if not others:
            return None
        beside = min(others, key=lambda one: abs(one.x - found.x))
        logs = [sum(math.log(row["activation_ratio"]) for row in one.rows) for one in (found, beside)]
        return (logs[0] - logs[1]) / len(found.rows) / (found.x - beside.x)

    def _nearest(self) -> Try:
        return min(self.tries, key=lambda one: abs(one.mean - 1.0 - self.p))

    def _tolerance(self, one: Try) -> float:
        return max(TOLERANCE_SHARE * self.p, min(ERROR_SHARE * one.error, MOST_TOLERANCE * self.p))

    def _wanted(self) -> float:
        """x at which the mean over the curves meets the target, kept inside the bracket of what was tried."""
        low, high = self.knob.ends()
        excess = self._excess
        x = float(brentq(excess, low, high, xtol=1e-7)) if excess(low) < 0 < excess(high) else high
        if x == high and excess(low) >= 0:
            x = low
        return min(max(self._kept_moving(x), low), high)

    def _excess(self, x: float) -> float:
        """By how much the mean perplexity ratio over the curves is above the one wanted."""
        rises = (rise_at(points, x, slope=self.knob.slope) for points in self.curves)
        return sum(map(math.exp, rises)) / len(self.curves) - 1.0 - self.p

    def _kept_moving(self, x: float) -> float:
        """The x wanted, inside the bracket of what was tried; halfway, or further on, after two misses on one side."""
        sides = [one.mean < 1.0 + self.p for one in self.tries]
        below = max((one.x for one in self.tries if one.mean < 1.0 + self.p), default=None)
        above = min((one.x for one in self.tries if one.mean >= 1.0 + self.p), default=None)
        again = len(sides) > 1 and sides[-1] == sides[-2]
        if below is not None and above is not None and below < above:
            margin = 0.1 * (above - below)
            return (below + above) / 2 if again else min(max(x, below + margin), above - margin)
        if not again:
            return x
        last, step = self.tries[-1].x, abs(self.tries[-1].x - self.tries[-2].x)
        return max(x, last + 2 * step) if sides[-1] else min(x, last - 2 * step)


def _together(rows: Sequence[Mapping[str, Any]]) -> Floats | None:
    """The parts of the error of the mean perplexity ratio; None of records of before, or of different windows."""
    if len({row.get("text_sha256") for row in rows}) > 1:
        return None
    parts = [row.get("loss_delta_components_nats") for row in rows]
    if not all(parts):
        return None
    each = [np.array(part) * row["ppl_ratio"] for part, row in zip(parts, rows, strict=True)]
    return np.asarray(np.mean(each, axis=0))


def _error(rows: Sequence[Mapping[str, Any]]) -> float:
    """Standard error of the mean perplexity ratio, the checkpoints together; at a head by what decided there before."""
    parts = _together(rows) if all(row.get("sample") == SPREAD for row in rows) else None
    if parts is not None:
        return float(np.sqrt(parts @ parts))
    stops = [row.get("stop_error_nats") or row["loss_delta_se_nats"] for row in rows]
    squares = ((stop * row["ppl_ratio"]) ** 2 for stop, row in zip(stops, rows, strict=True))
    return math.sqrt(sum(squares)) / len(rows)


def _t(row: Mapping[str, Any]) -> float:
    """Student's t of a record's errors."""
    return noise.t_of(row["error_units"], sample=row["sample"])


def curve_of(record: dict[str, Any], knob: Knob) -> list[tuple[float, float]]:
    """(x, rise in nats) of a record's evaluations over the whole text, the last one at the end."""
    whole = max(tokens for _, _, tokens in record["search"])
    return [(knob.to_x(value), rise) for value, rise, tokens in record["search"] if tokens == whole]


def rise_at(points: Sequence[tuple[float, float]], x: float, *, slope: float) -> float:
    """The rise at x in nats, a power law between points and, with the slope given, beyond them."""
    places, rises = np.array(sorted(points)).T
    heights = np.log(np.maximum(np.maximum.accumulate(rises), LEAST_RISE_NATS))
    beyond = min(x - places[0], 0.0) + max(x - places[-1], 0.0)
    return min(math.exp(float(np.interp(x, places, heights)) + slope * beyond), MOST_RISE_NATS)
