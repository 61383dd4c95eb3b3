"""Laws of several inputs: the Chinchilla points, the robust objective, reading at the door."""

import json

import numpy as np
import pytest

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.data.columns import Columns
from sparsity_lab.fitting.data.series import read_series
from sparsity_lab.fitting.fit_table import fit_table
from sparsity_lab.fitting.solve import engine, newton
from sparsity_lab.fitting.solve.objective import HUBER
from sparsity_lab.fitting.solve.packed import Packing
from sparsity_lab.fitting.solve.problem import Problem
from sparsity_lab.fitting.solved import solve_and_judge
from sparsity_lab.fitting.spec import FitSpec
from sparsity_lab.laws.average_parameters import average_parameters
from sparsity_lab.store import bundled
from tests.fitting.points import series_of

LAW = registry.load("laws", "loss-power").LAW
COLUMNS = Columns(("params", "tokens"), "loss", exclude="epoch_excluded")
PLAIN = Columns(("n", "d"), "l")


def read(path, columns=PLAIN, law=None):
    """The one series of a table of several inputs."""
    (series,) = read_series(path, mapping=columns, law=law)
    return series


@pytest.fixture(scope="module")
def chinchilla():
    return read(bundled.path("chinchilla"), COLUMNS)


def huber_sum(problem, values, delta=1e-3):
    """Written anew: the sum of Huber losses on the logarithm of loss."""
    size = np.abs(np.log(problem.y) - np.log(problem.law.predict(values, problem.x)))
    return float(np.where(size <= delta, size**2 / 2, delta * (size - delta / 2)).sum())


def test_the_chinchilla_objective_is_reached(chinchilla):
    assert len(chinchilla.y) == 240
    problem = Problem.of(LAW, chinchilla.x, chinchilla.y, objective=HUBER)
    found = engine.solve(problem)
    values = problem.coefficients_of(found)
    assert found.objective <= 1.0183e-3
    assert huber_sum(problem, values) == pytest.approx(found.objective, rel=1e-9)
    assert found.starts_at_best == found.starts
    expected = {"a": 477.8, "b": 2143, "E": 1.8172, "alpha": 0.3473, "beta": 0.3672}
    assert values == pytest.approx(expected, rel=1e-3)
    published = {"a": 482.01, "b": 2085.43, "E": 1.8172, "alpha": 0.3478, "beta": 0.3658}
    assert huber_sum(problem, published) == pytest.approx(1.0228e-3, rel=1e-4)


def test_the_robust_gradient_is_the_derivative(chinchilla):
    packing = Packing.of(Problem.of(LAW, chinchilla.x, chinchilla.y, objective=HUBER), 11)
    vector = packing.pack(np.log([0.3, 0.4]), np.array([1.7, 1.0, 1.2]))
    steps = 1e-6 * np.eye(5)
    place = newton.ResidualPlace.of(packing, np.concatenate([vector[None], vector + steps, vector - steps]))
    assert place.gradient[0] == pytest.approx((place.value[1:6] - place.value[6:]) / 2e-6, rel=1e-4)


@pytest.mark.long
def test_an_outlier_hardly_moves_a_robust_fit():
    generator = np.random.default_rng(0)
    x = np.exp(generator.uniform(np.log([1e8, 1e9]), np.log([1e10, 1e11]), size=(60, 2)))
    truth = {"alpha": 0.35, "beta": 0.37, "a": 480.0, "b": 2100.0, "E": 1.8}
    y = LAW.predict(truth, x) * np.exp(generator.normal(0, 1e-3, 60))
    spoiled = y.copy()
    spoiled[7] *= 1.5
    fits = [
        solve_and_judge(series_of(LAW, x, values), LAW, FitSpec(robust=huber), comparison=None)
        for values, huber in ((y, True), (spoiled, True), (spoiled, False))
    ]
    clean, robustly, plainly = (fit.values["E"] for fit in fits)
    assert abs(robustly - clean) < 0.02
    assert abs(plainly - 1.8) > 2 * abs(robustly - 1.8)


