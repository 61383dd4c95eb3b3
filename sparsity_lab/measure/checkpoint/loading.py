"""Loads a causal language model and its tokenizer, and refuses what could not give a right number.

Nothing of a checkpoint is executed (`trust_remote_code` stays off). Weights are safetensors, a GGUF file, pickles where
the user allows them, or those of a base model with an adapter merged into them.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint import hub
from sparsity_lab.measure.checkpoint.config import load_config as load_config
from sparsity_lab.measure.checkpoint.explaining import explained
from sparsity_lab.measure.checkpoint.fingerprints import adapter_sha256, fingerprint
from sparsity_lab.measure.checkpoint.pinning import pinned, with_base
from sparsity_lab.measure.checkpoint.source import Source as Source
from sparsity_lab.measure.checkpoint.source import tokenizer_source
from sparsity_lab.measure.checkpoint.weights.adapters import adapter_in, merged
from sparsity_lab.measure.checkpoint.weights.completeness import unused_tensors
from sparsity_lab.measure.checkpoint.weights.gguf_file import header_of, unread
from sparsity_lab.measure.checkpoint.weights.stored import Stored, read_from, tensors
from sparsity_lab.measure.checkpoint.weights.weight_files import (
    PICKLED,
    WeightFiles,
    check_index,
    refuse_adapter,
    weight_files,
)
from sparsity_lab.measure.model.tokenizers import (
    TextTokenizer,
    refuse_foreign,
    text_tokenizer,
    tokenizer_folder,
)

logger = logging.getLogger(__name__)
ADAPTER = "adapter"


@dataclass(frozen=True)
class LoadedModel:
    """A model, and what else its checkpoint's files hold.

    Attributes:
        model: in evaluation mode.
        unused_tensors: names of tensors that have no say in its numbers, digits as *, and how many of each there are.
        unused_files: weight files other than those that were loaded.
        read_from: what a record says of the files that its weights were read from.
    """

    model: Any
    unused_tensors: dict[str, int]
    unused_files: tuple[str, ...]
    read_from: Mapping[str, Any]


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

    source = with_base(source)
    place, about = tokenizer_source(source), source.base or source
    kept: dict[str, Any] = {}
    with explained(source if place is source else place, "tokenizer"):
        if place is not about:  # as if its files were next to the weights: the model's config has a say
            kept["config"] = AutoConfig.from_pretrained(**about.options(), trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(**place.options(), **kept, trust_remote_code=False)
        where = (
            None if place.is_gguf else tokenizer_folder(place.model, revision=place.commit or place.revision)
        )
        found = text_tokenizer(tokenizer, name=str(source), folder=where)
    if place is not source:
        how = (
            "as --tokenizer asks"
            if source.tokenizer is not None
            else "as the checkpoint's own folder holds none"
        )
        at = f" at commit {place.commit}" if place.commit else ""
        found = replace(found, origin=f"The tokenizer is that of {place}{at}, {how}")
    if place is not about:
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
    if source.base is not None:
        return _merged(source, source.base, dtype=dtype, device=device)
    if source.folder is None and not source.here:
        with explained(source, "weights"):
            hub.bring_weights(source.model, source.commit, pickles_allowed=source.allow_pickle_weights)
    files, stored = _stored(source)  # a mistake is reported before gigabytes are read
    model, report = _from_pretrained(source, files, dtype=dtype, device=device)
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
    if files.beside:
        logger.info("%s: other weight files in the folder are not read: %s", source, ", ".join(files.beside))
    if device != "auto":
        model = model.to(device)
    return LoadedModel(model.eval(), unused, files.beside, _read_from(source, files, stored))


def _merged(source: Source, base: Source, *, dtype: torch.dtype, device: str) -> LoadedModel:
    """The base model of an adapter with the adapter in its weights."""
    folder = source.snapshot
    assert folder is not None, "the files are there"
    adapter, loaded = adapter_in(folder), load(base, dtype=dtype, device=device)
    model, difference = merged(loaded.model, adapter, pickles_allowed=source.allow_pickle_weights)
    _refuse_not_finite(source, model)
    words = {
        "format": ADAPTER, "kind": adapter.kind, "files": [path.name for path in adapter.files],
        "sha256": adapter_sha256(source), "merge_difference": difference,
        "base": {
            "model": base.model, "revision": base.revision, "commit": base.commit, "sha256": fingerprint(base),
            **loaded.read_from,
        },
    }  # fmt: skip
    return LoadedModel(model.eval(), loaded.unused_tensors, loaded.unused_files, words)


def _from_pretrained(
    source: Source, files: WeightFiles, *, dtype: torch.dtype, device: str
) -> tuple[Any, dict[str, Any]]:
    """The model with transformers' report of what was loaded."""
    from transformers import AutoModelForCausalLM

    placed: dict[str, Any] = {"device_map": "auto"} if device == "auto" else {}
    options = source.options()
    if source.is_gguf:
        placed["config"] = load_config(source)  # with its activation function, which the file may not hold
    elif (
        files.form is PICKLED
    ):  # from the folder itself: asked for a Hub id, transformers has it converted there
        options = {"pretrained_model_name_or_path": str(source.snapshot)}
        placed |= {"use_safetensors": False, "weights_only": True}
    else:
        placed["use_safetensors"] = True
    with explained(source, "weights"), _no_bars():
        model, report = AutoModelForCausalLM.from_pretrained(
            **options,
            **placed,
            dtype=dtype,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # we refuse them below, and name the tensor
            output_loading_info=True,
        )
    answer_by_name(model)
    return model, report


def _read_from(source: Source, files: WeightFiles, stored: Mapping[str, Stored]) -> dict[str, Any]:
    """What a record says of the files that weights were read from."""
    if not source.is_gguf:
        return read_from(files.used, stored)
    path = Path(source.model)
    header = header_of(path)
    said = "metadata" if header.activation else "option" if source.hidden_act else "family"
    words = {**header.read_from(path), "hidden_act_from": said}
    logger.info("%s: its weights are stored as %s", source, _in_words(words["stored"]))
    return words


def _in_words(stored: Mapping[str, Mapping[str, float]]) -> str:
    return ", ".join(
        f"{kind} ({share['weights']:.1%} of the weights, {share['tensors']:.1%} of the tensors)"
        for kind, share in stored.items()
    )


def answer_by_name(model: Any) -> list[Any]:
    """Let all parts of a model return outputs with names, whatever their configs say; the configs that were changed."""
    configs = {id(module.config): module.config for module in model.modules() if hasattr(module, "config")}
    changed = [config for config in configs.values() if getattr(config, "return_dict", True) is False]
    for config in changed:
        config.return_dict = True
    return changed


def _stored(source: Source) -> tuple[WeightFiles, dict[str, Stored]]:
    """The files a model is loaded from, and the tensors in them."""
    folder = source.snapshot
    if folder is None:
        return WeightFiles((), ()), {}
    if source.is_gguf:
        refuse_adapter(folder)
        return WeightFiles((), ()), {}
    files = weight_files(folder, pickles_allowed=source.allow_pickle_weights)
    with explained(source, "weights"):
        stored = tensors(files.used)
    check_index(files, stored)
    return files, stored


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
