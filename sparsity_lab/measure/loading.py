"""Loads a causal language model and its tokenizer, and refuses what could not give a right number.

Nothing of a checkpoint is executed (`trust_remote_code` stays off) and weights are safetensors.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure import architectures
from sparsity_lab.measure.tokenizers import TextTokenizer, text_tokenizer, tokenizer_folder

logger = logging.getLogger(__name__)

MOST_LETTERS = 400  # of another library's reason
ADVICE = {
    "config": "Compare config.json there with the model's own, or copy it again",
    "tokenizer": "Copy the model's own tokenizer files there again",
    "weights": "Check that config.json there is these weights' own, and copy the model again",
}


@dataclass(frozen=True)
class Source:
    """Where a checkpoint comes from: a local directory, a GGUF file, or a Hub id with a revision."""

    model: str
    revision: str | None = None

    @property
    def folder(self) -> Path | None:
        """The local directory, or None for a Hub id."""
        path = Path(self.model)
        if path.suffix == ".gguf":
            return path.parent
        return path if path.is_dir() else None

    def options(self) -> dict[str, Any]:
        """Keyword arguments for every `from_pretrained`."""
        found: dict[str, Any] = {"pretrained_model_name_or_path": str(self.folder or self.model)}
        if self.model.endswith(".gguf"):
            found["gguf_file"] = Path(self.model).name
        if self.revision is not None:
            found["revision"] = self.revision
        return found

    def __str__(self) -> str:
        return self.model if self.revision is None else f"{self.model}@{self.revision}"


def load_config(source: Source, *, architecture_file: Path | None = None) -> Any:
    """The transformers config of a checkpoint.

    Args:
        source: which checkpoint.
        architecture_file: a file of the user's own for its family, executed.

    Raises:
        SparsityLabError: no such model, a broken config, or a family that cannot be measured.
    """
    from transformers import AutoConfig

    _check_exists(source)
    if architecture_file is None:
        architectures.supported_types()  # a file may make a model type known to transformers
    else:
        architectures.load_file(architecture_file)
    with _explained(source, "config"):
        config = AutoConfig.from_pretrained(**source.options(), trust_remote_code=False)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    with _named(source):
        architectures.find(config, file=architecture_file)
    classes = getattr(config, "architectures", None) or []
    if classes and not any(
        "CausalLM" in name or "LMHead" in name or "ConditionalGen" in name for name in classes
    ):
        raise SparsityLabError(
            f"{source} is a {classes[0]}, not a causal language model",
            why="It has no next-token loss",
            fix="Give a model whose config names a ...ForCausalLM under architectures",
        )
    return config


def load_tokenizer(source: Source) -> Any:
    """The tokenizer of a checkpoint as transformers has it, giving the ids of its tokenizer.json.

    Raises:
        SparsityLabError: there is none, or it is broken.
    """
    return load_text_tokenizer(source).hf


def load_text_tokenizer(source: Source) -> TextTokenizer:
    """The tokenizer of a checkpoint with what its files disagree about.

    Raises:
        SparsityLabError: there is none, or it is broken.
    """
    from transformers import AutoTokenizer

    folder = source.folder
    names = ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json", "spiece.model")
    is_gguf = source.model.endswith(".gguf")
    if folder is not None and not is_gguf and not any((folder / name).exists() for name in names):
        raise SparsityLabError(
            f"There is no tokenizer in {folder}", fix="Copy tokenizer.json beside the weights"
        )
    with _explained(source, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(**source.options(), trust_remote_code=False)
        where = None if is_gguf else tokenizer_folder(source.model, revision=source.revision)
        return text_tokenizer(tokenizer, name=str(source), folder=where)


def load_model(source: Source, *, dtype: torch.dtype, device: str) -> Any:
    """The model in evaluation mode, all its weights present and finite.

    Args:
        source: which checkpoint.
        dtype: dtype of the weights and of the forward pass.
        device: a torch device, or "auto" for `device_map="auto"` over all GPUs.

    Raises:
        SparsityLabError: weights broken, missing or not finite.
    """
    from transformers import AutoModelForCausalLM

    placed = {"device_map": "auto"} if device == "auto" else {}
    safe = {} if source.model.endswith(".gguf") else {"use_safetensors": True}
    with _explained(source, "weights"), _no_bars():
        model, report = AutoModelForCausalLM.from_pretrained(
            **source.options(),
            **placed,
            **safe,
            dtype=dtype,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # we refuse them below, and name the tensor
            output_loading_info=True,
        )
    _refuse_incomplete(source, report)
    _refuse_not_finite(source, model)
    if device != "auto":
        model = model.to(device)
    return model.eval()


def _check_exists(source: Source) -> None:
    path = Path(source.model)
    if source.model.endswith(".gguf"):
        if not path.is_file():
            raise SparsityLabError(f"There is no file {path}", fix="Check its path")
    elif source.folder is not None:
        if not (path / "config.json").is_file():
            raise SparsityLabError(
                f"There is no model in {path}",
                why="It holds no config.json",
                fix="Name the folder with the model's config, weights and tokenizer",
            )
    elif path.exists() or source.model.startswith((".", "/", "~")) or source.model.count("/") > 1:
        raise SparsityLabError(
            f"There is no model directory {source.model}", fix="Check its path, or give a Hub id as ORG/MODEL"
        )


@contextlib.contextmanager
def _named(source: Source) -> Iterator[None]:
    """Put the checkpoint's name before an error that lacks it."""
    try:
        yield
    except SparsityLabError as error:
        raise SparsityLabError(f"{source}: {error.what}", why=error.why, fix=error.fix) from error


