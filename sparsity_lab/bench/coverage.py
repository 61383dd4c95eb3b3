"""A study of the intervals themselves: do 95 % intervals hold the truth 95 % of the time?

Data sets are simulated from known curves, the laws fitted to the public series, at those series' own token
counts and noise: independent, or first-order autoregressive with the given correlation. Each is fitted and
judged as a user's data would be. Two questions: among fits called identified, how often does the interval
of A0 hold the true one; and of data without a limit (a logarithmic curve), how many are called identified
all the same.

Run it with `python -m sparsity_lab.bench.coverage FOLDER`.
"""

from __future__ import annotations

import logging
import math
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from sparsity_lab.fitting.data.series import Series, read_series
from sparsity_lab.fitting.fit import compared
from sparsity_lab.fitting.judge.verdict import IDENTIFIED, NOT, WEAK
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.reproduce import published
from sparsity_lab.fitting.solve import diagnostics, engine, gradients
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.fitting.solved import solve_and_judge
from sparsity_lab.fitting.spec import PAPER_LAWS, FitSpec
from sparsity_lab.laws._law import DATA, RATIO, Array
from sparsity_lab.machine import signals
from sparsity_lab.machine.workers import Workers, side_by_side
from sparsity_lab.provenance import provenance
from sparsity_lab.store import bundled, records
from sparsity_lab.store.table_columns.bench import COVERAGE

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Truth:
    """A known curve at a series' points, with the series' noise.

    Attributes:
        sd, rho: standard deviation of the residuals of the paper's law, and their lag-1 correlation (not
            below 0), corrected for the coefficients fitted.
        limit: NaN for a curve without one.
    """

    law: str
    truth: str
    series: str
    x: Array
    y: Array
    sd: float
    rho: float
    limit: float


@dataclass(frozen=True)
class CoverageOutcome:
    """The verdict on one simulated data set, and whether A0's interval held the truth."""

    verdict: str
    held: bool


def truths() -> Iterator[Truth]:
    """For every public series its paper's law as fitted (where it has a limit in range), and a logarithm."""
    for full in read_series(bundled.path("sparsing-law")):
        series = full.without_leading(published.drops()[full.name])
        law = PAPER_LAWS[series.activation or ""]
        curve, sd, rho, limit = _fitted(series, law)
        if 0.0 < limit < 1.0:
            yield Truth(law, law, series.name, series.x, curve, sd, rho, limit)
        # The logarithm's own residuals would hold its misfit: the noise is that of the law that fits.
        yield Truth(
            law, "logarithmic", series.name, series.x, _fitted(series, "logarithmic")[0], sd, rho, math.nan
        )


def simulate(truth: Truth, *, rho: float | None, draw: int, seed: int) -> CoverageOutcome:
    """Simulate one data set, fit it and judge it; rho None takes the series' own correlation."""
    name = f"{truth.series} {truth.law} {truth.truth}"
    generator = np.random.default_rng([seed, draw, zlib.crc32(name.encode())])
    y = truth.y + truth.sd * autoregressive(len(truth.x), truth.rho if rho is None else rho, generator)
    series = Series(truth.series, truth.x, y, None, None, (DATA,), RATIO, (0.0, 1.0), "")
    spec = FitSpec(seed=draw)
    comparison = compared(series, spec, extrapolate=False)
    judged = solve_and_judge(series, load_law(truth.law), spec, comparison=comparison)
    limit = judged.profiles.get(
        judged.problem.law.asymptote or ""
    )  # none where the law cannot describe the points
    return CoverageOutcome(judged.verdict.word, limit is None or limit.low <= truth.limit <= limit.high)


def autoregressive(points: int, rho: float, generator: np.random.Generator) -> Array:
    """Noise of unit variance with correlation rho between neighbors, shape (points,)."""
    shocks = generator.normal(size=points)
    noise = np.empty(points)
    noise[0] = shocks[0]
    for i in range(1, points):
        noise[i] = rho * noise[i - 1] + math.sqrt(1 - rho**2) * shocks[i]
    return noise


