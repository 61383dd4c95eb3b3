"""Laws of the literature: the fit finds the curve that points were made of, by name and typed, and with some fixed."""

import numpy as np
import pytest

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.solve import engine
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.laws._published import Published

# Such as the papers print, or of their size.
COEFFICIENTS = {
    "broken-power": {"a": 0.5, "b": 2.0, "c0": 0.1, "c1": 0.8, "d1": 20.0, "f1": 0.3},
    "data-constrained": {"A": 521.0, "B": 1488.0, "alpha": 0.353, "beta": 0.353, "E": 1.87, "R_D": 15.4, "R_N": 5.3},
    "efficiency-leverage": {
        "a": 1.23, "d": -0.0761, "gamma": 0.0167, "beta": -0.117, "A_start": 0.0163, "A_max": 30.0,
    },
    "fine-grained-moe": {
        "a": 18.1, "alpha": 0.115, "b": 30.8, "beta": 0.147, "g": 2.1, "gamma": 0.58, "c": 0.47,
    },
    "joint-moe": {
        "a": 35.0, "alpha": -0.18, "gamma": 0.005, "delta": -0.2, "b": 30.0, "beta": -0.15, "zeta": -0.003,
        "omega": 0.1, "c": 1.2, "E_start": 2.0, "E_max": 290.0,
    },
    "loss-to-error": {"eps": 0.85, "k": 2.08, "gamma": 0.756},
    "loss-to-loss": {"K": 0.9, "kappa": 1.08, "E_0": 1.97, "E_1": 2.12},
    "moe-sparsity": {
        "a": 400.0, "alpha": 0.34, "b": 600.0, "beta": 0.3, "c": 0.2, "lam": -0.8, "d": 30.0, "delta": 0.3,
        "gamma": 0.25, "E": 1.5,
    },
    "over-training": {"E": 1.5, "a": 114.0, "b": 153.0, "beta": 0.242},
    "parallel": {"E": 1.29, "A": 1.97e8, "alpha": 0.196, "k": 0.334},
    "precision": {
        "A": 4299.0, "alpha": 0.4965, "B": 18060.0, "beta": 0.4965, "E": 2.76, "gamma_w": 2.67, "gamma_a": 2.21,
        "gamma_kv": 0.96,
    },
    "routed": {"a": -0.083, "b": -0.126, "c": 0.012, "d": 1.111, "E_start": 1.88, "E_max": 470.0},
    "sae": {"alpha": -0.5, "beta_k": 0.26, "beta_n": -0.017, "gamma": -0.042, "zeta": -1.32, "eta": -0.085},
    "shape": {
        "E": 1.5, "A": 4.3, "alpha": 0.245, "B": 0.92, "beta": 0.387, "C": 2893.0, "gamma": 0.5, "G": 23376.0,
        "zeta": 0.476,
    },
    "sparse-activation": {"E": 1.86, "B": 0.01, "C": 1.89, "alpha": 0.1, "beta": 0.05},
    "weight-sparsity": {
        "a_S": 16.8, "b_S": 0.722, "c_S": 45.0, "b_N": 0.245, "a_D": 6.9e8, "b_D": 0.203, "c": 0.651,
    },
}  # fmt: skip
LAWS = [name for name in registry.names("laws") if isinstance(registry.load("laws", name).LAW, Published)]


def planted(law, values, points=160):
    """Points of a law without noise, spread over what studies had."""
    generator = np.random.default_rng(3)
    columns = [np.exp(generator.uniform(*np.log(variable.studied), size=points)) for variable in law.inputs]
    x = columns[0] if len(columns) == 1 else np.stack(columns, axis=1)
    if law.name == "data-constrained":
        x[:, 2] = x[:, 1] / generator.integers(1, 40, size=points)
    return x, law.predict(values, x)


def test_every_published_law_is_planted():
    printed = {name: {parameter.name for parameter in load_law(name).parameters} for name in LAWS}
    assert printed == {name: set(values) for name, values in COEFFICIENTS.items()}


@pytest.mark.parametrize("name", LAWS)
def test_the_curve_is_found_again_by_name_and_typed(name):
    named = load_law(name)
    typed = load_law(named.typed)
    x, y = planted(named, COEFFICIENTS[name])
    solutions = [engine.solve(Problem.of(law, x, y)) for law in (named, typed)]
    for law, solution in zip((named, typed), solutions, strict=True):
        values = Problem.of(law, x, y).coefficients_of(solution)
        np.testing.assert_allclose(law.predict(values, x), y, rtol=2e-3)
    assert solutions[0].sse == pytest.approx(solutions[1].sse, rel=1e-9, abs=1e-18)


def test_coefficients_of_a_published_law_can_be_fixed_tied_and_bounded():
    fixed = ("A=521.0", "B=1488.0", "alpha=0.353", "beta=0.353", "E=1.87")
    law = load_law("; ".join(("data-constrained", *fixed)))
    assert [parameter.name for parameter in law.parameters] == ["R_D", "R_N"]
    x, y = planted(load_law("data-constrained"), COEFFICIENTS["data-constrained"])
    values = Problem.of(law, x, y).coefficients_of(engine.solve(Problem.of(law, x, y)))
    assert values == pytest.approx({"R_D": 15.4, "R_N": 5.3}, rel=1e-3)
    assert load_law(law.name).name == law.name
    tied = load_law("precision; beta=alpha; gamma_kv=gamma_w")
    assert {"beta", "gamma_kv"}.isdisjoint({parameter.name for parameter in tied.parameters})
    with pytest.raises(SparsityLabError, match="no coefficient"):
        load_law("precision; nothing=1.0")
