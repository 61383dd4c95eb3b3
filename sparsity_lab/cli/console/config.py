"""`--config FILE`: a YAML mapping of a command's options, weaker than flags on the command line.

The combination of file, flags and defaults is saved as `config.json` next to the results.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from sparsity_lab.cli.console.ranges import refuse_empty_paths
from sparsity_lab.errors import SparsityLabError


def read_defaults(context: typer.Context, path: Path | None) -> Path | None:
    """Callback of an eager `--config` option: its values become the defaults of the other options.

    Raises:
        SparsityLabError: unreadable, not a mapping, or a key that is not an option of the command.
    """
    if path is None:
        return None
    from sparsity_lab.reading.yaml_file import read_yaml
    from sparsity_lab.registry import unknown

    values = read_yaml(path)
    if not isinstance(values, dict):
        raise SparsityLabError(
            f"The config {path} is not a mapping of option names to values",
            fix="Write one a line, as knob: 0.1",
        )
    known = _by_flag(context.command.params)
    for key in values:
        if _as_key(key) not in known:
            raise unknown(str(key), kind=f"option in {path}", known=sorted(known))
    defaults = {}
    for key, value in values.items():
        parameter = known[_as_key(key)]
        if isinstance(value, bool) and not getattr(parameter, "is_flag", False):
            raise SparsityLabError(
                f"{key} in {path} is {str(value).lower()}",
                why="It is not a switch, and YAML reads yes, no, on, off, true and false as one",
                fix="Write its value, in quotes if it is such a word",
            )
        if isinstance(value, list) and not (getattr(parameter, "multiple", False) or parameter.nargs != 1):
            raise SparsityLabError(
                f"{key} in {path} is a list, and the option takes one value",
                fix="Write one value; several revisions or tasks are one text with commas between: step1,step2",
            )
        if parameter.name in ("output", "text"):
            refuse_empty_paths([f"--{parameter.name}", "" if value is None else str(value)])
        defaults[parameter.name] = _several(parameter, value)
    context.default_map = {**(context.default_map or {}), **defaults}
    return path


def _as_key(flag: object) -> str:
    return str(flag).removeprefix("--").replace("-", "_")


def _by_flag(parameters: Sequence[Any]) -> dict[str, Any]:
    """Options by their long flags, and by the names of our functions' parameters, where these differ."""
    named = {one.name: one for one in parameters if one.name is not None}
    flags = {_as_key(flag): one for one in parameters for flag in one.opts if flag.startswith("--")}
    return {**named, **flags}


def _several(parameter: Any, value: object) -> object:
    """A single value of what takes several is a list of one."""
    several = getattr(parameter, "multiple", False) or parameter.nargs != 1
    return [value] if several and value is not None and not isinstance(value, list) else value


def save_resolved(options: Any, output: Path) -> None:
    """Write the options that a command has run with as `config.json`; read again by `--config`, they give the same."""
    from sparsity_lab.store.records import refuse_model_folder, write_json

    refuse_model_folder(output)
    kept = {name: value for name, value in vars(options).items() if name not in ("config", "output")}
    write_json(output / "config.json", {name: _plain(value) for name, value in kept.items()})


def _plain(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return None if not value else [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
