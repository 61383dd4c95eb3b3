"""Loads a causal language model and its tokenizer, and refuses what could not give a right number.

Nothing of a checkpoint is executed (`trust_remote_code` stays off) and weights are safetensors.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure import architectures
from sparsity_lab.measure.checkpoint import hub
from sparsity_lab.measure.checkpoint.completeness import unused_tensors
from sparsity_lab.measure.checkpoint.explaining import explained, named
from sparsity_lab.measure.checkpoint.gguf_tensors import unread
from sparsity_lab.measure.checkpoint.source import Source as Source
from sparsity_lab.measure.checkpoint.source import check_exists, pinned, tokenizer_source
from sparsity_lab.measure.checkpoint.weight_files import (
    Stored,
    check_index,
    refuse_adapter,
    tensors,
    weight_files,
)
from sparsity_lab.measure.model.tokenizers import (
    TextTokenizer,
    refuse_foreign,
    text_tokenizer,
    tokenizer_folder,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """A model, and what its checkpoint's files hold besides it.

    Attributes:
        model: in evaluation mode.
        unused_tensors: names of tensors that have no say in its numbers, digits as *, and how many of each there are.
        unused_files: weight files beside those that were loaded.
    """

    model: Any
    unused_tensors: dict[str, int]
    unused_files: tuple[str, ...]


def load_config(source: Source, *, architecture_file: Path | None = None) -> Any:
    """The transformers config of a checkpoint.

    Args:
        source: which checkpoint.
        architecture_file: a file of the user's own for its family, executed.

    Raises:
        SparsityLabError: no such model, a broken config, or a family that cannot be measured.
    """
    from transformers import AutoConfig

    check_exists(source)
    if architecture_file is None:
        architectures.supported_types()  # a file may make a model type known to transformers
    else:
        architectures.load_file(architecture_file)
    with explained(source, "config"):
        config = AutoConfig.from_pretrained(**source.options(), trust_remote_code=False)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    config.return_dict = True  # models that are made of it answer by name
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
    """Refuse what some machines could load and others not, and whose W_d is no matrix of numbers."""
    quantised = getattr(config, "quantization_config", None)
    if not source.is_gguf and quantised:
        method = quantised.get("quant_method") if isinstance(quantised, dict) else None
        raise SparsityLabError(
            f"{source} is quantised{f' with {method}' if method else ''}",
            why="Its weights are not those of the model, and whether they can be read depends on what is installed",
            fix="Measure the checkpoint before quantisation",
        )


def load_tokenizer(source: Source) -> Any:
    """The tokenizer of a checkpoint as transformers has it, giving the ids of its tokenizer.json.

    Raises:
        SparsityLabError: there is none, or it is broken.
    """
    return load_text_tokenizer(source).hf


def load_text_tokenizer(source: Source) -> TextTokenizer:
    """The tokenizer of a checkpoint with what its files disagree about.

    Raises:
        SparsityLabError: there is none, it is broken, or it is from elsewhere and has more tokens than the model.
    """
    from transformers import AutoConfig, AutoTokenizer

    place = tokenizer_source(source)
    kept: dict[str, Any] = {}
    with explained(source if place is source else place, "tokenizer"):
        if place is not source:  # as if its files lay beside the weights: the model's config has a say
            kept["config"] = AutoConfig.from_pretrained(**source.options(), trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(**place.options(), **kept, trust_remote_code=False)
        where = (
            None if place.is_gguf else tokenizer_folder(place.model, revision=place.commit or place.revision)
        )
        found = text_tokenizer(tokenizer, name=str(source), folder=where)
    if place is source:
        return found
    how = (
        "as --tokenizer asks" if source.tokenizer is not None else "as the checkpoint's own folder holds none"
    )
    at = f" at commit {place.commit}" if place.commit else ""
    found = replace(found, origin=f"The tokenizer is that of {place}{at}, {how}")
    refuse_foreign(found, getattr(kept["config"].get_text_config(), "vocab_size", None))
    return found


def load_model(source: Source, *, dtype: torch.dtype, device: str) -> Any:
    """The model of `load`, alone."""
    return load(source, dtype=dtype, device=device).model


def load(source: Source, *, dtype: torch.dtype, device: str) -> LoadedModel:
    """The model in evaluation mode: all its weights present and finite, all weights of its files used.

    Args:
        source: which checkpoint.
        dtype: dtype of the weights and of the forward pass.
        device: a torch device, or "auto" for `device_map="auto"` over all GPUs.

    Raises:
        SparsityLabError: weights broken, missing, not finite, not used, or not certain.
    """
    source = pinned(source)
    if source.folder is not None:  # a mistake is told before gigabytes are read
        _stored(source)
    elif not source.here:
        with explained(source, "weights"):
            hub.bring_weights(source.model, source.commit)
    model, report = _from_pretrained(source, dtype=dtype, device=device)
    stored, beside = _stored(source)
    if source.is_gguf:
        report = {
            **report,
            "unexpected_keys": [*report.get("unexpected_keys", ()), *unread(Path(source.model), model)],
        }
    unused = unused_tensors(model, report, stored, source=source, text_part=_is_text_part(source, model))
    _refuse_not_finite(source, model)
    if unused:
        named = ", ".join(f"{name} ({count})" for name, count in unused.items())
        logger.info("%s: tensors that next-token losses do not need are not used: %s", source, named)
    if beside:
        logger.info("%s: other weight files in the folder are not read: %s", source, ", ".join(beside))
    if device != "auto":
        model = model.to(device)
    return LoadedModel(model.eval(), unused, beside)


def _from_pretrained(source: Source, *, dtype: torch.dtype, device: str) -> tuple[Any, dict[str, Any]]:
    """The model with transformers' report of what was loaded."""
    from transformers import AutoModelForCausalLM

    placed = {"device_map": "auto"} if device == "auto" else {}
    safe = {} if source.is_gguf else {"use_safetensors": True}
    with explained(source, "weights"), _no_bars():
        model, report = AutoModelForCausalLM.from_pretrained(
            **source.options(),
            **placed,
            **safe,
            dtype=dtype,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # we refuse them below, and name the tensor
            output_loading_info=True,
        )
    answer_by_name(model)
    return model, report


