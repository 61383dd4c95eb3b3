"""LLaMA with dReLU, y = W_d (relu(W_g x) * relu(W_u x)), as TurboSparse defines it (arXiv 2406.05955).

transformers has no such model, so this one is ours: importing the file makes the model type `drelu_llama`
known to `AutoConfig` and `AutoModelForCausalLM`. Checkpoints differ from LLaMA's in the model type alone.
"""

from __future__ import annotations

from transformers import LlamaConfig, LlamaForCausalLM

from sparsity_lab.measure.architectures._kin import DreluMLP, register
from sparsity_lab.measure.architectures.bamboo import sites

MODEL_TYPES = ("drelu_llama",)

__all__ = ["MODEL_TYPES", "sites"]


class DreluLlamaConfig(LlamaConfig):
    """LLaMA's config under another model type; `hidden_act` is the ReLU of both branches."""

    model_type = "drelu_llama"


class DreluLlamaForCausalLM(LlamaForCausalLM):
    """A LLaMA whose feed-forward networks are `DreluMLP`."""

    config_class = DreluLlamaConfig

    def __init__(self, config: DreluLlamaConfig) -> None:
        super().__init__(config)
        for block in self.model.layers:
            block.mlp = DreluMLP(config)
        self.post_init()


register(DreluLlamaConfig, DreluLlamaForCausalLM)
