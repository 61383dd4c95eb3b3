"""The mask when applying is the mask when calibrating, to the last bit."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sparsity_lab.measure.thresholds.tau import narrowed, tau

LARGEST = float(torch.finfo(torch.float32).max)
POSITIVE = st.floats(min_value=0.0, max_value=LARGEST, width=32)
NARROW = (torch.bfloat16, torch.float16)


def every(dtype):
    """All finite values of a 16-bit dtype."""
    values = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    return values[values.isfinite()]


def dropped_when_calibrating(a, weights, eps):
    """fp32(|a|) * fp32(w) <= eps, in float32 and nowhere else."""
    return a.float().abs() * weights <= torch.tensor(eps, dtype=torch.float32)


@given(POSITIVE, st.lists(POSITIVE, min_size=1, max_size=8))
@example(1.401298464324817e-45, [0.0625, 3.0, 1e-30])
@settings(max_examples=400, deadline=None, derandomize=True)
@pytest.mark.long
def test_tau_is_the_largest_activation_that_is_dropped(eps, weights):
    weights = torch.tensor(weights, dtype=torch.float32)
    found = tau(eps, weights)
    limit = torch.tensor(eps, dtype=torch.float32)
    assert not found.isnan().any()
    finite = found.isfinite()
    assert bool((found[finite] * weights[finite] <= limit).all()) or eps == 0.0
    higher = torch.nextafter(found, torch.full_like(found, float("inf")))
    above = higher[finite] * weights[finite]
    # At eps = 0 only exact zeros are dropped, products that underflow are not.
    assert bool((above > limit).all()) or eps == 0.0
    assert bool((found[~finite] == float("inf")).all())
    assert bool((weights[~finite] == 0).all())


@pytest.mark.thorough(5)
@pytest.mark.parametrize("seed", range(20))
def test_the_masks_are_one_in_float32(seed):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(64, generator=generator) * 10.0 ** float(
        torch.randint(-6, 7, (), generator=generator)
    )
    a = torch.randn(500, 64, generator=generator)
    scores = a.abs() * weights
    for eps in scores.flatten()[:50].tolist():  # a score that occurs, so that <= and < differ
        limit = tau(eps, weights)
        assert torch.equal(a.abs() <= limit, dropped_when_calibrating(a, weights, eps))
        assert bool((a.abs() <= limit).flatten()[scores.flatten() == eps].all())


@pytest.mark.thorough(5)
@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("eps", [0.0, 1e-38, 3e-7, 1e-3, 0.1, 1.0, 7.3, 6e4, 1e5, 3e38])
def test_the_masks_are_one_for_every_16_bit_activation(dtype, eps):
    eps = float(torch.tensor(eps, dtype=torch.float32))
    a = every(dtype)
    generator = torch.Generator().manual_seed(1)
    weights = torch.cat([torch.tensor([0.0, 1.0, 2.0**-14, 3.0]), torch.rand(12, generator=generator) * 20])
    limits = narrowed(tau(eps, weights), dtype)
    assert limits.dtype == dtype
    for weight, limit in zip(weights, limits, strict=True):
        expected = dropped_when_calibrating(a, weight, eps)
        if eps == 0.0:  # a product that underflows is no zero
            expected = (a == 0) | (weight == 0)
        assert torch.equal(a.abs() <= limit, expected), float(weight)


@pytest.mark.parametrize("dtype", NARROW, ids=str)
@given(POSITIVE)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_narrowing_rounds_down(dtype, threshold):
    exact = torch.tensor([threshold], dtype=torch.float32)
    found = narrowed(exact, dtype)
    assert float(found) <= threshold
    above = torch.nextafter(found, torch.full_like(found, float("inf")))
    assert float(above) > threshold


def test_float32_is_left_as_it_is():
    limits = torch.tensor([0.1, 0.2])
    assert narrowed(limits, torch.float32) is limits
