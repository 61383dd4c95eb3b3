"""How often the 95 % intervals of every kind of number hold the truth: coefficients, predictions, reaches.

Series of known curves are simulated with Gaussian noise, independent or first-order autoregressive, and fitted as a
user's are; a cell is a law, a number of points and a correlation. Points lie evenly in ln x over two decades (width and
depth: evenly in r; densing: evenly in t). Predictions are at three times the last x (densing: a quarter of the span
later), reaches of the value half way from the last point to the limit. Ladders are runs of ten checkpoints each, with
and without an effect that all checkpoints of a run share. Series measured on one text of 24 windows are moved by it as
a whole, twice the noise of a point; the intervals are those with other text.

Run it with `python -m sparsity_lab.bench.interval_coverage FOLDER [SETS [JOBS [KIND ...]]]`; kinds are series, ladders
and text.
"""

from __future__ import annotations

import logging
import math
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from sparsity_lab.bench.coverage import autoregressive
from sparsity_lab.fitting.data.text_parts import TextParts
from sparsity_lab.fitting.judge.noise import too_correlated
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.solve import diagnostics, engine, gradients
from sparsity_lab.fitting.solve.objective import HUBER, SQUARES, Objective
from sparsity_lab.fitting.solve.problem import Problem, Solution
from sparsity_lab.fitting.uncertainty import noise, other_text
from sparsity_lab.fitting.uncertainty.intervals import Intervals, Wanted, intervals
from sparsity_lab.laws._law import Array
from sparsity_lab.machine import signals
from sparsity_lab.machine.workers import side_by_side
from sparsity_lab.provenance import provenance
from sparsity_lab.store import records
from sparsity_lab.store.table_columns.bench import INTERVAL_COVERAGE

logger = logging.getLogger(__name__)

POINTS, CORRELATIONS = (8, 12, 20, 40, 100), (0.0, 0.3, 0.6)
RUNS, CHECKPOINTS = (12, 22), 10  # and runs of one point each, as many as POINTS says
FEWER, FEWEST = (
    3,
    8,
)  # a ladder takes ten times as long as a series, with Huber losses fifty: so many fewer sets


TEXT_WINDOWS, TEXT_LEVEL = 24, 2.0  # of a text; what it does to all points, in noises of a point

Cells = dict[tuple[str, str, float], list[partial[dict[str, bool]]]]


@dataclass(frozen=True)
class KnownCurve:
    """A curve with its noise.

    Attributes:
        coefficients: of the paper. low, high: ends of x. sd: of the noise, in y or (ladders) in ln y.
        ahead: where a prediction is asked for. target: the y whose x is asked for, or None.
    """

    law: str
    coefficients: Mapping[str, float]
    low: float
    high: float
    sd: float
    ahead: float
    target: float | None = None

    def places(self, points: int) -> Array:
        """x, shape (points,)."""
        even = self.law in ("width-depth", "densing")
        return (np.linspace if even else np.geomspace)(self.low, self.high, points)


CURVES = (
    KnownCurve("power", {"alpha": 0.6, "c": 0.1, "A0": 0.4}, 1.0, 100.0, 5e-4, 300.0, 0.3968),
    KnownCurve(
        "logspace-power", {"alpha": 0.6, "b": -1.5, "c": 0.25, "A0": 0.07}, 1.0, 100.0, 8e-4, 300.0, 0.0705
    ),
    KnownCurve("width-depth", {"k": 1.5e-3, "r_star": 60.0, "P": 0.4}, 20.0, 120.0, 2e-3, 180.0),
    KnownCurve("densing", {"A": 0.0073, "B": 0.1}, 0.0, 700.0, 0.3, 875.0, 6.0),
)
LADDER = {"alpha": 0.35, "beta": 0.37, "a": 480.0, "b": 2100.0, "E": 1.8}
LADDER_SD, LADDER_AHEAD = 4e-3, np.array([[1e10, 2e12]])


