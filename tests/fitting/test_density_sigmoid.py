"""The batched sigmoid fit against scipy's least squares, one data set at a time."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from sparsity_lab.fitting.density.rulers import sigmoid

X = np.log([0.5, 1.8, 4, 7.7, 14, 32, 72, 110])
QWEN15_MEAN = np.array([0.1592, 0.2384, 0.3068, 0.4182, 0.4646, 0.5694, 0.5806, 0.66])


def slow_fit(x, y, floor):
    """The same model by scipy, from many starts."""

    def residual(p):
        return floor + p[0] / (1 + np.exp(-p[1] * (x - p[2]))) - y

    box = ([sigmoid.SMALLEST_SPAN, 1e-3, -50], [1 - floor, 100, 50])
    starts = [(c, g, m) for c in (0.2, 0.5, 0.9) for g in (0.3, 1.0, 3.0) for m in (0.0, 2.0, 5.0)]
    fits = [least_squares(residual, [min(c, 1 - floor), g, m], bounds=box, xtol=1e-14) for c, g, m in starts]
    return min(fits, key=lambda fit: fit.cost)


def test_matches_scipy_on_a_family():
    fit, sse = sigmoid.fit(X, QWEN15_MEAN[None], floor=0.05)
    slow = slow_fit(X, QWEN15_MEAN, 0.05)
    np.testing.assert_allclose(sse[0], 2 * slow.cost, rtol=1e-6)
    np.testing.assert_allclose([fit.span[0], fit.gamma[0], fit.middle[0]], slow.x, rtol=1e-3)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.long
def test_matches_scipy_on_noisy_batches(seed):
    rng = np.random.default_rng(seed)
    truth = 0.1 + 0.7 / (1 + np.exp(-0.8 * (X - 1.5)))
    batch = truth + 0.02 * rng.standard_normal((5, len(X)))
    _, errors = sigmoid.fit(X, batch, floor=0.1)
    for row, sse in zip(batch, errors, strict=True):
        # Ours may stop a hair short of a bound that scipy reaches.
        assert sse <= 2 * slow_fit(X, row, 0.1).cost * 1.001 + 1e-9


def test_a_batch_equals_its_rows_fitted_alone():
    rng = np.random.default_rng(0)
    batch = QWEN15_MEAN + 0.01 * rng.standard_normal((7, len(X)))
    _, together = sigmoid.fit(X, batch, floor=0.05)
    alone = np.array([sigmoid.fit(X, row[None], floor=0.05)[1][0] for row in batch])
    np.testing.assert_allclose(together, alone, rtol=1e-8)


@pytest.mark.parametrize("ceiling", [None, 1.0])
def test_coordinates_that_the_data_cannot_tell_apart(ceiling):
    """Only the largest size is above chance: any steep curve through it fits, and each step is accepted.

    After a few dozen the columns of the Jacobian are multiples of one another. Whether the last pivot of a row is
    then exactly 0 is luck of rounding, so there are many rows; without a least damping a third of them met it.
    """
    ys = np.full((200, len(X)), 0.25)
    ys[:, -1] += np.random.default_rng(0).uniform(0.05, 0.5, 200)
    ys[0] = QWEN15_MEAN + 0.1
    _, together = sigmoid.fit(X, ys, floor=0.25, ceiling=ceiling)
    _, alone = sigmoid.fit(X, ys[:1], floor=0.25, ceiling=ceiling)
    assert together[0] == pytest.approx(alone[0], rel=1e-8)
    if ceiling is None:
        assert np.all(together[1:] < 1e-6)


def test_the_inverse_undoes_the_curve_and_knows_its_ends():
    curve = sigmoid.ScoreSigmoid(*np.array([[0.1], [0.6], [0.7], [2.0]]))
    x = np.array([-3.0, 0.0, 2.0, 6.0])
    np.testing.assert_allclose(curve.inverse(curve.score(x)), x, atol=1e-9)
    ends = curve.inverse(np.array([0.1, 0.05, 0.7, 0.9]))
    assert list(ends) == [-np.inf, -np.inf, np.inf, np.inf]
