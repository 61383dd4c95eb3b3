"""Certified values of NIST's Statistical Reference Datasets for nonlinear regression.

Figures from NIST/ITL StRD, https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml: observations, models,
certified estimates and residual sums of squares of nine problems whose coefficients split into linear ones
and at most three nonlinear ones. A wrong digit in any observation would show in the certified sums.
"""

import math

import numpy as np
import pytest

from sparsity_lab.fitting.solve import diagnostics, engine
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.laws._expression import Expression

PROBLEMS = {
    "Misra1a": (
        "b1*(1 - exp(-b2*x))", {"b2": (1e-6, 1e-1)}, {"b1": 2.3894212918e02, "b2": 5.5015643181e-04},
        1.2455138894e-01,
        [77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0],
        [10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78],
    ),
    "BoxBOD": (
        "b1*(1 - exp(-b2*x))", {"b2": (1e-2, 1e1)}, {"b1": 2.1380940889e02, "b2": 5.4723748542e-01},
        1.1680088766e03, [1, 2, 3, 5, 7, 10], [109, 149, 149, 191, 213, 224],
    ),
    "DanWood": (
        "b1*x^b2", {"b2": (0.1, 20)}, {"b1": 7.6886226176e-01, "b2": 3.8604055871e00}, 4.3173084083e-03,
        [1.309, 1.471, 1.490, 1.565, 1.611, 1.680], [2.138, 3.421, 3.597, 4.340, 4.882, 5.660],
    ),
    "Rat42": (
        "b1/(1 + exp(b2 - b3*x))", {"b2": (0, 10), "b3": (1e-3, 1)},
        {"b1": 7.2462237576e01, "b2": 2.6180768402e00, "b3": 6.7359200066e-02}, 8.0565229338e00,
        [9, 14, 21, 28, 42, 57, 63, 70, 79],
        [8.93, 10.80, 18.59, 22.33, 39.35, 56.11, 61.73, 64.62, 67.08],
    ),
    "Rat43": (
        "b1/(1 + exp(b2 - b3*x))^(1/b4)", {"b2": (0, 20), "b3": (0.05, 5), "b4": (0.1, 10)},
        {"b1": 6.9964151270e02, "b2": 5.2771253025e00, "b3": 7.5962938329e-01, "b4": 1.2792483859e00},
        8.7864049080e03, list(range(1, 16)),
        [16.08, 33.83, 65.80, 97.20, 191.55, 326.20, 386.87, 520.53, 590.03, 651.92, 724.93, 699.56, 689.96,
         637.56, 717.41],
    ),
    "Eckerle4": (
        "b1/b2*exp(-0.5*((x - b3)/b2)^2)", {"b2": (0.5, 50), "b3": (400, 500)},
        {"b1": 1.5543827178e00, "b2": 4.0888321754e00, "b3": 4.5154121844e02}, 1.4635887487e-03,
        [400, 405, 410, 415, 420, 425, 430, 435, 436.5, 438, 439.5, 441, 442.5, 444, 445.5, 447, 448.5, 450,
         451.5, 453, 454.5, 456, 457.5, 459, 460.5, 462, 463.5, 465, 470, 475, 480, 485, 490, 495, 500],
        [0.0001575, 0.0001699, 0.0002350, 0.0003102, 0.0004917, 0.0008710, 0.0017418, 0.0046400, 0.0065895,
         0.0097302, 0.0149002, 0.0237310, 0.0401683, 0.0712559, 0.1264458, 0.2073413, 0.2902366, 0.3445623,
         0.3698049, 0.3668534, 0.3106727, 0.2078154, 0.1164354, 0.0616764, 0.0337200, 0.0194023, 0.0117831,
         0.0074357, 0.0022732, 0.0008800, 0.0004579, 0.0002345, 0.0001586, 0.0001143, 0.0000710],
    ),
    "MGH17": (
        "b1 + b2*exp(-x*b4) + b3*exp(-x*b5)", {"b4": (1e-4, 1.7e-2), "b5": (1.7e-2, 1.0)},
        {"b1": 3.7541005211e-01, "b2": 1.9358469127e00, "b3": -1.4646871366e00, "b4": 1.2867534640e-02,
         "b5": 2.2122699662e-02},
        5.4648946975e-05, [10 * i for i in range(33)],
        [0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751, 0.718, 0.685, 0.658,
         0.628, 0.603, 0.580, 0.558, 0.538, 0.522, 0.506, 0.490, 0.478, 0.467, 0.457, 0.448, 0.438, 0.431,
         0.424, 0.420, 0.414, 0.411, 0.406],
    ),
    "Roszman1": (
        "b1 - b2*x - arctan(b3/(x - b4))/pi", {"b3": (100, 1e4), "b4": (-400, -1)},
        {"b1": 2.0196866396e-01, "b2": -6.1953516256e-06, "b3": 1.2044556708e03, "b4": -1.8134269537e02},
        4.9484847331e-04,
        [-4868.68, -4868.09, -4867.41, -3375.19, -3373.14, -3372.03, -2473.74, -2472.35, -2469.45, -1894.65,
         -1893.40, -1497.24, -1495.85, -1493.41, -1208.68, -1206.18, -1206.04, -997.92, -996.61, -996.31,
         -834.94, -834.66, -710.03, -530.16, -464.17],
        [0.252429, 0.252141, 0.251809, 0.297989, 0.296257, 0.295319, 0.339603, 0.337731, 0.333820, 0.389510,
         0.386998, 0.438864, 0.434887, 0.427893, 0.471568, 0.461699, 0.461144, 0.513532, 0.506641, 0.505062,
         0.535648, 0.533726, 0.568064, 0.612886, 0.624169],
    ),
    "Thurber": (
        "(b1 + b2*x + b3*x^2 + b4*x^3)/(1 + b5*x + b6*x^2 + b7*x^3)",
        {"b5": (0.2, 2.0), "b6": (0.1, 1.0), "b7": (0.005, 0.2)},
        {"b1": 1.2881396800e03, "b2": 1.4910792535e03, "b3": 5.8323836877e02, "b4": 7.5416644291e01,
         "b5": 9.6629502864e-01, "b6": 3.9797285797e-01, "b7": 4.9727297349e-02},
        5.6427082397e03,
        [-3.067, -2.981, -2.921, -2.912, -2.840, -2.797, -2.702, -2.699, -2.633, -2.481, -2.363, -2.322,
         -1.501, -1.460, -1.274, -1.212, -1.100, -1.046, -0.915, -0.714, -0.566, -0.545, -0.400, -0.309,
         -0.109, -0.103, 0.010, 0.119, 0.377, 0.790, 0.963, 1.006, 1.115, 1.572, 1.841, 2.047, 2.200],
        [80.574, 84.248, 87.264, 87.195, 89.076, 89.608, 89.868, 90.101, 92.405, 95.854, 100.696, 101.060,
         401.672, 390.724, 567.534, 635.316, 733.054, 759.087, 894.206, 990.785, 1090.109, 1080.914, 1122.643,
         1178.351, 1260.531, 1273.514, 1288.339, 1327.543, 1353.863, 1414.509, 1425.208, 1421.384, 1442.962,
         1464.350, 1468.705, 1447.894, 1457.628],
    ),
}  # fmt: skip


