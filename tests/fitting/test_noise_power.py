"""Noise whose variance is a power of the curve: found, told, and with intervals that hold."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.data.series import Columns
from sparsity_lab.fitting.fit_table import fit_table
from sparsity_lab.fitting.laws_by_name import load_law
from sparsity_lab.fitting.locks import check, lock_file
from sparsity_lab.fitting.locks.since import since
from sparsity_lab.fitting.solve import engine
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.fitting.solve.variance import power_noise
from sparsity_lab.fitting.solved import noise_of, solve_and_judge
from sparsity_lab.fitting.spec import FitSpec
from sparsity_lab.fitting.uncertainty import noise
from sparsity_lab.fitting.uncertainty.intervals import Wanted, intervals
from tests.fitting.points import series_of

LAW = load_law("power")
TRUTH = {"alpha": 0.6, "c": -4.0, "A0": 0.2}
POWER = FitSpec(law="power", rivals=("constant",), noise="power", draws=0)


def falling(count, *, power=1.0, share=0.04, seed=0):
    """A loss-like curve that falls twentyfold, with noise that goes with a power of it."""
    x = np.geomspace(1, 300, count)
    curve = LAW.predict(TRUTH, x)
    return x, curve + share * curve**power * np.random.default_rng([seed, count]).normal(size=count)


def alpha_of(problem, *, found):
    solution = engine.solve(problem)
    scale = noise.scale_of(problem, solution)
    wanted = Wanted(names=("alpha",), curves=False)
    return intervals(problem, solution, noise.weights_found(scale) if found else scale, wanted).profiles[
        "alpha"
    ]


@pytest.mark.long
def test_intervals_hold_the_exponent_more_often_than_those_of_even_noise():
    """Of a loss that falls a hundredfold; with even noise about 60 of 100 hold it."""
    held, powers, sets = np.zeros(2), [], 40
    truth, x = {"alpha": 1.0, "c": -10.0, "A0": 0.05}, np.geomspace(1, 1000, 30)
    curve = LAW.predict(truth, x)
    for seed in range(sets):
        y = curve * (1.0 + 0.05 * np.random.default_rng([seed, 30]).normal(size=30))
        even = Problem.of(LAW, x, y)
        model = power_noise(even)
        powers.append(model.power)
        weighted = Problem.of(LAW, x, y, root_weights=1.0 / model.sizes)
        ends = [alpha_of(even, found=False), alpha_of(weighted, found=True)]
        held += [each.low <= truth["alpha"] <= each.high for each in ends]
    assert np.mean(powers) == pytest.approx(1.0, abs=0.1)
    assert held[1] >= 0.88 * sets  # of 0.95: fewer once in 50
    assert held[0] <= 0.8 * sets


@pytest.mark.parametrize("power", [0.0, 1.0, -1.0, 2.0])
def test_the_power_is_found_whatever_it_is(power):
    x, y = falling(120, power=power, share=0.01)
    model = power_noise(Problem.of(LAW, x, y))
    assert model.low < power < model.high < model.low + 1.0
    assert np.exp(np.mean(np.log(model.sizes))) == pytest.approx(1.0)
    again = power_noise(Problem.of(LAW, 1e6 * x, 1e-9 * y))
    assert again.power == pytest.approx(model.power, abs=1e-4)


def test_the_power_is_that_of_a_search_over_all_powers():
    """At the best power a weighted fit's residuals, over what it leaves of them, have the largest likelihood."""
    x, y = falling(24)
    model = power_noise(Problem.of(LAW, x, y))
    problem = Problem.of(LAW, x, y, root_weights=1.0 / model.sizes)
    solution = engine.solve(problem)
    curve = problem.curve(solution)
    decay = x ** -problem.coefficients_of(solution)["alpha"]
    design = np.stack([np.ones(24), decay, np.log(x) * decay])
    rows = (design / model.sizes).T
    left = 1.0 - np.diag(rows @ np.linalg.pinv(rows))
    grid = np.linspace(-3, 4, 7001)
    squares = np.log(curve) - np.mean(np.log(curve))
    heights = [np.log(np.sum((y - curve) ** 2 / left * np.exp(-2 * k * squares))) for k in grid]
    assert grid[np.argmin(heights)] == pytest.approx(model.power, abs=2e-3)


def test_uneven_noise_is_told_and_no_longer_where_it_is_modelled():
    series = series_of(LAW, *falling(40, share=0.08))
    even = solve_and_judge(series, LAW, comparison=None).verdict.checks
    assert even.spread.uneven
    assert "--noise power" in even.sentences(LAW)[-1]
    model = noise_of(LAW, series, POWER)
    judged = solve_and_judge(replace(series, noise=model.sizes), LAW, POWER, comparison=None)
    assert not judged.verdict.checks.spread.uneven
    assert "after weighting, nothing says" in judged.verdict.checks.sentences(LAW)[-1]


