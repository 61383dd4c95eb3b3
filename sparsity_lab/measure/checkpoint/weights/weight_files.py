"""Which files of a folder hold a checkpoint's weights; refused where it is not certain.

transformers reads `model.safetensors`, else the shards that `model.safetensors.index.json` names, else
`pytorch_model.bin` or the shards of its index, and is silent on whatever else is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.weights.stored import Stored
from sparsity_lab.reading.json_file import json_or_none, read_json
from sparsity_lab.reading.unreadable import instead


@dataclass(frozen=True)
class Form:
    """How files of weights are called in one form: a whole file, or the shards that an index names."""

    whole: str
    index: str
    shards: str
    any: str


SAFE = Form("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors", "*.safetensors")
PICKLED = Form(
    "pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin", "pytorch_model*.bin"
)
OTHERS = (SAFE.any, PICKLED.any, "consolidated*.pth")
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", ("adapter_model.safetensors", "adapter_model.bin")
ALLOW = "--allow-pickle-weights"
MOST_NAMES = 3


@dataclass(frozen=True)
class WeightFiles:
    """The weight files of a folder.

    Attributes:
        used: those that are loaded, in order.
        beside: names of the other files there, which are not loaded.
        form: which form those that are loaded have.
    """

    used: tuple[Path, ...]
    beside: tuple[str, ...]
    form: Form = SAFE


def weight_files(folder: Path, *, pickles_allowed: bool = False) -> WeightFiles:
    """The files that a folder's weights are loaded from: safetensors, else pickles where these are allowed.

    Raises:
        SparsityLabError: a link to nowhere or a pointer in place of weights, weights twice, an adapter, an index
            that names what is not there, shards it does not name, weights under a name that is not read, or pickles
            that are not allowed.
    """
    refuse_adapter(folder)
    form = PICKLED if has_only_pickles(folder) else SAFE
    if form is PICKLED and not pickles_allowed:
        raise pickles_not_allowed(folder, [path.name for path in sorted(folder.glob(PICKLED.any))])
    for path in sorted(folder.glob(form.any)):
        if (
            why := instead(path) if form is SAFE or not path.exists() else ""
        ):  # a pickle is looked at when it is read
            raise SparsityLabError(
                f"Cannot read the weights {path}", why=why, fix="Put the file itself there"
            )
    used = _used(folder, form)
    shards = {path.name for path in folder.glob(form.shards)}
    if used and (stray := sorted(shards - {path.name for path in used})):
        raise SparsityLabError(
            f"The weights in {folder} are not certain: {used[0].name} is to be loaded, {_some(stray)} not",
            why=f"{form.index} does not name them"
            if (folder / form.index).exists()
            else f"Where {form.whole} is, shards are not read",
            fix="Keep the weights of one checkpoint there, and move the others away",
        )
    lying = {path.name for pattern in OTHERS for path in folder.glob(pattern)}
    beside = tuple(sorted(lying - {path.name for path in used}))
    misnamed = [name for name in beside if Path(name).match(form.any)]
    if not used and misnamed:
        raise SparsityLabError(
            f"The weights in {folder} are called {_some(misnamed)}, a name that is not read",
            why=f"Weights are read from {form.whole}, or from the shards that {form.index} names",
            fix=f"Rename the file to {form.whole} if these are the weights you mean, or copy the index of the shards",
        )
    return WeightFiles(used, beside, form)


def has_only_pickles(folder: Path) -> bool:
    """Whether a folder's weights are pickles: of safetensors there are none."""
    return (
        any(folder.glob(PICKLED.any))
        and not any(folder.glob(SAFE.any))
        and not (folder / SAFE.index).exists()
    )


