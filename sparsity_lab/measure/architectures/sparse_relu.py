"""SparseLM: LLaMA and Qwen2 with ReLU, whatever `hidden_act` says, gated or not.

After github.com/SakanaAI/sparser-faster-llms. The config says by `sparsity_gated_mlp` whether it is gated; the function
is ReLU by the model type alone, and the hidden_act of their files is a leftover of LLaMA's.
"""

from __future__ import annotations

from typing import Any

from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM
from transformers.models.arcee.modeling_arcee import ArceeMLP
from transformers.models.llama.modeling_llama import LlamaMLP

from sparsity_lab.measure.architectures._kin import register
from sparsity_lab.measure.architectures._structure import sites

MODEL_TYPES = ("llama_sparse_relu", "qwen2_sparse_relu")

__all__ = ["MODEL_TYPES", "sites"]


def _set_networks(model: Any) -> None:
    """Give each block the network of its config."""
    config = model.config
    network = LlamaMLP if config.sparsity_gated_mlp else ArceeMLP
    for block in model.model.layers:
        block.mlp = network(config)
    model.post_init()


class LlamaSparseReluConfig(LlamaConfig):
    """LLaMA's config, the function being ReLU."""

    model_type = "llama_sparse_relu"

    sparsity_gated_mlp: bool = True
    sparsity_new_intermediate_size: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self.hidden_act = "relu"
        if self.sparsity_new_intermediate_size:
            self.intermediate_size: int = self.sparsity_new_intermediate_size


class LlamaSparseReluForCausalLM(LlamaForCausalLM):
    """A LLaMA with these networks."""

    config_class = LlamaSparseReluConfig

    def __init__(self, config: LlamaSparseReluConfig) -> None:
        super().__init__(config)
        _set_networks(self)


class Qwen2SparseReluConfig(Qwen2Config):
    """Qwen2's config, the function being ReLU."""

    model_type = "qwen2_sparse_relu"

    mlp_bias: bool = False
    sparsity_gated_mlp: bool = True
    sparsity_new_intermediate_size: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self.hidden_act = "relu"
        if self.sparsity_new_intermediate_size:
            self.intermediate_size: int = self.sparsity_new_intermediate_size


class Qwen2SparseReluForCausalLM(Qwen2ForCausalLM):
    """A Qwen2 with these networks."""

    config_class = Qwen2SparseReluConfig

    def __init__(self, config: Qwen2SparseReluConfig) -> None:
        super().__init__(config)
        _set_networks(self)


register(LlamaSparseReluConfig, LlamaSparseReluForCausalLM)
register(Qwen2SparseReluConfig, Qwen2SparseReluForCausalLM)
