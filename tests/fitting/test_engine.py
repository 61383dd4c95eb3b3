"""The engine against an independent slow search, on the public series and on hard ones."""

import math

import numpy as np
import pytest
from scipy.optimize import lsq_linear, minimize

from sparsity_lab import registry
from sparsity_lab.fitting.data.series import read_series
from sparsity_lab.fitting.reproduce.published import drops
from sparsity_lab.fitting.solve import engine
from sparsity_lab.fitting.solve.problem import Problem, solve_linear
from sparsity_lab.store import bundled

SERIES = [s.without_leading(drops()[s.name]) for s in read_series(bundled.path("sparsing-law"))]
PAPER = {"relu": "logspace-power", "silu": "power"}


def problem_of(series, law=None):
    return Problem.of(registry.load("laws", law or PAPER[series.activation]).LAW, series.x, series.y)


@pytest.fixture(params=SERIES, ids=[s.name for s in SERIES])
def series(request):
    return request.param


def test_eleven_series():
    assert len(SERIES) == 11


@pytest.mark.parametrize("law", ["power", "logspace-power", "sigmoid"])
def test_the_jacobian_is_the_derivative_of_the_projected_residuals(series, law):
    problem = problem_of(series, law)
    theta = engine.random_starts(problem, 1, np.random.default_rng(3))[0] * 0.5
    exact = problem.jacobian(theta, problem.project(theta))
    for i, step in enumerate(1e-6 * np.eye(len(theta))):
        ahead, behind = problem.project(theta + step).residuals, problem.project(theta - step).residuals
        np.testing.assert_allclose(exact[:, i], (ahead - behind) / 2e-6, rtol=1e-3, atol=2e-8)


def test_sixty_random_starts_all_reach_the_best(series):
    problem = problem_of(series)
    best = engine.solve(problem).sse
    starts = engine.random_starts(problem, 60, np.random.default_rng(11))
    found = [engine.polish(problem, start)[1] for start in starts]
    assert min(found) >= best * (1 - 1e-9)
    assert np.mean(np.array(found) <= 1.01 * best) == 1.0


def test_no_simplex_search_over_all_coefficients_does_better(series):
    """A slow, derivative-free search of the printed formula, from the engine's answer and from beside it."""
    problem = problem_of(series)
    solution = engine.solve(problem)
    values = problem.coefficients(solution.theta)
    names, law = list(values), problem.law
    start = np.array([values[name] for name in names])

    def sse(vector):
        with np.errstate(all="ignore"):
            residuals = law.predict(dict(zip(names, vector, strict=True)), series.x) - series.y
        total = float(residuals @ residuals)
        return total if math.isfinite(total) else 1e9

    assert sse(start) == pytest.approx(solution.sse, rel=1e-6)
    for shift in (0.0, 0.02, -0.02):
        found = minimize(
            sse, start * (1 + shift), method="Nelder-Mead", options={"maxfev": 4000, "xatol": 1e-12}
        )
        assert found.fun >= solution.sse * (1 - 2e-4)


def test_raw_token_counts_give_the_same_fit(series):
    scaled, raw = problem_of(series), Problem.of(problem_of(series).law, series.x * 1e9, series.y)
    a, b = engine.solve(scaled), engine.solve(raw)
    assert b.sse == pytest.approx(a.sse, rel=1e-9)
    assert raw.coefficients(b.theta)["alpha"] == pytest.approx(
        scaled.coefficients(a.theta)["alpha"], rel=1e-3
    )


def test_the_seed_decides_the_bytes(series):
    first, second = engine.solve(problem_of(series), seed=4), engine.solve(problem_of(series), seed=4)
    assert first.theta.tobytes() == second.theta.tobytes()


def test_bounded_linear_coefficients_match_scipys_other_method():
    generator = np.random.default_rng(0)
    for _ in range(50):
        design, targets = generator.normal(size=(12, 3)), generator.normal(size=12)
        lower = np.array([-np.inf, 0.0, 0.0])
        linear, free = solve_linear(design, targets, lower)
        other = lsq_linear(design, targets, bounds=(lower, np.inf), method="trf", tol=1e-14)
        assert np.sum((design @ linear - targets) ** 2) <= 2 * other.cost + 1e-9
        assert np.all(linear[~free] == 0)


def test_weights_act_like_repeated_points():
    series = SERIES[0]
    law = registry.load("laws", "power").LAW
    counts = np.arange(len(series.x)) % 3 + 1
    repeated = Problem.of(law, np.repeat(series.x, counts), np.repeat(series.y, counts))
    weighted = Problem.of(law, series.x, series.y, root_weights=np.sqrt(counts))
    a = repeated.coefficients(engine.solve(repeated).theta)
    b = weighted.coefficients(engine.solve(weighted).theta)
    assert a == pytest.approx(b, rel=1e-6)
