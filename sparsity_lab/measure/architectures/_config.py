"""What a config says of its feed-forward networks."""

from __future__ import annotations

from typing import Any

# Where configs name sigma; Gemma's old configs hold two of these, and the first one is used.
ACTIVATION_KEYS = (
    "hidden_activation",
    "hidden_act",
    "activation_function",
    "activation",
    "mlp_hidden_act",
)
# Model types whose records bear another name than their own.
NAMES = {
    "codegen": "gptj",
    "cohere2": "cohere",
    "gemma3_text": "gemma3",
    "glm4": "glm",
    "olmo3": "olmo2",
}


def activation_key(config: Any) -> str | None:
    """The key under which a config names sigma, or None where it has none."""
    named = ((key, getattr(config, key, None)) for key in ACTIVATION_KEYS)
    return next((key for key, name in named if isinstance(name, str) and name), None)


def named_activation(config: Any) -> str | None:
    """transformers' name of sigma, or None where the config has none."""
    key = activation_key(config)
    return None if key is None else str(getattr(config, key))


def is_causal(model_type: str) -> bool:
    """Whether transformers has a causal language model of this type."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
