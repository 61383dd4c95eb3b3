"""A LoRA or another adapter of peft, merged into its base model's weights and checked to give the same outputs.

An adapter's folder holds adapter_config.json and its weights, adapter_model.safetensors. peft merges it; the logits of
a few tokens must be the same with the adapter applied separately and with it merged into the weights.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sparsity_lab import extras
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.weights.stored import tensors
from sparsity_lab.measure.checkpoint.weights.weight_files import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    pickles_not_allowed,
)
from sparsity_lab.reading.json_file import read_object
from sparsity_lab.reading.unreadable import instead

PROOF_TOKENS = 16
MOST_DIFFERENCE = {torch.float32: 1e-4, torch.float64: 1e-6}  # relative, of the logits
IN_HALF_PRECISION = 0.05  # merging rounds the sum of weight and change
# Initial values that change the weights of the base as well, by which an adapter is not defined by its own files.
CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
# Keys by which a config makes peft import a module of another package, or change the base model's layers.
NOT_READ = ("megatron_config", "layer_replication", "alora_invocation_tokens")


@dataclass(frozen=True)
class Adapter:
    """What an adapter's config says.

    Attributes:
        folder: where it lies.
        kind: peft's name of its type.
        base: the model that it changes, a folder or Hub id.
        revision: of that Hub id, or None.
    """

    folder: Path
    kind: str
    base: str
    revision: str | None

    @property
    def weights(self) -> Path:
        """The file of its weights; safetensors comes first."""
        there = (self.folder / name for name in ADAPTER_WEIGHTS)
        return next(
            (path for path in there if path.exists() or path.is_symlink()), self.folder / ADAPTER_WEIGHTS[0]
        )

    @property
    def files(self) -> tuple[Path, Path]:
        """The files that define it, apart from its base model."""
        return self.folder / ADAPTER_CONFIG, self.weights


def adapter_in(folder: Path) -> Adapter:
    """The adapter of a folder, by its config.

    Raises:
        SparsityLabError: peft is not installed, or the adapter is of a kind that cannot be merged.
    """
    config = read_object(folder / ADAPTER_CONFIG, fix="Copy the adapter again")
    kind, base = config.get("peft_type"), config.get("base_model_name_or_path")
    extras.require("peft", who=f"The adapter in {folder}")
    if not isinstance(kind, str):
        raise _refused(folder, f"{ADAPTER_CONFIG} names no peft_type", fix="Copy the adapter again")
    if not isinstance(base, str) or not base.strip():
        raise _refused(
            folder,
            f"{ADAPTER_CONFIG} names no base model",
            fix="Write the base model's folder or Hub id into it, as base_model_name_or_path",
        )
    _refuse_unmergeable(folder, kind, config)
    revision = config.get("revision")
    return Adapter(folder, kind, base.strip(), revision if isinstance(revision, str) and revision else None)


def merged(model: Any, adapter: Adapter, *, pickles_allowed: bool) -> tuple[Any, float]:
    """A model with an adapter merged into its weights, and the relative difference that this made to its logits.

    Args:
        model: the base model, which is changed.
        adapter: what to merge.
        pickles_allowed: whether adapter_model.bin may be read.

    Raises:
        SparsityLabError: weights of the adapter that are missing, not used or broken, or that peft does not merge.
    """
    from peft import PeftModel

    names = _stored_names(adapter, pickles_allowed=pickles_allowed)
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they speak of is looked at below
            wrapped = PeftModel.from_pretrained(model, str(adapter.folder), is_trainable=False).eval()
            _refuse_incomplete(wrapped, adapter, names)
            apart = _logits(wrapped, model)
            whole = wrapped.merge_and_unload(safe_merge=True)
    except SparsityLabError:
        raise
    except Exception as error:  # whatever peft and torch raise of a config and weights that do not fit
        lines = str(error).strip().splitlines()
        raise _refused(
            adapter.folder,
            lines[0] if lines else type(error).__name__,
            fix="Check that its base model is the one named",
        ) from error
    difference = float((_logits(whole, whole) - apart).norm() / apart.norm())
    if not difference <= MOST_DIFFERENCE.get(whole.dtype, IN_HALF_PRECISION):
        raise _refused(
            adapter.folder,
            f"Merged, the logits differ by {difference:.2g} (relative) from those with the adapter next to the weights",
            fix="Merge it with peft's merge_and_unload() and look at what it does",
        )
    return whole, difference


def _refuse_unmergeable(folder: Path, kind: str, config: dict[str, Any]) -> None:
    """Refuse kinds without weights to merge, and settings by which the files alone do not define the adapter."""
    from dataclasses import fields

    from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING

    if not hasattr(PEFT_TYPE_TO_TUNER_MAPPING.get(kind), "merge_and_unload"):
        raise _refused(
            folder,
            f"It is of the kind {kind}, which has no weights that could be merged into the model's",
            fix="Measure the base model alone; LoRA, LoHa, LoKr, IA3, OFT and VeRA are kinds that can be merged",
        )
    initial = config.get("init_lora_weights")
    given = [name for name in NOT_READ if config.get(name)]
    named = {field.name for field in fields(PEFT_TYPE_TO_CONFIG_MAPPING[kind])}
    unknown = sorted(name for name, value in config.items() if name not in named and value)
    if isinstance(initial, str) and initial.startswith(CHANGES_BASE):
        given.append(f"init_lora_weights {initial}")
    if given or unknown:
        raise _refused(
            folder,
            f"Its config holds {', '.join(given or unknown)}, "
            + (
                "by which it is more than changes of weights"
                if given
                else "which the installed peft does not know"
            ),
            fix="Merge it where it was trained, with merge_and_unload() and save_pretrained()"
            if given
            else "Install a newer peft, or merge it where it was trained",
        )


def _stored_names(adapter: Adapter, *, pickles_allowed: bool) -> list[str]:
    """Names of the tensors in the adapter's file."""
    path = adapter.weights
    if not path.is_file():
        raise _refused(adapter.folder, f"There is no {path.name}", fix="Copy the adapter again")
    if path.suffix != ".bin" and (why := instead(path)):
        raise _refused(adapter.folder, f"{path.name}: {why}", fix="Put the file itself there")
    if path.suffix == ".bin" and not pickles_allowed:
        raise pickles_not_allowed(adapter.folder, [path.name])
    try:
        return list(tensors([path]))
    except SparsityLabError:
        raise
    except Exception as error:  # safetensors' own, of a broken file
        raise _refused(adapter.folder, f"{path.name}: {error}", fix="Copy the adapter again") from error


