"""The k-th largest score against a full sort."""

import math

import pytest
import torch

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.kernels.topk_threshold import topk_threshold
from tests.kernels.cases import BACKENDS, DTYPES


def by_sorting(scores, k):
    order = [
        sorted((math.inf if math.isnan(x) else abs(x) for x in row), reverse=True) for row in scores.tolist()
    ]
    return [row[k - 1] for row in order]


@pytest.mark.thorough(6)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (63, 172), (3, 1023)], ids=str)
@pytest.mark.long
def test_value_is_the_kth_of_a_sort(backend, dtype, shape, generator, device):
    scores = torch.randn(shape, generator=generator).to(device, dtype)
    for k in {1, max(1, shape[1] // 3), shape[1]}:
        got = topk_threshold(scores, k, backend=backend)
        assert got.dtype == torch.float32
        assert got.tolist() == by_sorting(scores, k)
        assert ((scores.float().abs() >= got[:, None]).sum(1) >= k).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_ties_zeros_nan_and_infinity(backend, device):
    scores = torch.tensor([[2.0, 2.0, 2.0, 0.0], [0.0] * 4, [math.nan, math.inf, 1.0, -3.0]], device=device)
    assert topk_threshold(scores, 2, backend=backend).tolist() == [2.0, 0.0, math.inf]
    assert topk_threshold(scores, 4, backend=backend).tolist() == [0.0, 0.0, 1.0]
    assert topk_threshold(scores, 1, backend=backend)[2].isnan()
    subnormal = torch.tensor([[1e-40, 2e-40, 3e-45]], device=device)
    assert topk_threshold(subnormal, 2, backend=backend).tolist() == [subnormal[0, 0].item()]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.long
def test_nothing_strided_and_long_rows(backend, generator, device, monkeypatch):
    assert topk_threshold(torch.zeros(0, 5, device=device), 2, backend=backend).shape == (0,)
    wide = torch.full((6, 601), math.nan, device=device)
    wide[:, 1::2] = torch.randn(6, 300, generator=generator).to(device)
    scores = wide[:, 1::2]
    assert topk_threshold(scores, 30, backend=backend).tolist() == by_sorting(scores, 30)
    if backend == "triton":  # rows longer than one program holds are read in pieces
        from sparsity_lab.kernels._triton import topk_threshold as kernel

        monkeypatch.setattr(kernel, "_LARGEST_BLOCK", 128)
        assert topk_threshold(scores, 30, backend=backend).tolist() == by_sorting(scores, 30)


@pytest.mark.parametrize("k", [0, 6])
def test_k_out_of_range_is_told(k):
    with pytest.raises(SparsityLabError, match=f"k is {k}, but a token has 5 scores"):
        topk_threshold(torch.ones(2, 5), k)
