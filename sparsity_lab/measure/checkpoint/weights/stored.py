"""The tensors in a checkpoint's files: name, shape and dtype of all, and each alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.weights.pickled import mapped, read_pickled

if TYPE_CHECKING:
    import torch

SAFETENSORS, PICKLE, GGUF = "safetensors", "pickle", "gguf"
# The names that safetensors gives the dtypes of torch.
DTYPES = {
    "torch.float64": "F64", "torch.float32": "F32", "torch.float16": "F16", "torch.bfloat16": "BF16",
    "torch.float8_e4m3fn": "F8_E4M3", "torch.float8_e5m2": "F8_E5M2", "torch.int64": "I64", "torch.int32": "I32",
    "torch.int16": "I16", "torch.int8": "I8", "torch.uint8": "U8", "torch.uint16": "U16", "torch.uint32": "U32",
    "torch.uint64": "U64", "torch.bool": "BOOL",
}  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """One tensor of a file of safetensors, or of a pickle, by its header; its dtype is named as safetensors do."""

    file: Path
    shape: tuple[int, ...]
    dtype: str


def tensors(files: Sequence[Path]) -> dict[str, Stored]:
    """The tensors of files by name, from the headers of safetensors; of a pickle from all of it.

    Raises:
        SparsityLabError: one name in two files, or a pickle that is refused.
        Exception: safetensors' own, of a broken file.
    """
    stored: dict[str, Stored] = {}
    for name, tensor in _headers(files):
        if name in stored:
            raise SparsityLabError(
                f"{name} is in {stored[name].file.name} and in {tensor.file.name} of {tensor.file.parent}",
                fix="Copy the checkpoint again; shards of two checkpoints were mixed",
            )
        stored[name] = tensor
    return stored


def read(tensor: Stored, name: str) -> torch.Tensor:
    """A stored tensor, mapped from its file."""
    from safetensors import safe_open

    if _is_pickle(tensor.file):
        return mapped(tensor.file, name)
    with safe_open(tensor.file, framework="pt") as content:
        value: torch.Tensor = content.get_tensor(name)
    return value


def shares(kinds: Mapping[str, tuple[str, int]]) -> dict[str, dict[str, float]]:
    """What share of the tensors, and of the weights in them, is stored in each type, the largest first.

    Args:
        kinds: type and number of elements of each tensor, by its name.
    """
    counts, weights = Counter[str](), Counter[str]()
    for kind, size in kinds.values():
        counts[kind] += 1
        weights[kind] += size
    every, all_weights = sum(counts.values()), max(sum(weights.values()), 1)
    return {
        kind: {"tensors": counts[kind] / every, "weights": size / all_weights}
        for kind, size in weights.most_common()
    }


def read_from(files: Sequence[Path], stored: Mapping[str, Stored]) -> dict[str, Any]:
    """What a record says of files of safetensors or pickles as the place that weights were read from."""
    return {
        "format": PICKLE if any(map(_is_pickle, files)) else SAFETENSORS,
        "files": [path.name for path in files],
        "stored": shares({name: (one.dtype, prod(one.shape)) for name, one in stored.items()}),
    }


def _is_pickle(path: Path) -> bool:
    return path.suffix == ".bin"


def _headers(files: Sequence[Path]) -> Iterator[tuple[str, Stored]]:
    from safetensors import safe_open

    for path in files:
        if _is_pickle(path):
            for name, value in read_pickled(path).items():
                yield name, Stored(path, tuple(value.shape), DTYPES.get(str(value.dtype), str(value.dtype)))
            continue
        with safe_open(path, framework="pt") as content:
            for name in content.keys():  # noqa: SIM118 - it is not a mapping
                view = content.get_slice(name)
                yield name, Stored(path, tuple(view.get_shape()), str(view.get_dtype()))
