"""Where a model's feed-forward networks are, and what their parts are.

They are found by what passes through the model (`_structure.py`). A model family has a file only where that cannot
tell all. Such a file holds `MODEL_TYPES` (values of `config.model_type`) and `sites(model)`, which returns one
`FfnSite` per FFN layer, input side first. Where the family's config does not name its activation function, the file
does, in `ACTIVATION`, by its name in transformers. Either way the sites are proved on a few tokens before anything is
measured (`model/proof`). A file of your own has the same form:

    from sparsity_lab.measure.sites import FfnSite

    MODEL_TYPES = ("llama",)

    def sites(model):
        return [
            FfnSite(layer=i, name=f"model.layers.{i}.mlp", down=block.mlp.down_proj,
                    activation=block.mlp.act_fn, up=block.mlp.up_proj, gated=True)
            for i, block in enumerate(model.model.layers)
        ]

    _structure.py    sites by what passes through the modules
    _accounts.py     networks besides the sites, whatever they are written in
    _flow.py         what every value is computed from
    _refusals.py     models whose networks cannot be found as a whole
    _passing.py      what passes
    _modules.py      what modules are by their shapes
    _config.py       what a config says of them
    _kin.py          what the files share that read families of other names
    _layout.py       sites by the paths of a block's modules, for the files
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsity_lab import registry
from sparsity_lab.errors import RunError, SparsityLabError
from sparsity_lab.measure.architectures._config import NAMES, is_causal, named_activation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from sparsity_lab.measure.model.hooks import FfnSite

HOW_TO_WRITE_ONE = (
    "Describe it in a Python file of your own and name it with --architecture-file (it is executed): "
    'MODEL_TYPES = ("{model_type}",) and def sites(model), which returns for each layer a '
    "sparsity_lab.measure.sites.FfnSite(layer=i, name=..., down=the down projection's module, "
    "activation=the activation function's module, up=the up projection's module or None, gated=True or False)"
)


def supported_types() -> dict[str, str]:
    """Model type -> id of the architecture file that knows it; imports them all."""
    return {
        model_type: name
        for name in registry.names("architectures")
        for model_type in registry.load("architectures", name).MODEL_TYPES
    }


def find(config: Any, *, file: Path | None = None) -> tuple[str, ModuleType]:
    """The id and the module of what finds the sites of a model: a file of its family, or its structure.

    Args:
        config: of the (text) model.
        file: a file of the user's own, which is executed and used instead of ours.

    Raises:
        SparsityLabError: the user's file is not what it should be.
    """
    from sparsity_lab.measure.architectures import _structure

    model_type = config.model_type
    if file is not None:
        return file.stem, _checked(load_file(file), file=file, model_type=model_type)
    name = supported_types().get(model_type)
    if name is None:
        return NAMES.get(model_type, model_type.replace("_", "-")), _structure
    return name, registry.load("architectures", name)


def refuse_other_types(config: Any, *, file: Path | None = None) -> None:
    """Refuse a config of which no causal language model is made.

    Raises:
        SparsityLabError: neither transformers nor a file has one of its type, or the user's file is not for it.
    """
    if file is not None:
        find(config, file=file)
    elif config.model_type not in supported_types() and not is_causal(config.model_type):
        raise SparsityLabError(
            f"There is no causal language model of the type {config.model_type!r}",
            why="Encoders and encoder-decoder models have no next-token loss of text alone and cannot be measured; "
            "others may need a newer transformers",
            fix=HOW_TO_WRITE_ONE.format(model_type=config.model_type),
        )


def activation_name(config: Any, architecture: ModuleType) -> str | None:
    """transformers' name of sigma, from the config or else from the architecture file; None where neither has it."""
    return named_activation(config) or getattr(architecture, "ACTIVATION", None)


def outside_sites(model: Any, found: Sequence[FfnSite], *, refuse: bool) -> dict[str, int]:
    """The feed-forward networks of a model that are not sites, by the names of their last matrices, with their neurons.

    Args:
        model: the causal LM, in evaluation mode.
        found: its sites.
        refuse: refuse a model with a wide one, and one with a block like others in which nothing was found.

    Raises:
        SparsityLabError: it is refused.
    """
    from sparsity_lab.measure.architectures._accounts import side_paths
    from sparsity_lab.measure.architectures._refusals import refuse_bare_blocks

    outside = side_paths(model, found, refuse=refuse)
    if refuse:
        refuse_bare_blocks(model, found)
    return outside


def file_sha256(file: Path) -> str:
    """Hash of a user's architecture file.

    Raises:
        SparsityLabError: it cannot be read.
    """
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise RunError(
            f"Cannot read the architecture file {file}", why=str(error), fix="Name a Python file"
        ) from error


def load_file(file: Path) -> ModuleType:
    """Execute a user's architecture file; the same content is executed once.

    Raises:
        SparsityLabError: it cannot be read, or it fails.
    """
    name = f"sparsity_lab_architecture_{file_sha256(file)[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise RunError(
            f"The architecture file {file} is not a Python file", fix="Give it a name that ends in .py"
        )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before execution, as imports do: dataclasses in the file look it up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise RunError(
            f"The architecture file {file} fails",
            why=f"{type(error).__name__}: {error}",
            fix="Run it by itself to see where",
        ) from error
    return module


def _checked(module: ModuleType, *, file: Path, model_type: str) -> ModuleType:
    types = getattr(module, "MODEL_TYPES", None)
    if not isinstance(types, (tuple, list)) or not callable(getattr(module, "sites", None)):
        raise RunError(
            f"The architecture file {file} does not hold both MODEL_TYPES and sites(model)",
            fix=f'Write MODEL_TYPES = ("{model_type}",), with its comma, and a function sites(model)',
        )
    if model_type not in types:
        raise SparsityLabError(
            f"The architecture file {file} is for model_type {' or '.join(map(repr, types))}, "
            f"the model is a {model_type!r}",
            fix="Add the model's type to MODEL_TYPES, or leave --architecture-file out",
        )
    return module
