"""Errors of scores against closed forms; draws are compared with the same stream of random numbers."""

import numpy as np
import pytest

from sparsity_lab.fitting.density.scores.benchmarks import benchmark
from sparsity_lab.fitting.density.scores.score_errors import (
    SourceSpread,
    error_draws,
    mean_error_draws,
    one_sigma,
)
from sparsity_lab.fitting.density.scores.targets import Target, TaskScore

ALONE = SourceSpread({})


def normals(count, *, skipped=0):
    return np.random.default_rng(0).standard_normal(skipped + count)[skipped:]


def draws(score, task="no such benchmark", *, spread=ALONE, count=50):
    return error_draws(score, task=task, spread=spread, count=count, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("score", "share", "questions"),
    [
        (TaskScore(0.0, questions=100), 1 / 102, 100),
        (TaskScore(1.0, questions=100), 101 / 102, 100),
        (TaskScore(0.25, questions=98), 25.5 / 100, 98),
    ],
)
def test_the_sampling_error_has_a_success_and_a_failure_more(score, share, questions):
    np.testing.assert_allclose(draws(score), np.sqrt(share * (1 - share) / questions) * normals(50))


def test_where_the_sampling_error_comes_from():
    np.testing.assert_allclose(draws(TaskScore(0.5, questions=100, se=0.07)), 0.07 * normals(50))
    questions = benchmark("MMLU").questions
    share = (0.3 * questions + 1) / (questions + 2)
    np.testing.assert_allclose(
        draws(TaskScore(0.3), "MMLU"), np.sqrt(share * (1 - share) / questions) * normals(50)
    )
    assert not draws(TaskScore(0.3)).any()


def test_the_error_of_a_mean_is_the_mean_of_the_errors():
    scores = {"b": TaskScore(0.5, se=0.04), "a": TaskScore(0.5, se=0.03)}
    mean = mean_error_draws(scores, spread=ALONE, count=50, rng=np.random.default_rng(0))
    np.testing.assert_allclose(mean, (0.03 * normals(50) + 0.04 * normals(50, skipped=50)) / 2)


def test_sources_that_disagree():
    """Draws are the differences to the value in use with either sign, all equally often."""
    target = Target("m", "f", 1e9, {"x": TaskScore(0.5, (0.52, 0.49), se=0.0)})
    values, counts = np.unique(np.round(draws(target.scores["x"], count=8000), 9), return_counts=True)
    assert list(values) == [-0.02, -0.01, 0.01, 0.02]
    np.testing.assert_allclose(counts, 2000, atol=160)  # four standard errors

    for cells, known in ((4, False), (5, True)):  # ten differences are needed
        spread = SourceSpread.of([target] * cells)
        assert set(spread.by_task) == ({"x"} if known else set())
        of_one_source = draws(TaskScore(0.7, (0.7,), se=0.0), "x", spread=spread, count=500)
        expected = [-0.02, -0.01, 0.01, 0.02] if known else [0]
        assert list(np.unique(np.round(of_one_source, 9))) == expected
    assert not SourceSpread.of([Target("m", "f", 1e9, {"x": TaskScore(0.5, (0.6,))})] * 20).by_task
    of_two_sources = draws(TaskScore(0.7, (0.7, 0.75), se=0.0), "x", spread=spread, count=500)
    assert list(np.unique(np.round(of_two_sources, 9))) == [-0.05, 0, 0.05]


def test_one_sigma_holds_68_percent_of_the_draws():
    assert one_sigma(np.linspace(-1, 1, 20001)) == pytest.approx(0.6827, abs=1e-4)
    assert one_sigma(np.random.default_rng(0).standard_normal(200_000)) == pytest.approx(1, abs=0.01)
