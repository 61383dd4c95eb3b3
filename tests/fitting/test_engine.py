"""The engine against an independent slow search, on the public series and on hard ones."""

import math

import numpy as np
import pytest
from scipy.optimize import lsq_linear, minimize

from sparsity_lab import registry
from sparsity_lab.fitting.data.series import read_series
from sparsity_lab.fitting.reproduce.published import drops
from sparsity_lab.fitting.solve import engine, levenberg, linear
from sparsity_lab.fitting.solve.batch import Batch, Held
from sparsity_lab.fitting.solve.problem import Problem
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
    batch = Batch.of(problem, 1)
    design = batch.design(theta[None])
    exact = batch.jacobian(theta[None], design, batch.project(theta[None], design))[0]
    for i, step in enumerate(1e-6 * np.eye(len(theta))):
        ahead, behind = problem.project(theta + step).residuals, problem.project(theta - step).residuals
        np.testing.assert_allclose(exact[:, i], (ahead - behind) / 2e-6, rtol=1e-3, atol=2e-8)


@pytest.mark.thorough(4)
@pytest.mark.long
def test_sixty_random_starts_all_reach_the_best(series):
    problem = problem_of(series)
    best = engine.solve(problem).sse
    starts = engine.random_starts(problem, 60, np.random.default_rng(11))
    found = [engine.best_of(problem, [start]).sse for start in starts]
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
        found = linear.solve(design[None], targets[None], lower)
        other = lsq_linear(design, targets, bounds=(lower, np.inf), method="trf", tol=1e-14)
        assert np.sum((design @ found.beta[0] - targets) ** 2) <= 2 * other.cost + 1e-9
        assert np.all(found.beta[0] >= lower)
        assert np.all(found.beta[0][~found.free[0]] == 0)


def test_a_held_combination_matches_a_constrained_minimiser():
    generator = np.random.default_rng(1)
    lower = np.array([-np.inf, 0.0, 0.0])
    for _ in range(25):
        design, targets, weights = (generator.normal(size=s) for s in ((12, 3), 12, 3))
        value = float(generator.normal())
        held = linear.Combination(weights[None], np.array([value]))
        found = linear.solve(design[None], targets[None], lower, held)
        beta = found.beta[0]
        if not np.isfinite(found.sse[0]):
            continue
        assert weights @ beta == pytest.approx(value, abs=1e-9)
        assert np.all(beta >= lower - 1e-12)
        slow = minimize(
            lambda b, d=design, t=targets: np.sum((d @ b - t) ** 2), np.abs(beta) + 0.1, method="SLSQP",
            bounds=[(None, None), (0, None), (0, None)],
            constraints={"type": "eq", "fun": lambda b, w=weights, v=value: w @ b - v},
            options={"ftol": 1e-14, "maxiter": 500},
        )  # fmt: skip
        assert found.sse[0] <= slow.fun * (1 + 1e-7) + 1e-9


@pytest.mark.parametrize("law", ["power", "logspace-power"])
def test_the_jacobian_holds_with_a_coefficient_and_a_prediction_held(series, law):
    problem = problem_of(series, law)
    theta = np.tile(engine.solve(problem).theta + 0.05, (2, 1))
    value = np.array([float(np.mean(series.y)), float(series.y[-1])])
    held = Held(("A0",), np.array([2.0 * series.x.max()]), np.array([0, 1]), value)
    batch = Batch.of(problem, 2, held=held)
    design = batch.design(theta)
    exact = batch.jacobian(theta, design, batch.project(theta, design, slopes=True))
    for i, step in enumerate(1e-6 * np.eye(theta.shape[1])):
        ahead, behind = batch.project(theta + step).residuals, batch.project(theta - step).residuals
        np.testing.assert_allclose(exact[:, :, i], (ahead - behind) / 2e-6, rtol=1e-3, atol=2e-7)


def test_variants_of_the_points_are_those_fitted_one_by_one(series):
    problem = problem_of(series)
    n = len(series.x)
    root = np.array([np.ones(n), np.arange(n) < math.ceil(0.7 * n), np.arange(n) >= 3], dtype=float)
    together = engine.solve_variants(problem, root)
    for one, kept in zip(together, root, strict=True):
        alone = engine.solve(problem.subset(kept > 0))
        # Coordinates are scaled by another span, so that a fit at the edge of the box has another edge.
        assert one.sse == pytest.approx(alone.sse, rel=1e-5 if alone.at_edge else 1e-9)


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e12])
def test_the_unit_of_y_changes_nothing_else(series, scale):
    usual = problem_of(series)
    other = Problem.of(usual.law, usual.x, usual.y * scale)
    a, b = engine.solve(usual), engine.solve(other)
    assert b.sse / scale**2 == pytest.approx(a.sse, rel=1e-12)
    np.testing.assert_allclose(a.theta, b.theta, rtol=1e-4, atol=1e-4)


def test_lanes_of_one_batch_do_not_touch_one_another(series):
    problem = problem_of(series)
    starts = np.array(engine.random_starts(problem, 5, np.random.default_rng(2)))
    box = problem.law.search_box(problem.span)
    theta, sse = levenberg.descend(Batch.of(problem, 5), starts, box)
    for i, start in enumerate(starts):
        alone, least = levenberg.descend(Batch.of(problem, 1), start[None], box)
        assert least[0] == pytest.approx(sse[i], rel=1e-13)
        np.testing.assert_allclose(alone[0], theta[i], rtol=1e-6)


def test_weights_act_like_repeated_points():
    series = SERIES[0]
    law = registry.load("laws", "power").LAW
    counts = np.arange(len(series.x)) % 3 + 1
    repeated = Problem.of(law, np.repeat(series.x, counts), np.repeat(series.y, counts))
    weighted = Problem.of(law, series.x, series.y, root_weights=np.sqrt(counts))
    a = repeated.coefficients(engine.solve(repeated).theta)
    b = weighted.coefficients(engine.solve(weighted).theta)
    assert a == pytest.approx(b, rel=1e-6)
