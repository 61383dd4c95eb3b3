"""Compares what a checkpoint's files hold with what was loaded: a difference is refused, or named where it is harmless.

transformers' loading report is one witness. It leaves out names that a model class lists as ignorable, so the
files' own headers are the other.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.labels import counted
from sparsity_lab.measure.checkpoint.weights.stored import Stored, read
from sparsity_lab.measure.checkpoint.weights.weight_files import MOST_NAMES
from sparsity_lab.measure.work.record import text_parts

WRAPPERS = {
    "_orig_mod.": ("torch.compile", "the model that was compiled: model._orig_mod.save_pretrained(FOLDER)"),
    "_fsdp_wrapped_module.": ("FSDP", "the full state dict, gathered by FSDP, under the model's own names"),
    "_checkpoint_wrapped_module.": ("activation checkpointing", "the model that was wrapped"),
    "base_model.model.": ("PEFT", "model.merge_and_unload().save_pretrained(FOLDER)"),
    "module.": ("DistributedDataParallel or DeepSpeed", "the model inside: model.module.save_pretrained(FOLDER)"),
}  # fmt: skip
ROTARY = re.compile(r"rotary\w*\.inv_freq$")
MASK = re.compile(r"\.(self_)?(attn|attention)\.(masked_)?bias$")
POSITIONS = re.compile(r"(^|\.)position_ids$")
NEXT_TOKENS = re.compile(r"(^|\.)mtp(\.|_|$)")
OTHER_SENSES = re.compile(r"(^|\.)(vision|visual|image|audio|speech|multi_modal|multimodal|mm_)\w*(\.|$)")
INTEGERS = {"I64", "I32", "I16", "I8", "U8", "U16", "U32", "U64", "BOOL"}
ROTARY_TOLERANCE = 1e-2  # relative; they may be stored in half precision


def unused_tensors(
    model: Any,
    report: Mapping[str, Any],
    stored: Mapping[str, Stored],
    *,
    source: object,
    text_part: bool = False,
) -> dict[str, int]:
    """What the files hold and the model does not need: names, numbers in them as *, and how many of each.

    Args:
        model: as loaded.
        report: transformers' loading info of it.
        stored: the tensors of its files; empty for a GGUF file.
        source: the checkpoint, for messages.
        text_part: whether its config is one of text and other senses, of which only the text's part was loaded.

    Raises:
        SparsityLabError: a tensor is missing, has another shape, is not used, or is stored twice with two values.
    """
    _refuse_wrappers(report.get("unexpected_keys") or (), source=source)
    _refuse_incomplete(model, report, stored, source=source)
    names = _Names(model)
    _refuse_doubled(names, stored, source=source)
    _refuse_codes(model, names, stored, source=source)
    unused = set(report.get("unexpected_keys") or ()) | {
        name for name in stored if names.is_ignorable(name) and names.of(name) is None
    }
    senses = OTHER_SENSES if text_part else re.compile("$^")
    harmless = {
        name
        for name in unused & set(stored)
        if senses.search(name) or _is_harmless(name, stored[name], model)
    }
    _refuse_unused(sorted(unused - harmless), total=len(stored), model=model, source=source)
    _refuse_other_head(model, names, stored, source=source)
    return dict(sorted(patterns(harmless | _other_senses(model)).items()))


def patterns(names: Iterable[str]) -> Counter[str]:
    """How many of the names there are of each form, numbers in them as *."""
    return Counter(re.sub(r"(?<![^.])\d+(?![^.])", "*", name) for name in names)


def _other_senses(model: Any) -> set[str]:
    """Parameters of a loaded model that text does not pass: towers of other senses."""
    text = {id(weight) for part in text_parts(model) for weight in part.parameters()}
    return {name for name, weight in model.named_parameters() if id(weight) not in text}


class _Names:
    """Names of a model's tensors, and which of them a stored name means."""

    def __init__(self, model: Any) -> None:
        self.held = set(model.state_dict())
        self.prefix = f"{getattr(model, 'base_model_prefix', '')}."
        listed = getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()
        self.ignored = [re.compile(pattern) for pattern in (*listed, ROTARY.pattern, POSITIONS.pattern)]

    def of(self, stored: str) -> str | None:
        """The model's name of a stored tensor, or None; transformers adds and takes off the base model's prefix."""
        spelled = (stored, self.prefix + stored, stored.removeprefix(self.prefix))
        return next((name for name in spelled if name in self.held), None)

    def is_ignorable(self, stored: str) -> bool:
        """Whether transformers may be silent on it."""
        return any(pattern.search(stored) for pattern in self.ignored)