def run(
    *, data_sets: int, rhos: Sequence[float | None] = (0.0, None), seed: int = 0, jobs: int = 1
) -> list[dict[str, object]]:
    """The table's rows: one for each series and truth, and the sums over series.

    Args:
        data_sets: for each law, truth and noise, spread evenly over the series.
        rhos: lag-1 correlations of the noise; None for each series' own.
        seed: of the data. jobs: worker processes.
    """
    curves = list(truths())
    rows: list[dict[str, object]] = []
    with side_by_side(jobs, torch_too=False) as workers:
        for kind in sorted({(t.law, t.truth) for t in curves}):
            chosen = [t for t in curves if (t.law, t.truth) == kind]
            for rho in rhos:
                outcomes = _outcomes(workers, chosen, rho, data_sets, seed)
                rows += [_row(kind, rho, name, outcomes[name]) for name in outcomes]
                rows.append(_row(kind, rho, "all", [o for one in outcomes.values() for o in one]))
                logger.info("%s", rows[-1])
    return rows


def _outcomes(
    workers: Workers, chosen: Sequence[Truth], rho: float | None, data_sets: int, seed: int
) -> dict[str, list[CoverageOutcome]]:
    """Outcomes by series, the data sets spread evenly."""
    shares = [data_sets // len(chosen) + (i < data_sets % len(chosen)) for i in range(len(chosen))]
    draws = [(truth, draw) for truth, share in zip(chosen, shares, strict=True) for draw in range(share)]
    calls = [partial(simulate, truth, rho=rho, draw=draw, seed=seed) for truth, draw in draws]
    results = dict(workers.perform(calls))
    outcomes: dict[str, list[CoverageOutcome]] = {truth.series: [] for truth in chosen}
    for number, (truth, _) in enumerate(draws):
        outcomes[truth.series].append(results[number])
    return outcomes


def _fitted(series: Series, law: str) -> tuple[Array, float, float, float]:
    """The fitted curve at the series' points, its noise (standard deviation, correlation) and its limit."""
    problem = Problem.of(load_law(law), series.x, series.y)
    solution = engine.solve(problem)
    values = problem.coefficients(solution.theta)
    rho = diagnostics.corrected_lag1(problem.residuals(solution), gradients.jacobian(problem, solution))
    sd = math.sqrt(solution.sse / problem.freedom)
    return problem.law.predict(values, series.x), sd, rho, problem.law.limit(values)


def _row(
    kind: tuple[str, str], rho: float | None, series: str, outcomes: list[CoverageOutcome]
) -> dict[str, object]:
    by_word = {word: [o.held for o in outcomes if o.verdict == word] for word in (IDENTIFIED, WEAK, NOT)}
    sure = by_word[IDENTIFIED]
    limited = kind[1] != "logarithmic"
    share = float(np.mean(sure)) if sure and limited else None
    return {
        "law": kind[0], "truth": kind[1], "noise": _noise(rho),
        "series": series, "data_sets": len(outcomes), "identified": len(sure), "weak": len(by_word[WEAK]),
        "not": len(by_word[NOT]), "covered": sum(sure) if limited else None, "coverage": share,
        "coverage_se": math.sqrt(share * (1 - share) / len(sure)) if share is not None else None,
        "covered_weak": sum(by_word[WEAK]) if limited else None,
    }  # fmt: skip


def _noise(rho: float | None) -> str:
    if rho is None:
        return "the series' own correlation"
    return "independent" if rho == 0 else f"correlation {rho:g}"


def main(words: list[str]) -> None:
    """Run the study into a folder: FOLDER [DATA_SETS [JOBS]]."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    folder = records.prepare_output(Path(words[0]))
    sizes = [int(word) for word in words[1:]]
    rows = run(data_sets=(sizes or [300])[0], rhos=(0.0, None, 0.3), jobs=([*sizes, 2, 2])[1])
    COVERAGE.write(folder, rows)
    records.write_json(folder / "provenance.json", provenance(module="sparsity_lab.bench.coverage"))


if __name__ == "__main__":
    signals.run(partial(main, sys.argv[1:]))
