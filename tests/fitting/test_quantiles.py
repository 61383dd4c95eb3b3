"""Quantiles and tails: those of scipy.stats, to the last digit."""

import numpy as np
import pytest
from scipy import stats

from sparsity_lab.fitting import quantiles

SHARES = (0.9, 0.95, 0.975, 0.99)


@pytest.mark.parametrize("freedom", [1, 2, 5, 11, 38, 400])
def test_they_are_those_of_scipy_stats(freedom):
    for share in SHARES:
        assert quantiles.t_quantile(share, freedom) == stats.t.ppf(share, freedom)
        assert quantiles.chi_squared_quantile(share, freedom) == stats.chi2.ppf(share, freedom)
        assert quantiles.normal_quantile(share) == stats.norm.ppf(share)
        for above in (1, 2, 3):
            assert quantiles.f_quantile(share, above, freedom) == stats.f.ppf(share, above, freedom)
    for value in np.random.default_rng(freedom).gamma(2.0, 2.0, 20).tolist():
        assert quantiles.t_tail(value, freedom) == stats.t.sf(value, freedom)
        for above in (1, 2, 3):
            assert quantiles.f_tail(value, above, freedom) == stats.f.sf(value, above, freedom)
