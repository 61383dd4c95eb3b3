"""Counts and masks of the fused kernel against a loop over elements, and bit for bit between backends."""

import math

import pytest
import torch
import torch.nn.functional as nnf

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.kernels import _activations
from sparsity_lab.kernels.gated_threshold import activated, gated_threshold
from tests.kernels.cases import BACKENDS, DTYPES

TORCH_OWN = {
    "identity": lambda x: x,
    "relu": nnf.relu,
    "relu2": lambda x: nnf.relu(x).square(),
    "silu": nnf.silu,
    "gelu": nnf.gelu,
    "gelu-tanh": lambda x: nnf.gelu(x, approximate="tanh"),
}


def by_elements(a, tau):
    """Active by Python's own comparisons, one element at a time."""
    return [
        [x != 0 and not abs(x) <= t for x, t in zip(row, tau.tolist(), strict=True)] for row in a.tolist()
    ]


def case(generator, shape, dtype, device, vectors=1):
    g, u = (torch.randn(shape, generator=generator).mul(2).to(device, dtype) for _ in range(2))
    g.view(-1)[::5] = 0
    tau = torch.rand(vectors, shape[-1], generator=generator).to(device)
    return g, u, tau


def same(got, expected):
    if expected.masked is None:
        assert got.masked is None
    else:
        assert torch.equal(got.masked.nan_to_num(77.0), expected.masked.nan_to_num(77.0))
        assert torch.equal(got.masked.isnan(), expected.masked.isnan())
    for name in ("per_token", "per_neuron", "total"):
        one, other = getattr(got, name), getattr(expected, name)
        assert one.dtype == other.dtype == torch.int64
        assert torch.equal(one, other), name


