"""Bootstrap, bands, inversions, correlation: against theory and by simulation."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from sparsity_lab import registry
from sparsity_lab.bench import coverage
from sparsity_lab.fitting.solve import diagnostics, engine
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.fitting.uncertainty import bootstrap, noise
from sparsity_lab.fitting.uncertainty.intervals import Wanted, intervals

LOGARITHMIC = registry.load("laws", "logarithmic").LAW
POWER = registry.load("laws", "power").LAW


def noisy(law, values, *, sd=1e-3, points=40, seed=0):
    x = np.geomspace(1, 100, points)
    y = law.predict(values, x) + np.random.default_rng(seed).normal(0, sd, points)
    problem = Problem.of(law, x, y)
    return problem, engine.solve(problem)


def test_for_a_linear_law_the_bootstrap_has_the_textbook_width():
    problem, solution = noisy(LOGARITHMIC, {"a": 0.2, "s": 0.03})
    generator = np.random.default_rng(1)
    draws = bootstrap.residual_blocks(problem, solution, draws=1500, block=1, generator=generator)
    variance = solution.sse / problem.freedom
    values = problem.coefficients(solution.theta)
    exact = diagnostics.covariance(problem.law, values, problem.x, variance=variance)
    for i, name in enumerate(values):
        assert np.std(draws.values[name]) == pytest.approx(math.sqrt(exact[i, i]), rel=0.1)


def test_blocks_are_circular_and_draw_every_point_equally_often():
    generator = np.random.default_rng(0)
    drawn = np.concatenate([bootstrap.block_indices(10, 4, generator) for _ in range(4000)])
    counts = np.bincount(drawn, minlength=10)
    assert counts.min() > 0.93 * counts.mean()
    one = bootstrap.block_indices(10, 4, np.random.default_rng(5))
    assert [(b - a) % 10 for a, b in itertools.pairwise(one[:4])] == [1, 1, 1]


def test_runs_are_drawn_whole():
    law = registry.load("laws", "loss-power").LAW
    x = np.array([[n, d] for n in (1e8, 3e8, 1e9) for d in (1e9, 1e10, 1e11)])
    problem = Problem.of(law, x, np.arange(9.0) + 1)
    runs = np.array([1, 1, 1, 2, 2, 2, 3, 3, 3])
    solution = engine.solve(problem)
    draws = bootstrap.resample_runs(problem, solution, runs, draws=20, generator=np.random.default_rng(0))
    chosen = np.random.default_rng(0)
    for k in range(20):
        rows = np.concatenate([np.flatnonzero(runs == 1 + i) for i in chosen.integers(3, size=3)])
        drawn = replace(problem, x=x[rows], y=problem.y[rows])
        alone = engine.best_of(drawn, [solution.theta])
        at = problem.law.locate({name: draws.values[name][k] for name in ("alpha", "beta")}, problem.span)
        assert drawn.project(at).sse == pytest.approx(alone.sse, rel=1e-6, abs=1e-12)


def test_correlated_noise_is_seen_and_lengthens_blocks():
    generator = np.random.default_rng(4)
    found = [coverage.autoregressive(40, 0.6, generator) for _ in range(300)]
    assert np.mean([np.var(noise) for noise in found]) == pytest.approx(0.92, abs=0.1)
    centred = [noise - noise.mean() for noise in found]
    corrected = np.mean([diagnostics.corrected_lag1(c, np.ones((40, 1))) for c in centred])
    assert corrected == pytest.approx(0.6, abs=0.06)
    assert np.mean([diagnostics.block_length(c) for c in centred]) > 2
    white = [coverage.autoregressive(40, 0.0, generator) for _ in range(300)]
    assert np.median([diagnostics.block_length(w - w.mean()) for w in white]) == 1


@pytest.mark.slow
def test_the_band_holds_the_curve_about_as_often_as_it_says():
    truth, at = {"alpha": 0.6, "c": 0.1, "A0": 0.4}, np.array([10.0, 300.0])
    held = []
    for seed in range(60):
        problem, solution = noisy(POWER, truth, seed=seed, points=30)
        found = intervals(problem, solution, noise.scale_of(problem, solution), Wanted(names=(), x=at)).band
        held.append(
            [one.low <= y <= one.high for one, y in zip(found, POWER.predict(truth, at), strict=True)]
        )
    assert np.all(np.mean(held, axis=0) >= 0.86)


def test_an_inversion_says_not_reached_where_the_curve_may_never_get_there():
    problem, solution = noisy(POWER, {"alpha": 0.6, "c": 0.1, "A0": 0.4}, sd=2e-3)
    limit = problem.coefficients_of(solution)["A0"]
    wanted = Wanted(names=(), reach=(0.38, limit))
    near, far = intervals(problem, solution, noise.scale_of(problem, solution), wanted).reach
    assert 0 < near.low < near.value < near.high < math.inf
    assert far.high == math.inf


def test_the_information_criterion_by_hand():
    assert diagnostics.aicc(2.0, points=20, coefficients=3) == pytest.approx(
        20 * math.log(0.1) + 8 + 2 * 4 * 5 / 15
    )