def test_the_interval_of_a_known_ladder_holds_its_truth(tmp_path):
    generator = np.random.default_rng(3)
    x = np.exp(generator.uniform(np.log([1e8, 1e9]), np.log([1e10, 1e11]), size=(60, 2)))
    truth = {"alpha": 0.35, "beta": 0.37, "a": 480.0, "b": 2100.0, "E": 1.8}
    y = LAW.predict(truth, x) * np.exp(generator.normal(0, 3e-3, 60))
    rows = [f"{float(a)!r},{float(b)!r},{float(c)!r}" for (a, b), c in zip(x, y, strict=True)]
    (tmp_path / "t.csv").write_text("n,d,l\n" + "\n".join(rows) + "\n", encoding="utf-8")
    (fit,) = fit_table(
        tmp_path / "t.csv", mapping=PLAIN, spec=FitSpec(draws=60), output=tmp_path / "out", plots=False
    )
    for name, (value, low, high) in {
        k: (c.value, c.low, c.high) for k, c in fit.coefficients.items()
    }.items():
        assert low < value < high
        assert low - 0.5 * (high - low) < truth[name] < high + 0.5 * (high - low)
    (entry,) = json.loads((tmp_path / "out" / "fits.json").read_text(encoding="utf-8"))
    assert entry["coefficients"]["E"]["value"] == fit.values["E"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("n,d\n1,2\n", "no column 'l'"),
        ("n,d,l\n1,2,3\n1,-2,3\n", "row 3, column 'd': '-2'"),
        ("n,d,l\n1,2,lots\n", "row 2, column 'l': 'lots'"),
        ("n,d,l\n", "no rows"),
    ],
)
def test_faulty_tables(tmp_path, text, told):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(SparsityLabError, match=told):
        read(tmp_path / "t.csv")


def test_a_law_of_another_number_of_inputs(tmp_path):
    with pytest.raises(SparsityLabError, match=r"has 1 input.*names 2 column"):
        fit_table("chinchilla", mapping=COLUMNS, spec=FitSpec(law="power"), output=tmp_path / "out")


def test_the_mean_parameters_of_a_pruning_schedule():
    assert average_parameters([0, 25, 75, 100], [8e8, 8e8, 4e8, 4e8]) == pytest.approx(6e8)
    assert average_parameters([0, 10], [5e8, 5e8]) == pytest.approx(5e8)


@pytest.mark.parametrize(
    "order",
    [
        ["tokens", "params"],
        ["params", "flops"],
        ["params", "loss"],
        ["tokens_b", "D (1e9)"],
        ["D", "N"],
        ["D", "size"],
    ],
)
def test_columns_in_the_place_of_another_input_are_refused(tmp_path, order):
    header = [*order, "y"]
    (tmp_path / "t.csv").write_text(",".join(header) + "\n1e9,2e9,3\n", encoding="utf-8")
    with pytest.raises(SparsityLabError, match="is in the place of"):
        read(tmp_path / "t.csv", Columns(tuple(order), "y"), LAW)


@pytest.mark.parametrize(
    "y", ["bpb", "loss (bits/byte)", "bits_per_char", "ppl", "eval/perplexity", "loss_per_byte"]
)
def test_what_is_no_loss_per_token_is_read_only_where_that_is_said(tmp_path, y):
    (tmp_path / "t.csv").write_text(f"N,D,{y}\n1e8,2e9,3\n", encoding="utf-8")
    with pytest.raises(SparsityLabError, match="in the place of loss, in nats per token"):
        read(tmp_path / "t.csv", Columns(("N", "D"), y), LAW)
    assert read(tmp_path / "t.csv", Columns(("N", "D"), y, unit=(f"{y}=nats",)), LAW).y.tolist() == [3.0]


@pytest.mark.parametrize("word", ["true", "TRUE", "True ", "1", "yes", "y"])
def test_rows_to_leave_out_are_known_by_any_word_for_true(tmp_path, word):
    text = f"n,d,l,bad\n1,2,3,false\n1,3,3,{word}\n1,4,3,\n1,5,3,0\n"
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    series = read(tmp_path / "t.csv", Columns(("n", "d"), "l", exclude="bad"))
    assert (len(series.y), series.left_out) == (3, 1)


@pytest.mark.parametrize("word", ["excluded", "2", "maybe", "nan"])
def test_a_word_that_is_neither_true_nor_false_is_refused(tmp_path, word):
    (tmp_path / "t.csv").write_text(f"n,d,l,bad\n1,2,3,\n1,3,3,{word}\n", encoding="utf-8")
    with pytest.raises(SparsityLabError, match="row 3, column 'bad'"):
        read(tmp_path / "t.csv", Columns(("n", "d"), "l", exclude="bad"))
