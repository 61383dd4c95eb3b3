"""Sparse products against dense float64 ones."""

import math

import pytest
import torch

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.kernels.sparse_down import neuron_major, sparse_down
from tests.kernels.cases import BACKENDS, DTYPES

EPSILON = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}


def case(generator, batch, F, d, dtype, device, sparsity=0.7):
    a = torch.randn(batch, F, generator=generator)
    a = a.where(torch.rand(batch, F, generator=generator) > sparsity, 0.0)
    W_d = torch.randn(d, F, generator=generator) / math.sqrt(F)
    return a.to(device, dtype), W_d.to(device, dtype)


def agree(got, a, W_d):
    true, size = a.double() @ W_d.double().t(), a.double().abs() @ W_d.double().abs().t()
    # fp32 summation in any order, then one rounding to the dtype (fp16 loses more below its normals).
    bound = (a.shape[1] + 8) * 2.0**-24 * size + 1.01 * EPSILON[a.dtype] * true.abs() + 2.0**-24
    assert got.dtype == a.dtype
    assert (got.double() - true).abs().le(bound).all()


@pytest.mark.thorough(12)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize("shape", [(1, 1), (172, 63), (1023, 40)], ids=str)
def test_products_are_the_dense_ones(backend, dtype, batch, shape, generator, device):
    a, W_d = case(generator, batch, *shape, dtype, device)
    agree(sparse_down(a, neuron_major(W_d), backend=backend), a, W_d)


@pytest.mark.thorough
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch", [1, 4])
def test_thresholds_and_layouts(backend, batch, generator, device):
    a, W_d = case(generator, batch, 300, 50, torch.bfloat16, device, sparsity=0.0)
    tau = torch.rand(300, generator=generator).to(device)
    tau[::4] = a[0, ::4].float().abs()  # ties are dropped
    kept = a.where(~(a.float().abs() <= tau), 0.0)
    got = sparse_down(a, neuron_major(W_d), tau, backend=backend)
    agree(got, kept, W_d)
    assert torch.equal(sparse_down(a, W_d, tau, backend=backend), got)
    assert torch.equal(sparse_down(a.repeat_interleave(2, 1)[:, ::2], W_d, tau, backend=backend), got)


@pytest.mark.thorough
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch", [1, 2])
def test_what_is_not_needed_is_not_read(backend, batch, generator, device):
    a, W_d = case(generator, batch, 200, 30, torch.float32, device)
    idle = (a == 0).all(dim=0)
    assert idle.any()
    spoiled = W_d.masked_fill(idle[None], math.nan)
    agree(sparse_down(a, neuron_major(spoiled), backend=backend), a, W_d)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_reaches_the_output_zeros_and_nothing_do_not_fail(backend, device):
    W_d = torch.ones(5, 20, device=device)
    a = torch.zeros(1, 20, device=device)
    assert sparse_down(a, W_d, backend=backend).tolist() == [[0.0] * 5]
    assert sparse_down(a[0], W_d, backend=backend).shape == (5,)
    a[0, 3] = math.nan
    assert sparse_down(a, W_d, torch.ones(20, device=device), backend=backend).isnan().all()
    assert sparse_down(torch.zeros(0, 20, device=device), W_d, backend=backend).shape == (0, 5)
    assert sparse_down(torch.zeros(1, 0, device=device), W_d[:, :0], backend=backend).tolist() == [[0.0] * 5]


def test_misfits_are_told_in_a_sentence():
    with pytest.raises(SparsityLabError, match="9 tokens, at most 8"):
        sparse_down(torch.ones(9, 4), torch.ones(3, 4))
    with pytest.raises(SparsityLabError, match=r"W_d is \[3, 5\] in torch\.float32, expected \[d, 4\]"):
        sparse_down(torch.ones(1, 4), torch.ones(3, 5))
