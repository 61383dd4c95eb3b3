"""ProSparse LLaMA (arXiv 2402.13516): LLaMA with FATReLU, whose threshold is `hidden_act_param`."""

from __future__ import annotations

from transformers import LlamaConfig, LlamaForCausalLM

from sparsity_lab.measure.architectures._kin import WithFatrelu, register
from sparsity_lab.measure.architectures._structure import sites

MODEL_TYPES = ("sparsellama",)

__all__ = ["MODEL_TYPES", "sites"]


class SparseLlamaConfig(LlamaConfig):
    """LLaMA's config with the threshold of FATReLU."""

    model_type = "sparsellama"

    hidden_act_param: float | None = None


class SparseLlamaForCausalLM(WithFatrelu, LlamaForCausalLM):
    """A LLaMA whose activation function may be FATReLU."""

    config_class = SparseLlamaConfig


register(SparseLlamaConfig, SparseLlamaForCausalLM)