def _refuse_incomplete(wrapped: Any, adapter: Adapter, names: Sequence[str]) -> None:
    """Refuse an adapter of which a tensor is missing or has no place in the model; peft only warns of these."""
    from peft import get_peft_model_state_dict

    own = set(get_peft_model_state_dict(wrapped, save_embedding_layers=False))
    missing = sorted(own - set(names))
    strange = sorted(set(names) - own - set(wrapped.state_dict()))
    if missing or strange:
        first = f"{missing[0]} is missing" if missing else f"{strange[0]} has no place in the model"
        more = len(missing) + len(strange) - 1
        raise _refused(
            adapter.folder,
            f"Its weights do not fit the base model {adapter.base}: {first}"
            + (f", and {more} more" if more else ""),
            fix="Check that its base model is the one that it was trained on, and copy the adapter again",
        )


@torch.no_grad()
def _logits(caller: Any, model: Any) -> torch.Tensor:
    """Logits of a few tokens in float32, on the CPU."""
    table = model.get_input_embeddings().weight
    ids = torch.arange(PROOF_TOKENS, device=table.device) % table.shape[0]
    logits: torch.Tensor = caller(input_ids=ids[None]).logits
    return logits.float().cpu()


def _refused(folder: Path, why: str, *, fix: str) -> SparsityLabError:
    return SparsityLabError(f"{folder} holds an adapter that cannot be merged", why=why, fix=fix)