def answer_by_name(model: Any) -> list[Any]:
    """Let all parts of a model return outputs with names, whatever their configs say; the configs that were changed."""
    configs = {id(module.config): module.config for module in model.modules() if hasattr(module, "config")}
    changed = [config for config in configs.values() if getattr(config, "return_dict", True) is False]
    for config in changed:
        config.return_dict = True
    return changed


def _stored(source: Source) -> tuple[dict[str, Stored], tuple[str, ...]]:
    """Tensors in the files a model is loaded from, and names of the weight files beside these."""
    folder = source.snapshot
    if folder is None:
        return {}, ()
    if source.is_gguf:
        refuse_adapter(folder)
        return {}, ()
    files = weight_files(folder)
    with explained(source, "weights"):
        stored = tensors(files.used)
    check_index(folder, stored)
    return stored, files.beside


def _is_text_part(source: Source, model: Any) -> bool:
    """Whether the checkpoint's config is one of text and other senses, of which only the text's part was loaded."""
    from transformers import AutoConfig

    if source.is_gguf:
        return False
    whole = AutoConfig.from_pretrained(**source.options(), trust_remote_code=False)
    is_composite = hasattr(whole, "get_text_config") and whole.get_text_config() is not whole
    return is_composite and model.config.get_text_config() is model.config


@contextlib.contextmanager
def _no_bars() -> Iterator[None]:
    """Keep transformers' own progress bars and loading tables off the terminal."""
    from transformers.utils import logging as hf_logging

    level = hf_logging.get_verbosity()
    bars = hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()


def _refuse_not_finite(source: Source, model: Any) -> None:
    for name, weight in model.named_parameters():
        if not bool(torch.isfinite(weight.sum())) and not bool(torch.isfinite(weight).all()):
            raise SparsityLabError(
                f"The weights of {source} hold NaN or infinity, in {name} first",
                fix="Take a checkpoint from before the training diverged, or copy this one again",
            )
