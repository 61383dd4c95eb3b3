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


class _ReluConfig:
    """Before a config among the bases: ReLU, and the size of the networks that is meant."""

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)  # type: ignore[misc]
        self.hidden_act = "relu"
        self.intermediate_size = self.sparsity_new_intermediate_size or self.intermediate_size  # type: ignore


class _ReluNetworks:
    """Before a model among the bases: gives each block the network of its config."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)  # type: ignore[call-arg]
        network = LlamaMLP if config.sparsity_gated_mlp else ArceeMLP
        for block in self.model.layers:  # type: ignore[attr-defined]
            block.mlp = network(config)
        self.post_init()  # type: ignore[attr-defined]


class LlamaSparseReluConfig(_ReluConfig, LlamaConfig):
    """LLaMA's config, the function being ReLU."""

    model_type = "llama_sparse_relu"

    sparsity_gated_mlp: bool = True
    sparsity_new_intermediate_size: int | None = None


class Qwen2SparseReluConfig(_ReluConfig, Qwen2Config):
    """Qwen2's config, the function being ReLU."""

    model_type = "qwen2_sparse_relu"

    mlp_bias: bool = False
    sparsity_gated_mlp: bool = True
    sparsity_new_intermediate_size: int | None = None


class LlamaSparseReluForCausalLM(_ReluNetworks, LlamaForCausalLM):
    """A LLaMA with these networks."""

    config_class = LlamaSparseReluConfig


class Qwen2SparseReluForCausalLM(_ReluNetworks, Qwen2ForCausalLM):
    """A Qwen2 with these networks."""

    config_class = Qwen2SparseReluConfig


register(LlamaSparseReluConfig, LlamaSparseReluForCausalLM)
register(Qwen2SparseReluConfig, Qwen2SparseReluForCausalLM)
