"""Small models of real classes, and text they predict well, so that nothing is implausible."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.measure.hub_server import Hub, asking, serving


@pytest.fixture(autouse=True)
def _one_thread():
    """Workers share the cores; more threads only make them wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def llama():
    """A random LLaMA whose next-token distribution is peaked, in float32 and evaluation mode."""

    def build(*, layers=2, activation="relu", hidden=16, neurons=40, seed=0):
        config = LlamaConfig(
            vocab_size=64, hidden_size=hidden, intermediate_size=neurons, num_hidden_layers=layers,
            num_attention_heads=2, max_position_embeddings=256, hidden_act=activation,
            tie_word_embeddings=False,
        )  # fmt: skip
        generator = torch.Generator().manual_seed(seed)
        model = LlamaForCausalLM(config).eval()
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "norm" not in name:
                    weight.copy_(torch.randn(weight.shape, generator=generator) / weight.shape[-1] ** 0.5)
            model.model.embed_tokens.weight.mul_(hidden**0.5)
            model.lm_head.weight.mul_(4.0)
        return model

    return build


@pytest.fixture(scope="session")
def own_text():
    """Token ids [windows * window] that a model wrote itself, each window from a random first token."""

    @torch.no_grad()
    def write(model, *, windows=8, window=64, seed=0):
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(0, model.config.vocab_size, (windows, 1), generator=generator)
        while ids.shape[1] < window:
            chances = model(input_ids=ids).logits[:, -1].softmax(dim=-1)
            ids = torch.cat([ids, torch.multinomial(chances, 1, generator=generator)], dim=1)
        return ids.flatten()

    return write


@pytest.fixture(scope="session")
def hub_server():
    """A Hub on this machine; each module says what it holds."""
    with serving(Hub()) as server:
        yield server


@pytest.fixture(scope="session")
def asker(hub_server):
    """A process that asks it."""
    with asking(hub_server) as ask:
        yield ask


@pytest.fixture(scope="session")
def offline_asker(hub_server):
    """A process that may not ask it: HF_HUB_OFFLINE is set."""
    with asking(hub_server, HF_HUB_OFFLINE="1") as ask:
        yield ask
