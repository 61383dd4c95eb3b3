"""The dry run's peak memory against the high-water mark of processes that then measure."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig

from sparsity_lab import registry
from sparsity_lab.measure.checkpoint.prepared import Prepared
from sparsity_lab.measure.checkpoint.source import Source
from sparsity_lab.measure.model.memory_estimate import estimate
from sparsity_lab.measure.model.windows import cut
from sparsity_lab.measure.spec import Checkpoint, MeasureSpec

RUN = """
import sys
from pathlib import Path
from sparsity_lab.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as stop:
    assert not stop.code, stop.code
print(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")))
"""
TOLERANCE = 0.35
TOKENS = 4096

pytestmark = pytest.mark.skipif(
    not os.path.exists("/proc/self/status"), reason="high-water marks are Linux's"
)


@pytest.fixture(scope="module")
def wide(trained, tmp_path_factory):
    """A small network before a vocabulary of 32,768, of which its tokenizer uses the first tokens only."""
    import shutil

    folder = tmp_path_factory.mktemp("wide") / "wide"
    shutil.copytree(trained, folder)
    (folder / "model.safetensors").unlink()
    used = LlamaConfig.from_pretrained(trained).vocab_size
    config = LlamaConfig(
        vocab_size=32_768, hidden_size=64, intermediate_size=512, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=512, hidden_act="relu", tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 0] = (
            20.0  # one constant channel tells used tokens from unused ones
        )
        model.lm_head.weight[:used, 0], model.lm_head.weight[used:, 0] = 1.0, -1.0
    model.save_pretrained(folder)
    return folder


def process(*words):
    """What a `sparsity-lab measure` in a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, "measure", *map(str, words)],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def estimated(*words):
    """MiB in the dry run's last column."""
    printed = process(*words, "--dry-run")
    header, _, row = [line for line in printed.splitlines() if line.startswith("|")]
    assert header.rstrip(" |").endswith("peak memory (MiB), estimated")
    return int(row.rstrip(" |").split("|")[-1])


def measured(*words):
    """MiB of the largest resident memory while it measures."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", process(*words))[1]) / 1024


@pytest.mark.slow  # what a process takes beside the tensors differs from machine to machine
def test_the_dry_run_foretells_peak_memory(wide, source_text, tmp_path):
    words = (wide, "--text", source_text, "--window", 256, "--tokens", TOKENS, "--dtype", "float32",
             "--batch-size", 16, "--criterion", "top-p", "--knob", 0.9)  # fmt: skip
    before = estimated(*words, "--output", tmp_path / "out")
    peak = measured(*words, "--output", tmp_path / "out")
    assert peak > 700, "far above what any process of ours takes, or the test would say nothing"
    assert before == pytest.approx(peak, rel=TOLERANCE)


def foretold(config, *, window=64, tokens=1024, dtype=torch.float32, **settings):
    windows = cut(torch.zeros(tokens, dtype=torch.int64), window=window)
    spec = MeasureSpec(text=Path("t.txt"), **settings)
    prepared = Prepared(
        Checkpoint(Source("m"), "s"), spec, config, "cpu", dtype, "asked for", "id", None, "unknown", windows
    )
    return estimate(prepared, spec)


def test_a_batch_of_logits_is_counted_to_the_byte():
    config = LlamaConfig(
        vocab_size=50_000, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=512,
    )  # fmt: skip

    def batch(size):
        found = foretold(config, window=128, tokens=4096, criterion="top-p", batch_size=size)
        assert found.weights == sum(p.numel() for p in LlamaForCausalLM(config).parameters()) * 4 + 8 * 4
        return found.batch

    # Four windows more of logits; the loss looks at one window at a time, the rest of the network is small.
    assert batch(8) - batch(4) == 4 * 128 * 50_000 * 4
    assert config.dtype is None, "the caller's config is left as it was"


def test_nothing_is_foretold_where_values_decide_the_path():
    config = MixtralConfig(
        vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, num_local_experts=2,
    )  # fmt: skip
    assert foretold(config, batch_size=1) is None


def test_a_stored_file_is_counted_where_it_is_converted():
    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2
    )
    config.dtype = torch.float32
    parameters = sum(p.numel() for p in LlamaForCausalLM(config).parameters())
    assert foretold(config, batch_size=1).stored == 0
    assert foretold(config, batch_size=1, dtype=torch.bfloat16).stored == 4 * parameters


@pytest.mark.thorough(4)
@pytest.mark.parametrize("criterion", registry.names("criteria"))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_every_criterion_is_foretold(criterion, dtype):
    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=512, num_hidden_layers=1, num_attention_heads=2
    )
    found = foretold(config, dtype=dtype, criterion=criterion, knob=0.0, batch_size=4)
    # At the least the gate's output, the up projection's and their product live together, and the scores in float32.
    scores = 0 if criterion == "cett" else 4
    assert found.batch >= 4 * 64 * 512 * (3 * dtype.itemsize + scores)
    assert found.peak >= found.base + found.weights + found.batch
