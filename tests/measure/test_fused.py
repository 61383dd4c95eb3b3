"""The fused kernel, and what measuring adds to a forward pass."""

import json

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from sparsity_lab.bench.measure.overhead import OverheadSpec, overhead, random_llama, run_overhead
from sparsity_lab.measure.model.loaded import find_sites
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.model.windows import cut
from sparsity_lab.measure.thresholds.masks import ThresholdVisitor


def tiny(dtype):
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32, num_hidden_layers=2, intermediate_size=80, num_attention_heads=2, vocab_size=64
    )
    return LlamaForCausalLM(config).to(dtype).eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bos", [None, 1])
def test_the_fused_visit_gives_the_same_mask_and_counts(dtype, bos):
    model = tiny(dtype)
    windows = cut(torch.randint(64, (96,)), window=24, bos_id=bos)
    subject = Subject(model, find_sites(model)[1], windows, 2)
    a = torch.randn(2, 24 + (bos is not None), 80).to(dtype)
    a[0, 3, :7] = 0
    for site in subject.sites:
        plain, fused = (ThresholdVisitor(subject, [0.05, 0.12]) for _ in range(2))
        masked, again = plain.visit(site, a, None), fused.visit_fused(site, a)
        assert torch.equal(masked, again)
        assert torch.equal(plain.batch[site.layer], fused.batch[site.layer])
        assert 0 < plain.batch[site.layer].sum() < a.numel()


def test_overhead_times_pairs_of_passes(tmp_path):
    found = overhead(tiny(torch.float32), tokens=512, window=64, pairs=2)
    assert len(found.shares) == len(found.plain_seconds) == len(found.sparse_seconds) == 2
    assert all(seconds > 0 for seconds in (*found.plain_seconds, *found.sparse_seconds))
    assert 0 < found.activation_ratio < 1
    spec = OverheadSpec("random:tiny", tokens=1024, window=64, pairs=1, device="cpu", dtype="float32")
    row = run_overhead(spec, tmp_path)
    assert json.loads((tmp_path / "measure.json").read_text())["share"] == row["share"]


def test_the_random_billion_is_one():
    with torch.device("meta"):
        model = random_llama("1b", device="meta", dtype=torch.bfloat16)
    assert 0.9e9 < sum(p.numel() for p in model.parameters()) < 1.3e9
