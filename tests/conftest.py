"""A real checkpoint that every test may measure: a LLaMA trained for seconds on the standard library's sources."""

import email
import json
import logging
import shutil
import signal
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import settings

from tests.unrendered import unrendered

# The same examples on every machine, however slow it is.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

VOCABULARY, POSITIONS = 300, 128
READ = 120_000  # characters of a text that every command tokenises whole


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Of a test marked `thorough(n)` so many variants, evenly spread, are in the quick run; the others are slow."""
    functions = defaultdict(list)
    for item in items:
        if item.get_closest_marker("thorough"):
            functions[item.nodeid.partition("[")[0]].append(item)
    for variants in functions.values():
        (count,) = variants[0].get_closest_marker("thorough").args or (2,)
        quick = {round(i * (len(variants) - 1) / max(count - 1, 1)) for i in range(count)}
        for number, item in enumerate(variants):
            if number not in quick:
                item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def _interrupts_are_heard():
    """A shell ignores SIGINT in what it starts in the background, and that would hold for all that the tests start."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _notes_as_before():
    """The command line, run in this process, sets how much is said, also where a fixture of a module runs it.

    Each test hears what it would alone.
    """
    logging.getLogger("sparsity_lab").setLevel(logging.NOTSET)
    yield
    logging.getLogger("sparsity_lab").setLevel(logging.NOTSET)


@pytest.fixture(scope="module", name="unrendered")
def _unrendered():
    """For modules that look at numbers alone; those of figures, of pages and of each command's output render them."""
    with unrendered():
        yield


@pytest.fixture(scope="session")
def sources():
    """Sources of the standard library, one after another."""
    files = [file for package in (json, email) for file in sorted(Path(package.__file__).parent.glob("*.py"))]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


@pytest.fixture(scope="session")
def source_text(sources, tmp_path_factory):
    """Text the tiny checkpoint can read."""
    path = tmp_path_factory.mktemp("text") / "sources.txt"
    path.write_text(sources[:READ], encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(sources, tmp_path_factory):
    """Folder with config, weights and tokenizer of a ReLU LLaMA; perplexity far below half its vocabulary."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from sparsity_lab.ladder.corpus.tokenizer import train_tokenizer

    folder = tmp_path_factory.mktemp("trained") / "tiny"
    tokenizer = train_tokenizer([sources], vocabulary=VOCABULARY, max_bytes=50_000)
    ids = torch.tensor(tokenizer(sources[:200_000], verbose=False)["input_ids"])
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=POSITIONS, hidden_act="relu", tie_word_embeddings=True,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
        for _ in range(60):
            starts = torch.randint(0, len(ids) - 64, (16,)).tolist()
            batch = torch.stack([ids[start : start + 64] for start in starts])
            model(input_ids=batch, labels=batch).loss.backward()
            optimiser.step()
            optimiser.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def checkpoints(trained, tmp_path_factory):
    """Folder of four checkpoints step-1 ... step-10 of one run: the trained one, its weights moved a little."""
    import torch
    from safetensors.torch import load_file, save_file

    root = tmp_path_factory.mktemp("runs") / "run"
    weights = load_file(trained / "model.safetensors")
    for seed, step in enumerate((1, 2, 3, 10)):
        folder = root / f"step-{step}"
        shutil.copytree(trained, folder)
        generator = torch.Generator().manual_seed(seed)
        moved = {
            name: value * (1 + 0.05 * torch.randn(value.shape, generator=generator))
            for name, value in weights.items()
        }
        save_file(moved, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "sparsity_lab.json").write_text(
            json.dumps({"trained_tokens": step * 1000}), encoding="utf-8"
        )
    return root