def series_set(curve: KnownCurve, points: int, rho: float, draw: int) -> dict[str, bool]:
    """Simulate and fit one series; which numbers' intervals hold the truth, and whether the noise is flagged."""
    law, x = load_law(curve.law), curve.places(points)
    generator = np.random.default_rng([draw, points, round(100 * rho), zlib.crc32(curve.law.encode())])
    y = law.predict(curve.coefficients, x) + curve.sd * autoregressive(points, rho, generator)
    problem = Problem.of(law, x, y)
    solution = engine.solve(problem, seed=draw)
    box = (0.0, 1.0) if law.output.unit == "fraction" else (-math.inf, math.inf)
    reach = () if curve.target is None else (curve.target,)
    wanted = Wanted(box=box, x=np.array([curve.ahead]), reach=reach, curves=False)
    found = intervals(problem, solution, noise.scale_of(problem, solution), wanted)
    held = _held(
        found, curve.coefficients, float(law.predict(curve.coefficients, np.array([curve.ahead]))[0])
    )
    if curve.target is not None:
        held["reach"] = (
            found.reach[0].low <= law.invert(curve.coefficients, curve.target) <= found.reach[0].high
        )
    held["flagged"] = _flagged(problem, solution)
    return held


def text_set(curve: KnownCurve, points: int, draw: int) -> dict[str, bool]:
    """Simulate and fit one series that was measured on one text; which intervals with other text hold the truth."""
    law, x = load_law(curve.law), curve.places(points)
    generator = np.random.default_rng([draw, points, zlib.crc32(curve.law.encode())])
    true_curve = law.predict(curve.coefficients, x)
    windows = TEXT_LEVEL * curve.sd * math.sqrt(TEXT_WINDOWS) * generator.normal(size=TEXT_WINDOWS)
    own = curve.sd * generator.normal(size=points)
    moves = true_curve / np.abs(true_curve).mean()  # a text moves every point by the same share
    parts = (windows - windows.mean()) / math.sqrt(TEXT_WINDOWS * (TEXT_WINDOWS - 1))
    problem = Problem.of(law, x, true_curve + moves * windows.mean() + own)
    solution = engine.solve(problem, seed=draw)
    box = (0.0, 1.0) if law.output.unit == "fraction" else (-math.inf, math.inf)
    found = intervals(
        problem, solution, noise.scale_of(problem, solution), Wanted(box=box, curves=False)
    ).profiles
    values = problem.coefficients_of(solution)
    told = other_text.of(
        problem, solution, {name: (values[name], *each.ends) for name, each in found.items()},
        TextParts(np.outer(moves, parts), TEXT_WINDOWS - 1.0),
    )  # fmt: skip
    assert told is not None
    held = {
        name: name not in told.coefficients
        or told.coefficients[name].low <= value <= told.coefficients[name].high
        for name, value in curve.coefficients.items()
    }
    return {**held, "flagged": _flagged(problem, solution)}


@dataclass(frozen=True)
class SimulatedLadder:
    """Runs of loss-power.

    Attributes:
        runs: number of runs. checkpoints: of each run, evenly spread over its tokens.
        rho: lag-1 correlation of the noise along a run. effect: standard deviation in ln y of what a run shares.
    """

    runs: int
    checkpoints: int = CHECKPOINTS
    rho: float = 0.0
    effect: float = 0.0

    def __str__(self) -> str:
        return f"{self.runs} runs of {self.checkpoints}{', shared effect' if self.effect else ''}"


LADDERS = (
    *(SimulatedLadder(points, checkpoints=1) for points in POINTS),
    *(SimulatedLadder(runs, rho=rho) for runs in RUNS for rho in CORRELATIONS),
    *(SimulatedLadder(runs, effect=LADDER_SD) for runs in RUNS),
)


def ladder_set(ladder: SimulatedLadder, objective: Objective, draw: int) -> dict[str, bool]:
    """Simulate and fit one ladder of runs with checkpoints."""
    law, runs, checkpoints = load_law("loss-power"), ladder.runs, ladder.checkpoints
    generator = np.random.default_rng(
        [draw, runs, checkpoints, round(100 * ladder.rho), round(1e4 * ladder.effect)]
    )
    size = generator.permutation(np.geomspace(5e7, 2e9, runs))
    last = np.exp(generator.uniform(np.log(2e10), np.log(3e11), runs))
    run = np.repeat(np.arange(runs), checkpoints)
    tokens = last[run] * np.tile(np.arange(1, checkpoints + 1) / checkpoints, runs)
    x = np.stack([size[run], tokens], axis=1)
    shared = ladder.effect * generator.normal(size=runs)[run]
    noises = np.concatenate([autoregressive(checkpoints, ladder.rho, generator) for _ in range(runs)])
    y = law.predict(LADDER, x) * np.exp(LADDER_SD * noises + shared)
    problem = Problem.of(law, x, y, objective=objective, runs=run)
    solution = engine.solve(problem, seed=draw)
    wanted = Wanted(box=(0.0, float(y.max())), x=LADDER_AHEAD, curves=False)
    found = intervals(problem, solution, noise.scale_of(problem, solution), wanted)
    return _held(found, LADDER, float(law.predict(LADDER, LADDER_AHEAD)[0]))