def _refuse_wrappers(names: Iterable[str], *, source: object) -> None:
    for name in names:
        for prefix, (wrapper, mend) in WRAPPERS.items():
            if f".{prefix}" in f".{name}":
                raise SparsityLabError(
                    f"The names of the tensors of {source} hold {prefix!r}, as in {name}",
                    why=f"{wrapper} puts that there, and no model has such names",
                    fix=f"Save {mend}; or take {prefix!r} out of the names",
                )


def _refuse_incomplete(
    model: Any, report: Mapping[str, Any], stored: Mapping[str, Stored], *, source: object
) -> None:
    missing = {*(report.get("missing_keys") or ()), *_missing_unsaid(model, stored)}
    lost = [f"{name} is missing" for name in sorted(missing)]
    for name, shape, expected in sorted(report.get("mismatched_keys") or ()):
        lost.append(f"{name} is stored as {list(shape)}, the config says {list(expected)}")
    lost += [str(message) for message in report.get("error_msgs") or ()]
    if lost:
        more = f", and {counted(len(lost) - 1, 'more tensor')} like it" if len(lost) > 1 else ""
        raise SparsityLabError(
            f"The weights of {source} do not fit its config: {lost[0]}{more}",
            why="Such weights would be filled with random numbers",
            fix="Put the config and the weights of one checkpoint side by side, and copy both again if in doubt",
        )


def _missing_unsaid(model: Any, stored: Mapping[str, Stored]) -> set[str]:
    """Parameters that no file holds and that the model class lists as ignorable when they are missing."""
    listed = [re.compile(p) for p in getattr(model, "_keys_to_ignore_on_load_missing", None) or ()]
    if not stored or not listed:
        return set()
    names = _Names(model)
    there = {names.of(name) for name in stored}
    parameters = dict(model.named_parameters(remove_duplicate=False))
    loaded = {id(parameters[name]) for name in there if name in parameters}  # tied ones are one parameter
    return {
        name
        for name, weight in parameters.items()
        if id(weight) not in loaded and any(pattern.search(name) for pattern in listed)
    }


def _refuse_doubled(names: _Names, stored: Mapping[str, Stored], *, source: object) -> None:
    seen: dict[str, str] = {}
    for name in stored:
        meant = names.of(name)
        if meant is not None and seen.setdefault(meant, name) != name:
            raise SparsityLabError(
                f"The weights of {source} hold {meant} twice: as {seen[meant]} and as {name}",
                fix="Save the model again with save_pretrained",
            )


def _refuse_codes(model: Any, names: _Names, stored: Mapping[str, Stored], *, source: object) -> None:
    """Refuse weights that are stored as whole numbers: codes of a quantization, taken for the numbers themselves."""
    real = {
        name for name, weight in model.named_parameters(remove_duplicate=False) if weight.is_floating_point()
    }
    codes = [name for name, tensor in stored.items() if tensor.dtype in INTEGERS and names.of(name) in real]
    if codes:
        raise SparsityLabError(
            f"{len(codes)} of the {len(stored)} tensors of {source} are stored as {stored[codes[0]].dtype}, "
            f"{codes[0]} first",
            why="Whole numbers are the codes of quantised weights; what they stand for is not said",
            fix="Measure the checkpoint before quantisation",
        )


