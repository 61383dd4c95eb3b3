"""Which files of a folder hold a checkpoint's weights, and what their headers say; refused where it is not certain.

transformers reads `model.safetensors`, else the shards that `model.safetensors.index.json` names, and is silent
on whatever else is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.reading.json_file import json_or_none, read_json
from sparsity_lab.reading.unreadable import instead, why_unread

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARDS = "model-*-of-*.safetensors"
OTHERS = ("*.safetensors", "pytorch_model*.bin", "consolidated*.pth")
MOST_NAMES = 3


@dataclass(frozen=True)
class WeightFiles:
    """The weight files of a folder.

    Attributes:
        used: those that are loaded, in order.
        beside: names of those that lie there and are not loaded.
    """

    used: tuple[Path, ...]
    beside: tuple[str, ...]


@dataclass(frozen=True)
class Stored:
    """One tensor of a safetensors file, by its header."""

    file: Path
    shape: tuple[int, ...]
    dtype: str


def weight_files(folder: Path) -> WeightFiles:
    """The safetensors files that a folder's weights are loaded from.

    Raises:
        SparsityLabError: a link to nowhere or a pointer in place of weights, weights twice, an adapter, an index
            that names what is not there, shards it does not name, or weights under a name that is not read.
    """
    refuse_adapter(folder)
    for path in sorted(folder.glob("*.safetensors")):
        if why := instead(path):
            raise SparsityLabError(
                f"Cannot read the weights {path}", why=why, fix="Put the file itself there"
            )
    used = _used(folder)
    shards = {path.name for path in folder.glob(SHARDS)}
    if used and (stray := sorted(shards - {path.name for path in used})):
        raise SparsityLabError(
            f"The weights in {folder} are not certain: {used[0].name} is to be loaded, {_some(stray)} not",
            why=f"{INDEX} does not name them"
            if (folder / INDEX).exists()
            else f"Where {WHOLE} is, shards are not read",
            fix="Keep the weights of one checkpoint there, and move the others away",
        )
    lying = {path.name for pattern in OTHERS for path in folder.glob(pattern)}
    beside = tuple(sorted(lying - {path.name for path in used}))
    safe = [name for name in beside if name.endswith(".safetensors")]
    if not used and safe:
        raise SparsityLabError(
            f"The weights in {folder} are called {_some(safe)}, a name that is not read",
            why=f"Weights are read from {WHOLE}, or from the shards that {INDEX} names",
            fix=f"Rename the file to {WHOLE} if these are the weights you mean, or copy the index of the shards too",
        )
    return WeightFiles(used, beside)


def refuse_adapter(folder: Path | str, *, found: str | None = None) -> None:
    """Refuse a LoRA or another adapter: whether it is applied would depend on what is installed.

    Args:
        folder: directory, or Hub id.
        found: the adapter's file, where that is known already.

    Raises:
        SparsityLabError: there is one.
    """
    if found is None:
        names = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
        found = next((name for name in names if (Path(folder) / name).is_file()), None)
    if found is not None:
        raise SparsityLabError(
            f"{folder} holds an adapter, {found}",
            why="Its weights are changes to those of another model, and are applied only where peft is installed",
            fix="Merge it with peft's merge_and_unload() and save_pretrained() to a folder of its own, or move the "
            "adapter's files away to measure the weights without it",
        )


def tensors(files: Sequence[Path]) -> dict[str, Stored]:
    """The tensors of safetensors files by name, from their headers.

    Raises:
        SparsityLabError: one name in two files.
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


def check_index(folder: Path, stored: dict[str, Stored]) -> None:
    """Refuse an index that does not name the tensors of its shards.

    Raises:
        SparsityLabError: a tensor is in another shard than it says, in none, or not named.
    """
    if (folder / WHOLE).is_file() or not (folder / INDEX).is_file():
        return
    said = _index(folder)
    there = {name: tensor.file.name for name, tensor in stored.items()}
    odd = sorted(name for name in {*said, *there} if said.get(name) != there.get(name))
    if odd:
        raise SparsityLabError(
            f"{folder / INDEX} and its shards differ in {len(odd)} tensor(s): {_some(odd)}",
            why=f"The index says {said.get(odd[0], 'nothing')} of the first, "
            f"the shards say {there.get(odd[0], 'nothing')}",
            fix="Copy the index and all shards of one checkpoint again",
        )


def _used(folder: Path) -> tuple[Path, ...]:
    _refuse_other_name(folder)
    if (folder / WHOLE).is_file():
        return (folder / WHOLE,)
    if not (folder / INDEX).is_file():
        return ()
    names = sorted(set(_index(folder).values()))
    lost = [name for name in names if Path(name).name != name or not (folder / name).is_file()]
    if lost:
        raise SparsityLabError(
            f"Cannot load the weights of {folder}: {INDEX} names {_some(lost)}, which is not there",
            fix="Copy all shards of the checkpoint into that folder",
        )
    return tuple(folder / name for name in names)


def _refuse_other_name(folder: Path) -> None:
    """Refuse a config that names the weights' file itself; it is not looked for."""
    config = json_or_none(folder / "config.json")  # one that cannot be read is refused elsewhere
    named = config.get("transformers_weights") if isinstance(config, dict) else None
    if named not in (None, WHOLE):
        raise SparsityLabError(
            f"The config in {folder} names {named} as its weights (transformers_weights)",
            fix=f"Rename that file to {WHOLE}, and take the line out of config.json",
        )


def _index(folder: Path) -> dict[str, str]:
    """Shard of each tensor, as the index says."""
    content: Any = read_json(folder / INDEX, kind="index of weights", fix="Copy it again")
    try:
        return {str(name): str(file) for name, file in content["weight_map"].items()}
    except (LookupError, TypeError, AttributeError) as error:
        raise SparsityLabError(
            f"Cannot load the weights of {folder}: {INDEX} is broken",
            why=why_unread(folder / INDEX, error),
            fix="Copy it again",
        ) from error


def _headers(files: Sequence[Path]) -> Iterator[tuple[str, Stored]]:
    from safetensors import safe_open

    for path in files:
        with safe_open(path, framework="pt") as content:
            for name in content.keys():  # noqa: SIM118 - it is no mapping
                view = content.get_slice(name)
                yield name, Stored(path, tuple(view.get_shape()), str(view.get_dtype()))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