@pytest.mark.thorough(6)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (63, 172), (3, 1023)], ids=str)
def test_counts_and_mask_are_those_of_a_loop_over_elements(backend, dtype, shape, generator, device):
    g, u, tau = case(generator, shape, dtype, device)
    a = activated(g, u, "relu")
    a.view(-1)[:: max(1, a.numel() // 7)] = 0.25
    tau[0, ::3] = 0.25  # ties: equal is dropped
    got = gated_threshold(a, None, tau[0], backend=backend)
    active = torch.tensor(by_elements(a, tau[0]), device=device)
    assert torch.equal(got.per_token[0], active.sum(1))
    assert torch.equal(got.per_neuron[0], active.sum(0))
    assert got.total.tolist() == [int(active.sum())]
    assert torch.equal(got.masked, a.where(active, 0.0))


@pytest.mark.thorough(8)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("activation", sorted(TORCH_OWN))
@pytest.mark.parametrize("gated", [True, False], ids=["gated", "plain"])
def test_backends_agree_bit_for_bit(dtype, activation, gated, generator, device):
    g, u, tau = case(generator, (37, 300), dtype, device)
    args = (g, u if gated else None, tau)
    same(*(gated_threshold(*args, activation=activation, backend=backend) for backend in BACKENDS))


@pytest.mark.thorough(4)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("activation", sorted(TORCH_OWN))
def test_every_16_bit_input_gives_the_same_bits_in_both(dtype, activation, device):
    everything = torch.arange(65536, dtype=torch.int32).to(torch.int16).view(dtype).view(256, 256).to(device)
    tau = torch.full((256,), 1e-3, device=device)
    same(*(gated_threshold(everything, None, tau, activation=activation, backend=b) for b in BACKENDS))


@pytest.mark.parametrize("activation", sorted(TORCH_OWN))
def test_activations_are_the_functions_they_are_named_after(activation):
    x = torch.cat([torch.linspace(-30, 30, 200_001), torch.tensor([-1e4, -100.0, 100.0, 1e4, math.inf])])
    got, true = _activations.activate(x, activation).double(), TORCH_OWN[activation](x.double())
    finite = true.isfinite()
    assert torch.equal(got[~finite], true[~finite])
    error, relative = (got - true)[finite].abs(), 5e-6 if "gelu" in activation else 6e-7
    assert error.le(relative * true[finite].abs().clamp(min=1e-30) + 1e-12).all(), error.max()
    assert _activations.activate(torch.tensor([math.nan, -0.0, 0.0]), activation)[1:].eq(0).all()
    assert _activations.activate(torch.tensor([math.nan]), activation).isnan().all()


@pytest.mark.parametrize("activation", sorted(TORCH_OWN))
def test_in_16_bits_they_are_nearly_always_torchs_own_bits(activation):
    x = torch.linspace(-2, 8, 20_001).to(torch.bfloat16)
    ours, theirs = _activations.activate(x, activation), TORCH_OWN[activation](x)
    assert (ours != theirs).float().mean() < 2e-3  # below -2, torch's GELUs lose digits to cancellation


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("vectors", [2, 3])
def test_several_threshold_vectors_in_one_read(backend, vectors, generator, device):
    g, u, tau = case(generator, (29, 200), torch.bfloat16, device, vectors)
    got = gated_threshold(g, u, tau, activation="silu", mask_with=1, backend=backend)
    for v in range(vectors):
        one = gated_threshold(g, u, tau[v], activation="silu", backend="torch")
        assert torch.equal(got.per_token[v], one.per_token[0])
        assert torch.equal(got.per_neuron[v], one.per_neuron[0])
        assert got.total[v] == one.total[0]
        assert v != 1 or torch.equal(got.masked, one.masked)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_and_infinity_are_active_and_zero_never_is(backend, device):
    a = torch.tensor([[math.nan, math.inf, -math.inf, 0.0, -0.0, 2.0]], device=device)
    got = gated_threshold(a, None, torch.full((6,), 1e30, device=device), backend=backend)
    assert got.per_neuron.tolist() == [[1, 1, 1, 0, 0, 0]]
    assert got.masked[0, :3].tolist() == [pytest.approx(math.nan, nan_ok=True), math.inf, -math.inf]
    assert got.masked[0, 3:].tolist() == [0.0, 0.0, 0.0]
    low = gated_threshold(a, None, torch.full((6,), -1.0, device=device), backend=backend)
    assert low.per_neuron.tolist() == [[1, 1, 1, 0, 0, 1]]
    undefined = gated_threshold(a, None, torch.full((6,), math.nan, device=device), backend=backend)
    assert undefined.per_neuron.tolist() == [[1, 1, 1, 0, 0, 1]]
    infinite = gated_threshold(a, None, torch.full((6,), math.inf, device=device), backend=backend)
    assert infinite.per_neuron.tolist() == [[1, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_zeros_and_nothing(backend, device):
    zeros = gated_threshold(
        torch.zeros(5, 7, device=device), None, torch.zeros(7, device=device), backend=backend
    )
    assert zeros.total.tolist() == [0]
    assert torch.equal(zeros.masked, torch.zeros(5, 7, device=device))
    empty = gated_threshold(
        torch.zeros(0, 7, device=device), None, torch.zeros(7, device=device), backend=backend
    )
    assert empty.per_neuron.tolist() == [[0] * 7]
    assert empty.per_token.shape == (1, 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_strided_inputs_keep_their_neighbours_out(backend, generator, device):
    g, u, tau = case(generator, (24, 100), torch.float16, device)
    expected = gated_threshold(g, u, tau, activation="silu", backend="torch")
    wide = torch.full((24, 201), math.nan, dtype=g.dtype, device=device)
    wide[:, 1::2] = g
    same(
        gated_threshold(wide[:, 1::2], u.t().contiguous().t(), tau, activation="silu", backend=backend),
        expected,
    )
    leading = gated_threshold(g.view(4, 6, 100), u.view(4, 6, 100), tau, activation="silu", backend=backend)
    assert leading.masked.shape == (4, 6, 100)
    assert torch.equal(leading.per_token, expected.per_token)


def test_the_mask_is_only_written_where_asked_for(generator, device):
    g, u, tau = case(generator, (8, 40), torch.float32, device)
    for backend in BACKENDS:
        got = gated_threshold(g, u, tau, mask_with=None, backend=backend)
        assert got.masked is None
        assert torch.equal(got.total, gated_threshold(g, u, tau, backend="torch").total)


def test_misfits_are_told_in_a_sentence():
    g = torch.ones(2, 4)
    with pytest.raises(SparsityLabError, match=r"no activation named 'sillu'.*Did you mean 'silu'"):
        gated_threshold(g, None, torch.ones(4), activation="sillu")
    with pytest.raises(SparsityLabError, match=r"tau has shape \[1, 3\], expected \[4\] or \[V, 4\]"):
        gated_threshold(g, None, torch.ones(3))
    with pytest.raises(SparsityLabError, match=r"u has shape \[2, 5\], expected \[2, 4\]"):
        gated_threshold(g, torch.ones(2, 5), torch.ones(4))
    with pytest.raises(SparsityLabError, match="mask_with is 1, but tau has 1"):
        gated_threshold(g, None, torch.ones(4), mask_with=1)
    with pytest.raises(SparsityLabError, match=r"g is torch\.float32 and u is torch\.float16"):
        gated_threshold(g, torch.ones(2, 4).half(), torch.ones(4))