def _held(found: Intervals, truth: Mapping[str, float], ahead: float) -> dict[str, bool]:
    held = {
        name: (one.open_low or one.low <= truth[name]) and (one.open_high or truth[name] <= one.high)
        for name, one in found.profiles.items()
    }
    return {**held, "prediction": found.band[0].low <= ahead <= found.band[0].high}


def _flagged(problem: Problem, solution: Solution) -> bool:
    """Whether a verdict would say that the noise is too correlated."""
    rho = diagnostics.corrected_lag1(problem.residuals(solution), gradients.jacobian(problem, solution))
    count = len(problem.law.parameters)
    return too_correlated(rho, points=len(problem.y), coefficients=count) is not None


def _series_cells(sets: int) -> Cells:
    return {
        (curve.law, str(points), rho): [partial(series_set, curve, points, rho, draw) for draw in range(sets)]
        for curve in CURVES for points in POINTS for rho in CORRELATIONS
    }  # fmt: skip


def _text_cells(sets: int) -> Cells:
    return {
        (curve.law, f"{points}, on one text", 0.0): [
            partial(text_set, curve, points, draw) for draw in range(sets)
        ]
        for curve in CURVES for points in POINTS
    }  # fmt: skip


def _ladder_cells(sets: int) -> Cells:
    cells: Cells = {}
    for objective in (SQUARES, HUBER):
        name = f"loss-power, {'Huber' if objective.huber else 'squares'}"
        count = sets // (FEWEST if objective.huber else FEWER)
        for ladder in LADDERS[len(POINTS) if objective.huber else 0 :]:
            cells[name, str(ladder), ladder.rho] = [
                partial(ladder_set, ladder, objective, draw) for draw in range(count)
            ]
    return cells


KINDS = {"series": _series_cells, "ladders": _ladder_cells, "text": _text_cells}


def run(
    *, sets: int, jobs: int = 1, kinds: Sequence[str] = tuple(KINDS)
) -> Iterator[list[dict[str, object]]]:
    """The table's rows cell by cell, one for each number."""
    cells = {place: calls for kind in kinds for place, calls in KINDS[kind](sets).items()}
    with side_by_side(jobs, torch_too=False) as workers:
        for (law, shape, rho), calls in cells.items():
            yield _rows(law, shape, rho, [outcome for _, outcome in workers.perform(calls)])
            logger.info("%s, %s points, correlation %g", law, shape, rho)


def _rows(law: str, points: str, rho: float, outcomes: list[dict[str, bool]]) -> list[dict[str, object]]:
    flagged = float(np.mean([outcome.get("flagged", False) for outcome in outcomes]))
    rows = []
    for number in [name for name in outcomes[0] if name != "flagged"]:
        share = float(np.mean([outcome[number] for outcome in outcomes]))
        unflagged = [outcome[number] for outcome in outcomes if not outcome.get("flagged", False)]
        rows.append({
            "law": law, "points": points, "correlation": rho, "number": number, "data_sets": len(outcomes),
            "coverage": share, "coverage_se": math.sqrt(share * (1 - share) / len(outcomes)), "flagged": flagged,
            "coverage_unflagged": float(np.mean(unflagged)) if unflagged else None,
        })  # fmt: skip
    return rows


def main(words: list[str]) -> None:
    """Run the study into a folder: FOLDER [SETS [JOBS [KIND ...]]]."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    folder = records.prepare_output(Path(words[0]))
    sizes, kinds = [int(word) for word in words[1:3]], words[3:] or tuple(KINDS)
    rows: list[dict[str, object]] = []
    for cell in run(sets=(sizes or [300])[0], jobs=([*sizes, 2, 2])[1], kinds=kinds):
        rows += cell
        INTERVAL_COVERAGE.write(folder, rows)
    records.write_json(folder / "provenance.json", provenance(module="sparsity_lab.bench.interval_coverage"))


if __name__ == "__main__":
    signals.run(partial(main, sys.argv[1:]))
