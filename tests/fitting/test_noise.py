"""Noise that is not equally wide, and noise too correlated for its points, are told; even noise is not."""

import numpy as np
import pytest

from sparsity_lab.fitting.judge import noise, windows
from sparsity_lab.fitting.solve import diagnostics


def design(points):
    """The Jacobian of A0 - c x^-alpha at alpha = 0.6, shape (n, 3)."""
    x = np.linspace(1.0, 30.0, points)
    return np.column_stack([np.ones(points), x**-0.6, np.log(x) * x**-0.6])


def simulated(points, *, sets, rho=0.0, sd=1.0):
    """Tests of simulated residuals of that linear fit."""
    jacobian = design(points)
    basis = diagnostics.fitted_basis(jacobian)
    drawn = sd * noise.autoregressive(np.random.default_rng(points).normal(size=(sets, points)), rho)
    for residuals in drawn - (drawn @ basis) @ basis.T:
        found = diagnostics.corrected_lag1(residuals, jacobian)
        yield noise.spread(residuals, jacobian, -jacobian[:, 1], rho=found)


@pytest.mark.parametrize("points", [12, 20, 40, 100])
@pytest.mark.parametrize("rho", [0.0, 0.6])
@pytest.mark.long
def test_even_noise_is_called_uneven_once_in_twenty(points, rho):
    alarms = sum(test.uneven for test in simulated(points, sets=60, rho=rho))
    assert alarms <= 8  # of 60 at 5 %: 9 or more once in 500


@pytest.mark.parametrize("way", [1, -1])
def test_noise_that_grows_or_shrinks_tenfold_is_told(way):
    sd = 10.0 ** (way * np.linspace(0.0, 1.0, 40))
    found = list(simulated(40, sets=20, sd=sd))
    assert sum(test.uneven for test in found) >= 18
    ratios = [test.ratio for test in found if test.along == "x"]
    assert np.median(ratios) ** way > 2


def test_too_few_points_or_none_left_over_say_nothing():
    assert noise.spread(np.ones(5), design(5), np.arange(5.0), rho=0.0) is None
    assert noise.spread(np.zeros(20), design(20), np.arange(20.0), rho=0.0) is None


@pytest.mark.parametrize(
    ("rho", "points", "flagged"),
    [(0.7, 20, True), (0.6, 20, False), (0.6, 40, False), (0.8, 40, True), (0.8, 100, False),
     (0.9, 100, True), (0.6, 12, False), (0.9, 12, False), (0.9, 3, False)],
)  # fmt: skip
def test_noise_is_too_correlated_where_its_points_are_worth_too_few(rho, points, flagged):
    reason = noise.too_correlated(rho, points=points, coefficients=3)
    assert (reason is not None) == flagged
    if reason:
        assert f"noise too correlated for {points} points" in reason


@pytest.mark.parametrize("points", [8, 12, 20, 40, 100])
def test_independent_noise_is_called_too_correlated_once_in_thirty_or_less(points):
    jacobian = design(points)
    basis = diagnostics.fitted_basis(jacobian)
    drawn = np.random.default_rng(1).normal(size=(400, points))
    estimates = [
        diagnostics.corrected_lag1(residuals, jacobian) for residuals in drawn - (drawn @ basis) @ basis.T
    ]
    flagged = sum(noise.too_correlated(rho, points=points, coefficients=3) is not None for rho in estimates)
    assert flagged <= 0.03 * len(estimates)


def shared(runs, *, sets):
    """Jacobian of a linear law of two inputs, and residuals of its fit to even noise that runs of ten points share."""
    generator = np.random.default_rng(runs)
    size, tokens = np.repeat(generator.uniform(0.0, 1.0, runs), 10), np.tile(np.linspace(0.0, 1.0, 10), runs)
    members = np.repeat(np.arange(runs), 10)
    jacobian = np.column_stack([np.ones_like(size), size, tokens])
    basis = diagnostics.fitted_basis(jacobian)
    drawn = generator.normal(size=(sets, 10 * runs)) + 3.0 * generator.normal(size=(sets, runs))[:, members]
    return jacobian, members, drawn - (drawn @ basis) @ basis.T


def test_noise_that_runs_share_is_neither_uneven_nor_a_drift():
    jacobian, runs, drawn = shared(22, sets=40)
    terms = jacobian[:, 1:] ** 2
    uneven = [noise.spread(left, jacobian, jacobian @ [1.0, 2.0, 3.0], runs=runs).uneven for left in drawn]
    drifts = [windows.drift(left, jacobian, terms, runs=runs).found for left in drawn]
    assert sum(uneven) <= 7  # of 40 at 5 %: 8 or more once in 1000
    assert sum(drifts) <= 4
    as_points = [windows.drift(left, jacobian, terms).found for left in drawn]
    assert sum(as_points) >= 8  # what points taken for independent would say


def test_a_drift_that_all_runs_have_is_seen():
    jacobian, runs, drawn = shared(22, sets=10)
    basis = diagnostics.fitted_basis(jacobian)
    curved = 8.0 * jacobian[:, 2:] ** 2
    bent = drawn / 3.0 + (curved - basis @ (basis.T @ curved))[:, 0]
    assert all(windows.drift(left, jacobian, curved, runs=runs).found for left in bent)
