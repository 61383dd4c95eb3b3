"""The widths of real models: each kernel under both backends on a few tokens."""

import pytest
import torch

from sparsity_lab.kernels.gated_threshold import gated_threshold
from sparsity_lab.kernels.score_histogram import LogGrid, score_histogram
from sparsity_lab.kernels.sparse_down import sparse_down
from sparsity_lab.kernels.tail_norms import tail_norms
from sparsity_lab.kernels.topk_threshold import topk_threshold

TOKENS, HIDDEN = 2, 16


@pytest.mark.slow
@pytest.mark.parametrize("width", [5632, 14336])
def test_wide_layers_agree(width, generator, device):
    a = torch.randn(TOKENS, width, generator=generator).relu().to(device)
    w = torch.rand(width, generator=generator).to(device)
    W_d = torch.randn(HIDDEN, width, generator=generator).to(device)
    counted = [gated_threshold(a, None, w, backend=b) for b in ("torch", "triton")]
    assert torch.equal(counted[0].per_token, counted[1].per_token)
    assert torch.equal(counted[0].per_neuron, counted[1].per_neuron)
    assert torch.equal(counted[0].masked, counted[1].masked)
    active = (a > w).sum(dim=1)
    assert torch.equal(counted[0].per_token[0], active)
    bins = [score_histogram(a, w, LogGrid(), backend=b) for b in ("torch", "triton")]
    assert torch.equal(bins[0].bins, bins[1].bins)
    assert int(bins[0].bins.sum() + bins[0].zeros) == a.numel()
    kth = [topk_threshold(a, width // 3, backend=b) for b in ("torch", "triton")]
    assert torch.equal(kth[0], kth[1])
    edges = torch.tensor([0.1, 1.0], device=device)
    for backend in ("torch", "triton"):
        tails = torch.stack([torch.where(a * w <= e, a, 0.0).double() @ W_d.double().T for e in edges], dim=1)
        norms = tail_norms(a, w, W_d, edges, backend=backend)
        torch.testing.assert_close(norms.double(), tails.norm(dim=-1), rtol=1e-5, atol=0)
        y = sparse_down(a, W_d, backend=backend)
        torch.testing.assert_close(y.double(), a.double() @ W_d.double().T, rtol=1e-4, atol=1e-3)
