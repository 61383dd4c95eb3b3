"""Tiny random models of their real classes: of every layout of a feed-forward network that is common."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from sparsity_lab.measure import architectures

D, F, LAYERS, HEADS, VOCABULARY, POSITIONS = 32, 72, 3, 4, 97, 64

_COMMON = {
    "vocab_size": VOCABULARY, "hidden_size": D, "intermediate_size": F, "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS, "max_position_embeddings": POSITIONS, "bos_token_id": 0, "eos_token_id": 1,
    "pad_token_id": None,
}  # fmt: skip
_GROUPED = {**_COMMON, "num_key_value_heads": 2}
_GEMMA = {**_GROUPED, "head_dim": 8}
_GPT2 = {
    "vocab_size": VOCABULARY, "n_embd": D, "n_inner": F, "n_layer": LAYERS, "n_head": HEADS, "n_positions": POSITIONS,
    "bos_token_id": 0, "eos_token_id": 1,
}  # fmt: skip

# model type -> arguments of its config; F = 4 d where a family has no other
CONFIGS = {
    "llama": _GROUPED,
    "drelu_llama": {**_GROUPED, "hidden_act": "relu"},
    "arcee": _GROUPED,
    "mistral": _GROUPED,
    "qwen2": _GROUPED,
    "qwen3": {**_GROUPED, "head_dim": 8},
    "gemma": _GEMMA,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "phi3": _GROUPED,
    "glm": {**_GROUPED, "head_dim": 8},
    "glm4": {**_GROUPED, "head_dim": 8},
    "olmo": _GROUPED,
    "olmo2": _GROUPED,
    "olmo3": _GROUPED,
    "stablelm": _GROUPED,
    "granite": {**_GROUPED, "mlp_bias": True},
    "smollm3": _GROUPED,
    "cohere": _GROUPED,
    "cohere2": {**_GROUPED, "head_dim": 8},
    "gpt2": _GPT2,
    "gpt_bigcode": _GPT2,
    "gpt_neo": {
        "vocab_size": VOCABULARY, "hidden_size": D, "intermediate_size": F, "num_layers": LAYERS, "num_heads": HEADS,
        "max_position_embeddings": POSITIONS, "attention_types": [[["global", "local", "global"], 1]],
        "bos_token_id": 0, "eos_token_id": 1,
    },
    "gptj": {**_GPT2, "rotary_dim": 4},
    "codegen": {**_GPT2, "rotary_dim": 4},
    "opt": {
        "vocab_size": VOCABULARY, "hidden_size": D, "ffn_dim": F, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "max_position_embeddings": POSITIONS, "word_embed_proj_dim": D,
    },
    "gpt_neox": _COMMON,
    "bloom": {"vocab_size": VOCABULARY, "hidden_size": D, "n_layer": LAYERS, "n_head": HEADS},
    "falcon": {**_COMMON, "ffn_hidden_size": F, "bias": True},
    "phi": _COMMON,
    "mpt": {
        "vocab_size": VOCABULARY, "d_model": D, "n_layers": LAYERS, "n_heads": HEADS, "max_seq_len": POSITIONS,
    },
    "starcoder2": _GROUPED,
    "nemotron": _GROUPED,
    "persimmon": _COMMON,
    "mixtral": {**_GROUPED, "num_local_experts": 5, "num_experts_per_tok": 2},
    "olmoe": {**_GROUPED, "num_experts": 6, "num_experts_per_tok": 3},
    "qwen2_moe": {
        **_GROUPED, "num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 24,
        "shared_expert_intermediate_size": 40, "mlp_only_layers": [1],
    },
    "qwen3_moe": {
        **_GROUPED, "head_dim": 8, "num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 24,
        "mlp_only_layers": [0],
    },
}  # fmt: skip
MIXTURES = {"mixtral", "olmoe", "qwen2_moe", "qwen3_moe"}


def filled(model):
    """The model in evaluation mode, float32, with random weights large enough for activations to differ."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(std=0.3)
        elif not parameter.any():  # biases begin at zero and would prove nothing
            parameter.data.normal_(std=0.1)
    return model.float().eval()


def tiny(model_type, **changes):
    """The model in evaluation mode, float32, weights large enough for activations to differ."""
    architectures.supported_types()  # makes model types of our own known to transformers
    arguments = {**CONFIGS[model_type], **changes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **arguments))
        return filled(model)