def digits(found, certified):
    """Agreeing digits: -log10 of the relative error, at most 11 (as many as are certified)."""
    error = abs(found - certified) / abs(certified)
    return 11.0 if error == 0 else min(11.0, -math.log10(error))


@pytest.fixture(params=PROBLEMS, ids=PROBLEMS)
def solved(request):
    text, ranges, certified, total, x, y = PROBLEMS[request.param]
    problem = Problem.of(Expression(text, ranges), np.array(x, dtype=float), np.array(y, dtype=float))
    return problem, engine.solve(problem), certified, total


def test_six_certified_digits(solved, record_property):
    problem, solution, certified, total = solved
    found = problem.coefficients(solution.theta)
    assert set(found) == set(certified)
    agreement = {name: digits(found[name], certified[name]) for name in certified}
    record_property("digits", min(agreement.values()))
    assert min(agreement.values()) >= 6, agreement
    assert digits(solution.sse, total) >= 6
    assert solution.at_edge == ()
    assert math.isfinite(diagnostics.condition(problem, solution))


def test_the_derivatives_of_a_formula_are_exact(solved):
    problem, solution, _, _ = solved
    box = problem.law.search_box(problem.span)
    theta = solution.theta + 0.01 * (box[:, 1] - box[:, 0])
    exact = problem.law.design_gradient(theta, problem.x, problem.span)
    for i, step in enumerate(np.eye(len(theta))):
        h = 1e-5 * max(1.0, abs(theta[i])) * step
        ahead, behind = (problem.law.design(theta + s * h, problem.x, problem.span) for s in (1, -1))
        numeric = (ahead - behind) / (2 * h[i])
        np.testing.assert_allclose(exact[i], numeric, rtol=2e-4, atol=1e-7 * max(1.0, np.abs(numeric).max()))
