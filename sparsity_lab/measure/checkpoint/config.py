"""The config of a checkpoint, refused where no causal language model that can be measured is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure import architectures
from sparsity_lab.measure.architectures._config import activation_key, named_activation
from sparsity_lab.measure.checkpoint.explaining import explained, named
from sparsity_lab.measure.checkpoint.pinning import with_base
from sparsity_lab.measure.checkpoint.source import Source, check_exists
from sparsity_lab.measure.checkpoint.weights.activation import chosen_activation, refuse_other


def load_config(source: Source, *, architecture_file: Path | None = None) -> Any:
    """The transformers config of a checkpoint; of an adapter, that of its base model.

    Args:
        source: which checkpoint.
        architecture_file: a file of the user's own for its family, executed.

    Raises:
        SparsityLabError: no such model, a broken config, or a family that cannot be measured.
    """
    from transformers import AutoConfig

    check_exists(source)
    source = with_base(source)
    if source.base is not None:
        return load_config(source.base, architecture_file=architecture_file)
    if architecture_file is None:
        architectures.supported_types()  # a file may make a model type known to transformers
    else:
        architectures.load_file(architecture_file)
    with explained(source, "config"):
        config = AutoConfig.from_pretrained(**source.options(), trust_remote_code=False)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    config.return_dict = True  # models that are made of it answer by name
    _set_activation(source, config)
    with named(source):
        architectures.refuse_other_types(config, file=architecture_file)
    _refuse_quantised(source, config)
    classes = getattr(config, "architectures", None) or []
    if classes and not any(
        "CausalLM" in name or "LMHead" in name or "ConditionalGen" in name for name in classes
    ):
        raise SparsityLabError(
            f"{source} is a {classes[0]}, not a causal language model",
            why="It has no next-token loss",
            fix="Give a model whose config names a ...ForCausalLM under architectures",
        )
    _refuse_other_class(source, config, classes)
    return config


def _refuse_other_class(source: Source, config: Any, classes: Sequence[str]) -> None:
    """Refuse a config that names the class of one family and the model type of another: only the type is read."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as TYPES

    named = {
        name for name in classes if "ConditionalGen" not in name
    }  # of text and other senses: its text part is read
    families = {family for family, name in TYPES.items() if name in named}
    if families and config.model_type in TYPES and config.model_type not in families:
        raise SparsityLabError(
            f"The config of {source} names {classes[0]} under architectures, and the model type {config.model_type}",
            why="They are of two families, which compute different things from the same tensors",
            fix="Write the one that is right into config.json, as architectures and as model_type",
        )


def _refuse_quantised(source: Source, config: Any) -> None:
    """Refuse what only some machines could load, and a W_d that is not a matrix of numbers."""
    quantised = getattr(config, "quantization_config", None)
    if not source.is_gguf and quantised:
        method = quantised.get("quant_method") if isinstance(quantised, dict) else None
        raise SparsityLabError(
            f"{source} is quantised{f' with {method}' if method else ''}",
            why="Its weights are not those of the model, and whether they can be read depends on what is installed",
            fix="Measure the checkpoint before quantisation",
        )


def _set_activation(source: Source, config: Any) -> None:
    """Give a GGUF file's config the activation function that it or the user names; of others refuse another."""
    key, chosen = activation_key(config), source.hidden_act
    if source.is_gguf:
        with explained(source, "config"):
            chosen = chosen_activation(Path(source.model), source.hidden_act)
        if chosen is not None and key is not None:
            setattr(config, key, chosen)
    refuse_other(source, config, named=named_activation(config), asked=chosen)