def pickles_not_allowed(place: object, names: Sequence[str]) -> SparsityLabError:
    """The mistake that weights are pickles, which nobody has allowed."""
    return SparsityLabError(
        f"Cannot load the weights of {place}: they are pickles, {_some(names)}",
        why="A pickle may hold code, so that weights are read from safetensors alone unless you allow more",
        fix=f"Give {ALLOW} (torch then reads them with weights_only=True; SECURITY.md says what that is worth), or "
        "save the model again with save_pretrained",
    )


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no weights of a model."""
    lying = any(path.name not in ADAPTER_WEIGHTS for name in OTHERS for path in folder.glob(name))
    return (folder / ADAPTER_CONFIG).is_file() and not lying


def is_model(folder: Path) -> bool:
    """Whether a folder holds a model's config, or an adapter's."""
    return (folder / "config.json").is_file() or (folder / ADAPTER_CONFIG).is_file()


def refuse_adapter(folder: Path | str, *, found: str | None = None) -> None:
    """Refuse an adapter where a model is expected: whether it is meant is not certain.

    Args:
        folder: directory, or Hub id.
        found: the adapter's file, where that is known already.

    Raises:
        SparsityLabError: there is one.
    """
    if found is None:
        names = (ADAPTER_CONFIG, *ADAPTER_WEIGHTS)
        found = next((name for name in names if (Path(folder) / name).is_file()), None)
    if found is not None:
        raise SparsityLabError(
            f"{folder} holds an adapter, {found}",
            why="Its weights are changes to those of another model; a folder with its config and weights alone is "
            "merged into that model",
            fix="Put adapter_config.json and its weights into a folder of their own and name that, or move them away "
            "to measure the weights without it",
        )


def check_index(files: WeightFiles, stored: dict[str, Stored]) -> None:
    """Refuse an index that does not name the tensors of its shards.

    Raises:
        SparsityLabError: a tensor is in another shard than it says, in none, or not named.
    """
    if not files.used or files.used[0].name == files.form.whole:
        return
    index = files.used[0].parent / files.form.index
    said = _index(index)
    there = {name: tensor.file.name for name, tensor in stored.items()}
    odd = sorted(name for name in {*said, *there} if said.get(name) != there.get(name))
    if odd:
        raise SparsityLabError(
            f"{index} and its shards differ in {len(odd)} tensor(s): {_some(odd)}",
            why=f"The index says {said.get(odd[0], 'nothing')} of the first, "
            f"the shards say {there.get(odd[0], 'nothing')}",
            fix="Copy the index and all shards of one checkpoint again",
        )


def shards_of(index: Path) -> list[str]:
    """The files that an index names.

    Raises:
        SparsityLabError: it is broken, or a name leads out of its folder.
    """
    names = sorted(set(_index(index).values()))
    astray = [name for name in names if Path(name).name != name]
    if astray:
        raise SparsityLabError(
            f"Cannot load the weights of {index.parent}: {index.name} names {_some(astray)}, which is not there",
            why="Shards lie in the folder of their index",
            fix="Copy the index and all shards of the checkpoint again",
        )
    return names


def _used(folder: Path, form: Form) -> tuple[Path, ...]:
    _refuse_other_name(folder)
    if (folder / form.whole).is_file():
        return (folder / form.whole,)
    if not (folder / form.index).is_file():
        return ()
    names = shards_of(folder / form.index)
    lost = [name for name in names if not (folder / name).is_file()]
    if lost:
        raise SparsityLabError(
            f"Cannot load the weights of {folder}: {form.index} names {_some(lost)}, which is not there",
            fix="Copy all shards of the checkpoint into that folder",
        )
    return tuple(folder / name for name in names)


def _refuse_other_name(folder: Path) -> None:
    """Refuse a config that names the weights' file itself; it is not looked for."""
    config = json_or_none(folder / "config.json")  # one that cannot be read is refused elsewhere
    named = config.get("transformers_weights") if isinstance(config, dict) else None
    if named not in (None, SAFE.whole):
        raise SparsityLabError(
            f"The config in {folder} names {named} as its weights (transformers_weights)",
            fix=f"Rename that file to {SAFE.whole}, and take the line out of config.json",
        )


def _index(path: Path) -> dict[str, str]:
    """Shard of each tensor, as an index says."""
    content: Any = read_json(path, kind="index of weights", fix="Copy it again")
    shards = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise SparsityLabError(
            f"Cannot load the weights of {path.parent}: {path.name} is broken",
            why="Its weight_map does not name a file for each tensor",
            fix="Copy it again; if it is like this on the Hub, name another revision",
        )
    return shards


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