@contextlib.contextmanager
def _explained(source: Source, part: str) -> Iterator[None]:
    """Turn what transformers, safetensors and the Hub raise into one sentence of ours."""
    try:
        yield
    except SparsityLabError:
        raise
    except Exception as error:
        where = source if source.folder is None else source.folder
        raise SparsityLabError(
            f"Cannot load the {part} of {where}", why=_reason(error), fix=_advice(source, error, part=part)
        ) from error


def _reason(error: Exception) -> str:
    """What a library said, its first line; the second too where the first only announces it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if isinstance(error, KeyError):
        return f"It knows nothing of {lines[0]}"
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1])[:MOST_LETTERS]


def _advice(source: Source, error: Exception, *, part: str) -> str:
    if type(error).__name__ == "SafetensorError":
        return "The safetensors file is broken or cut short; copy it again"
    if source.folder is None:
        return "Check the Hub id, the revision and the network, or give a local directory"
    if "custom code" in str(error):
        return "No code of a checkpoint is run here: give a model of a family that transformers knows itself"
    if part == "weights" and not any(source.folder.glob("*.safetensors")):
        return "Weights are read from safetensors alone: save the model anew with save_pretrained, or copy them here"
    return ADVICE[part]


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


def _refuse_incomplete(source: Source, report: dict[str, Any]) -> None:
    lost = [f"{name} is missing" for name in sorted(report.get("missing_keys") or ())]
    for name, stored, expected in sorted(report.get("mismatched_keys") or ()):
        lost.append(f"{name} is stored as {list(stored)}, the config says {list(expected)}")
    if lost:
        more = f", and {len(lost) - 1} more tensor(s) like it" if len(lost) > 1 else ""
        raise SparsityLabError(
            f"The weights of {source} do not fit its config: {lost[0]}{more}",
            why="Such weights would be filled with random numbers",
            fix="Put the config and the weights of one checkpoint side by side, and copy both again if in doubt",
        )


def _refuse_not_finite(source: Source, model: Any) -> None:
    for name, weight in model.named_parameters():
        if not bool(torch.isfinite(weight.sum())) and not bool(torch.isfinite(weight).all()):
            raise SparsityLabError(
                f"The weights of {source} hold NaN or infinity, in {name} first",
                fix="Take a checkpoint from before the training diverged, or copy this one again",
            )
