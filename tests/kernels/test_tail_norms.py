"""Tail norms against masks and float64 products written out one threshold at a time."""

import math

import pytest
import torch

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.kernels.tail_norms import tail_norms
from tests.kernels.cases import BACKENDS, DTYPES

SHAPES = [(1, 1, 1, 1), (63, 172, 33, 5), (5, 1023, 64, 16), (130, 63, 17, 2)]  # tokens, F, d, T


def slow(a, w, W_d, edges):
    """One mask and one float64 product for each edge; the score in fp32, as defined."""
    score = a.float().abs() * w.float()
    kept = torch.stack([a.double().where((score <= e) & score.isfinite(), 0.0) for e in edges.float()])
    return (kept @ W_d.double().nan_to_num(0.0, 0.0, 0.0).t()).norm(dim=-1).t()


def bound(a, w, W_d, edges):
    """fp32 summation: |error| <= F 2^-24 sum |a_i| |W_d[:, i]|, with room for other orders of summing."""
    a, W_d = a.double().nan_to_num(0, 0, 0).abs(), W_d.double().nan_to_num(0, 0, 0).abs()
    terms = a.shape[1] + W_d.shape[0] + 8
    return (terms * 2.0**-24 * slow(a.float(), w, W_d, edges)).nan_to_num(0.0) + 1e-30


def case(generator, tokens, F, d, T, dtype, device, sparse=False):
    a = torch.randn(tokens, F, generator=generator) * torch.randn(tokens, F, generator=generator)
    a = (a - 1).relu() if sparse else a
    W_d = torch.randn(d, F, generator=generator) / math.sqrt(F)
    a, W_d = a.to(device, dtype), W_d.to(device, dtype)
    w = W_d.float().norm(dim=0)
    top = float((a.float().abs() * w).max())
    return a, w, W_d, torch.logspace(-4, math.log10(top) if top > 0 else 0.0, T).to(device)


def agree(got, a, w, W_d, edges):
    assert got.dtype == torch.float32
    assert got.shape == (a.shape[0], len(edges))
    assert (got.double() - slow(a, w, W_d, edges)).abs().le(bound(a, w, W_d, edges)).all()


@pytest.mark.thorough(6)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.long
def test_norms_are_those_of_the_tails(backend, dtype, shape, generator, device):
    args = case(generator, *shape, dtype, device)
    agree(tail_norms(*args, backend=backend), *args)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.long
def test_sparse_activations_leave_columns_out_and_change_nothing(backend, generator, device):
    args = case(generator, 70, 300, 40, 8, torch.float32, device, sparse=True)
    agree(tail_norms(*args, backend=backend), *args)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_score_equal_to_an_edge_is_in_its_tail(backend, device):
    a = torch.tensor([[1.0, -2.0, 4.0, 0.0]], device=device)
    W_d = torch.eye(4, device=device)
    edges = torch.tensor([0.5, 1.0, 2.0, 3.0, 4.0], device=device)
    got = tail_norms(a, torch.ones(4, device=device), W_d, edges, backend=backend)
    assert got.tolist() == [pytest.approx([0, 1, 5**0.5, 5**0.5, 21**0.5], rel=1e-6)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_non_finite_scores_are_in_no_tail(backend, generator, device):
    a, w, W_d, edges = case(generator, 20, 50, 9, 4, torch.float32, device)
    a[3, 7], a[4, 8], a[5, 9] = math.nan, math.inf, -math.inf
    w[11], W_d[2, 11] = math.nan, math.nan
    w[12], W_d[1, 12] = math.inf, -math.inf
    edges[-1] = math.inf
    got = tail_norms(a, w, W_d, edges, backend=backend)
    assert got.isfinite().all()
    agree(got, a, w, W_d, edges)


@pytest.mark.parametrize("backend", BACKENDS)
def test_zeros_and_nothing_give_zeros_and_nothing(backend, device):
    W_d, w, edges = (
        torch.ones(3, 6, device=device),
        torch.ones(6, device=device),
        torch.ones(2, device=device),
    )
    zero = tail_norms(torch.zeros(4, 6, device=device), w, W_d, edges, backend=backend)
    assert torch.equal(zero, torch.zeros(4, 2, device=device))
    assert tail_norms(torch.zeros(0, 6, device=device), w, W_d, edges, backend=backend).shape == (0, 2)
    assert tail_norms(torch.zeros(4, 6, device=device), w, W_d, edges[:0], backend=backend).shape == (4, 0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.long
def test_strided_arguments_and_leading_dimensions(backend, generator, device):
    a, w, W_d, edges = case(generator, 40, 96, 24, 3, torch.bfloat16, device)
    expected = tail_norms(a, w, W_d, edges, backend=backend)
    wide = torch.full((40, 193), math.nan, dtype=a.dtype, device=device)
    wide[:, 1::2] = a
    strided = wide[:, 1::2]
    w_strided, W_strided = w.repeat_interleave(2)[::2], W_d.t().contiguous().t()
    got = tail_norms(strided, w_strided, W_strided, edges, backend=backend)
    assert torch.equal(got, expected)
    assert torch.equal(tail_norms(a.view(5, 8, 96), w, W_d, edges, backend=backend), expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_finer_than_the_activations_are_not_rounded(backend, generator, device):
    a, w, W_d, edges = case(generator, 33, 70, 20, 4, torch.float32, device)
    args = a.bfloat16(), w, W_d, edges
    agree(tail_norms(*args, backend=backend), *args)


def test_more_tokens_than_a_block_are_cut_into_blocks(generator, device):
    args = case(generator, 600, 40, 8, 3, torch.float32, device)
    agree(tail_norms(*args, backend="torch"), *args)


def test_misfits_are_told_in_a_sentence(device):
    a, w, W_d = torch.ones(2, 4), torch.ones(4), torch.ones(3, 5)
    with pytest.raises(SparsityLabError, match=r"W_d has shape \[3, 5\], expected \[d, 4\]"):
        tail_norms(a, w, W_d, torch.ones(1))
    with pytest.raises(SparsityLabError, match=r"w has shape \[3\]"):
        tail_norms(a, torch.ones(3), torch.ones(3, 4), torch.ones(1))
    with pytest.raises(SparsityLabError, match=r"torch\.int64"):
        tail_norms(a.long(), w, W_d, torch.ones(1))