def table(path, *, several=False, seed=0, more=()):
    if several:
        n, d = (grid.ravel() for grid in np.meshgrid([1e7, 3e7, 1e8, 3e8, 1e9], [1e9, 3e9, 1e10, 3e10, 1e11]))
        y = (0.5 + 4e4 * n**-0.6 + 4e5 * d**-0.6) * (1 + 0.02 * np.random.default_rng(seed).normal(size=25))
        rows = zip(n, d, y, strict=True)
    else:
        x, y = falling(24, seed=seed)
        rows = [*zip(x, 2 * x, y, strict=True), *more]
    lines = [",".join(map(repr, map(float, row))) for row in rows]
    path.write_text("\n".join(["n,d,y", *lines]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.long
def test_it_is_written_locked_and_guarded(tmp_path, several):
    path = table(tmp_path / "t.csv", several=several)
    columns = Columns(("n", "d") if several else ("n",), "y", holdout="d")
    spec = FitSpec(noise="power", draws=0) if several else POWER
    (result,) = fit_table(
        path, output=tmp_path / "out", mapping=columns, spec=spec, lock="agreed", plots=False
    )
    k = result.noise.power
    assert result.noise.low < 1.0 < result.noise.high
    assert result.objective == "sum of squares weighted by 1/|f|^(2k)"
    expected = np.sum(((result.series.y - result.fitted) / result.fitted**k) ** 2)
    assert result.sse / expected == pytest.approx(
        len(result.fitted) / np.sum(result.fitted ** (-2 * k)), rel=1e-5
    )
    text = (tmp_path / "out" / "fits.md").read_text(encoding="utf-8")
    assert "its variance is taken for a power of the curve" in text
    (entry,) = json.loads((tmp_path / "out" / "fits.json").read_text(encoding="utf-8"))
    assert entry["noise"] == {"power": k, "low": result.noise.low, "high": result.noise.high}
    (place,) = (tmp_path / "out" / "locks").glob("*.toml")
    lock = lock_file.read(place)
    assert (lock.spec.noise, lock.noise_power) == ("power", k)
    (finding,) = check.check([tmp_path / "out"])
    assert finding.status == check.PASS, finding
    lock_file.write(replace(lock, noise_power=k + 0.01), place)
    (finding,) = check.check([tmp_path / "out"])
    assert finding.status == check.DRIFT
    assert "the noise goes with the curve to the power" in finding.details[0]


def test_newer_points_are_as_wide_as_the_curve_there(tmp_path):
    """Beyond the last point the curve, and the noise with it, is a fifteenth of the first."""
    columns = Columns(("n",), "y")
    path = table(tmp_path / "t.csv")
    curve = float(LAW.predict(TRUTH, np.array([600.0]))[0])
    statuses = []
    for spec in (POWER, replace(POWER, noise="even")):
        fit_table(path, output=tmp_path / spec.noise, mapping=columns, spec=spec, lock="agreed", plots=False)
        (place,) = (tmp_path / spec.noise / "locks").glob("*.toml")
        new = table(tmp_path / "new.csv", more=[(600.0, 0.0, 1.35 * curve)])
        statuses += [finding.status for finding in since([place], new)]
    assert statuses == [check.DRIFT, check.PASS]
    noise_sd = lock_file.read(next((tmp_path / "power" / "locks").glob("*.toml"))).noise_sd
    assert noise_sd == pytest.approx(0.04, rel=0.4)


def test_where_a_power_means_nothing_it_is_refused(tmp_path):
    x, y = falling(24)
    path = tmp_path / "t.csv"
    columns = Columns(("n",), "y")
    path.write_text(
        "n,y\n" + "\n".join(f"{a},{b - 1.0}" for a, b in zip(x, y, strict=True)), encoding="utf-8"
    )
    with pytest.raises(SparsityLabError, match="row 13, column 'y'") as refused:
        fit_table(path, output=tmp_path / "out", mapping=columns, spec=POWER, plots=False)
    assert "A power of it is the variance of its noise" in refused.value.why
    linear = replace(POWER, law="linear")
    with pytest.raises(SparsityLabError, match="cannot be a power of the curve of linear"):
        fit_table(table(path), output=tmp_path / "out", mapping=columns, spec=linear, plots=False)
    for other in ("robust", "log", "weighted"):
        with pytest.raises(SparsityLabError, match="exclude each other"):
            replace(POWER, **{other: True})
    with pytest.raises(SparsityLabError, match="not understood"):
        FitSpec(noise="uneven")


def test_bands_of_held_out_points_are_as_wide_as_their_own_errors(tmp_path):
    """The held-out points are twenty times less sure than those that the law is fitted to."""
    t = np.linspace(1, 100, 40)
    se = np.where(t < 72, 1e-3, 2e-2)
    y = 0.1 + 0.002 * t + se * np.random.default_rng(1).normal(size=40)
    lines = [f"{a},{b},{c}" for a, b, c in zip(t, y, se, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["t,y,se", *lines]) + "\n", encoding="utf-8")
    coverage = {}
    for weighted in (True, False):
        spec = FitSpec(law="linear", rivals=("constant",), weighted=weighted, draws=0)
        (result,) = fit_table(
            tmp_path / "t.csv", output=tmp_path / "out", spec=spec, plots=False,
            mapping=Columns(("t",), "y", se="se", holdout="t"),
        )  # fmt: skip
        coverage[weighted] = result.holdout.predictions[0].coverage
    assert coverage[True] >= 0.8
    assert coverage[False] <= 0.4