def _refuse_unused(unused: list[str], *, total: int, model: Any, source: object) -> None:
    if not unused:
        return
    forms = [f"{form} ({count})" if count > 1 else form for form, count in patterns(unused).items()]
    more = f" and {len(forms) - MOST_NAMES} more kinds" if len(forms) > MOST_NAMES else ""
    layers = int(getattr(model.config.get_text_config(), "num_hidden_layers", 0))
    beyond = [n for name in unused if (n := _layer(name)) is not None and n >= layers]
    raise SparsityLabError(
        f"{len(unused)} of the {total or 'stored'} tensors of {source} are not used by the model that its config "
        f"describes: {', '.join(forms[:MOST_NAMES])}{more}",
        why=f"They reach to layer {max(beyond)}, the config has layers 0 to {layers - 1}"
        if beyond
        else "The numbers would be those of a model without them",
        fix="Compare config.json with the model's own: the model type, the number of layers, and flags such as "
        "mlp_bias and attention_bias. If the tensors are of no use, load the model with transformers and save it again",
    )


def _layer(name: str) -> int | None:
    numbers = re.findall(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.", name)
    return int(numbers[0]) if numbers else None


def _is_harmless(name: str, tensor: Stored, model: Any) -> bool:
    """Whether a tensor does not affect next-token losses: masks, positions, heads and towers other than the text's."""
    size = math.prod(tensor.shape)
    if size == 0 or NEXT_TOKENS.search(name):
        return True
    if ROTARY.search(name):
        return _is_rotary_of(model, name, tensor)
    if MASK.search(name):
        return size == 1 or (len(tensor.shape) == 4 and tensor.shape[:2] == (1, 1))
    if POSITIONS.search(name):
        return tensor.dtype in INTEGERS
    return _is_next_token_layer(name, model)


def _is_rotary_of(model: Any, name: str, tensor: Stored) -> bool:
    """Whether stored rotary frequencies are those that the model computes from its config."""
    computed = [buffer for key, buffer in model.named_buffers() if ROTARY.search(key)]
    found = read(tensor, name).flatten().float()
    same = [one for one in computed if one.shape == found.shape]
    scaled = any(_rope_type(config) != "default" for config in {id(c): c for c in _configs(model)}.values())
    return bool(same) and (
        scaled
        or any(torch.allclose(one.float().cpu(), found, rtol=ROTARY_TOLERANCE, atol=1e-6) for one in same)
    )


def _rope_type(config: Any) -> str:
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    return str(rope.get("rope_type", rope.get("type", "default"))) if isinstance(rope, dict) else "default"


def _configs(model: Any) -> list[Any]:
    return [model.config, model.config.get_text_config()]


def _is_next_token_layer(name: str, model: Any) -> bool:
    """Whether it is in a layer behind the last that only helps to predict several tokens at once."""
    config = model.config.get_text_config()
    layers, more = (
        int(getattr(config, key, 0) or 0) for key in ("num_hidden_layers", "num_nextn_predict_layers")
    )
    layer = _layer(name)
    return layer is not None and layers <= layer < layers + more


def _refuse_other_head(model: Any, names: _Names, stored: Mapping[str, Stored], *, source: object) -> None:
    """Where the config ties the head to the embedding and the file holds both, they must be equal."""
    if not getattr(model.config.get_text_config(), "tie_word_embeddings", False):
        return
    parts = (model.get_input_embeddings(), model.get_output_embeddings())
    own = {f"{key}.weight": parts.index(part) for key, part in model.named_modules() if part in parts}
    both = {own[meant]: name for name in stored if (meant := names.of(name)) in own}
    if len(both) < 2 or _equal(both[0], both[1], stored):
        return
    raise SparsityLabError(
        f"The weights of {source} hold {both[1]}, which differs from {both[0]}, and its config ties the two",
        why="Whether the head in the file is used would depend on the version of transformers",
        fix='Write "tie_word_embeddings": false into config.json if the head is the model\'s own',
    )


def _equal(one: str, other: str, stored: Mapping[str, Stored]) -> bool:
    if stored[one].shape != stored[other].shape:
        return False
    return bool(torch.equal(read(stored[one], one), read(stored[other], other)))
