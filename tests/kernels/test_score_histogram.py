"""Histograms against a loop over elements, and bit for bit between backends."""

import bisect
import math

import pytest
import torch

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.kernels.score_histogram import LogGrid, score_histogram
from tests.kernels.cases import BACKENDS, DTYPES

GRID = LogGrid(lowest=-6, octaves=9, splits=4)
SEARCHED = torch.tensor([0.01, 0.1, 0.35, 1.0, 7.0])


def by_elements(a, w, edges):
    """Bins, zeros, NaN and maximum, one score at a time; products in fp32."""
    bins, zeros, undefined, most = [0] * (len(edges) + 1), 0, 0, 0.0
    scores = a.float().abs() * w
    for value, score in zip(a.flatten().tolist(), scores.flatten().tolist(), strict=True):
        if value == 0:
            zeros += 1
        elif math.isnan(score):
            undefined += 1
        else:
            bins[bisect.bisect_left(edges.tolist(), score)] += 1
            most = max(most, score)
    return bins, zeros, undefined, most


def case(generator, shape, dtype, device):
    a = (torch.randn(shape, generator=generator) - 0.4).relu().mul(3).to(device, dtype)
    return a, torch.rand(shape[-1], generator=generator).to(device)


def check(got, a, w, edges):
    bins, zeros, undefined, most = by_elements(a, w, edges)
    assert got.bins.tolist() == bins
    assert (int(got.zeros), int(got.undefined), float(got.maximum)) == (zeros, undefined, most)
    assert got.bins.dtype == torch.int64


@pytest.mark.thorough(8)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("edges", [GRID, SEARCHED], ids=["grid", "searched"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (63, 172), (3, 1023)], ids=str)
def test_bins_are_those_of_a_loop_over_elements(backend, edges, dtype, shape, generator, device):
    a, w = case(generator, shape, dtype, device)
    got = score_histogram(a, w, edges, backend=backend)
    check(got, a, w, edges.edges() if edges is GRID else edges)
    assert int(got.bins.sum() + got.zeros + got.undefined) == a.numel()


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_edge_is_in_the_bin_below_it(backend, device):
    edges = GRID.edges(device)
    above = torch.nextafter(edges, torch.tensor(math.inf, device=device))
    below = torch.nextafter(edges, torch.tensor(0.0, device=device))
    for values, expected in ((edges, 0), (below, 0), (above, 1)):
        for t, value in enumerate(values.tolist()):
            one = torch.tensor([[value]], device=device)
            got = score_histogram(one, torch.ones(1, device=device), GRID, backend=backend)
            assert int(got.bins.argmax()) == t + expected
            assert float(got.maximum) == value
        if backend == "triton":
            break  # one launch an edge is slow under the interpreter; the neighbours are tested in bulk
    everything = torch.cat([edges, below, above])[None].repeat(2, 1)
    weights = torch.ones(everything.shape[1], device=device)
    check(score_histogram(everything, weights, GRID, backend=backend), everything, weights, edges)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("edges", [GRID, SEARCHED], ids=["grid", "searched"])
def test_nan_infinity_subnormals_and_zeros_have_their_places(backend, edges, device):
    a = torch.tensor([[math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-40, 3e38, 0.0, 1.0]], device=device)
    w = torch.ones(9, device=device)
    w[7], w[8] = math.inf, math.nan
    got = score_histogram(a, w, edges, neuron_threshold=1e-3, backend=backend)
    assert int(got.zeros) == 3
    assert int(got.undefined) == 2
    assert got.bins[0] == 1
    assert got.bins[-1] == 3
    assert float(got.maximum) == math.inf
    assert got.per_neuron.tolist() == [1, 1, 1, 0, 0, 0, 1, 0, 1]


@pytest.mark.thorough(3)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_neurons_are_counted_above_their_threshold(backend, dtype, generator, device):
    a, w = case(generator, (70, 33), dtype, device)
    threshold = float((a[5].float().abs() * w).max())  # a tie: equal is not above
    got = score_histogram(a, w, GRID, neuron_threshold=threshold, backend=backend)
    assert got.per_neuron.tolist() == ((a.float().abs() * w) > threshold).sum(0).tolist()
    assert score_histogram(a, w, GRID, backend=backend).per_neuron is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_zeros_and_strided_inputs(backend, generator, device):
    w = torch.rand(40, generator=generator).to(device)
    empty = score_histogram(torch.zeros(0, 40, device=device), w, GRID, backend=backend)
    assert int(empty.bins.sum() + empty.zeros) == 0
    zeros = score_histogram(torch.zeros(3, 40, device=device), w, GRID, backend=backend)
    assert (int(zeros.zeros), int(zeros.bins.sum()), float(zeros.maximum)) == (120, 0, 0.0)
    wide = torch.full((20, 81), math.nan, device=device)
    wide[:, 1::2] = torch.rand(20, 40, generator=generator).to(device)
    a = wide[:, 1::2]
    check(score_histogram(a.t().contiguous().t(), w, GRID, backend=backend), a, w, GRID.edges())
    check(score_histogram(a, w, GRID, backend=backend), a, w, GRID.edges())


def test_a_grid_is_exact_and_its_limits_are_told():
    edges = GRID.edges().tolist()
    assert edges[:5] == [2**-6, 2**-6 * 1.25, 2**-6 * 1.5, 2**-6 * 1.75, 2**-5]
    assert edges[-1] == 8.0
    with pytest.raises(SparsityLabError, match="splits is 3"):
        LogGrid(splits=3)
    with pytest.raises(SparsityLabError, match="octaves -10 to 190"):
        LogGrid(lowest=-10, octaves=200)
