"""`--config FILE`: a YAML mapping of a command's options, weaker than flags on the command line."""

from __future__ import annotations

from pathlib import Path

import typer

from sparsity_lab.errors import SparsityLabError


def read_defaults(context: typer.Context, path: Path | None) -> Path | None:
    """Callback of an eager `--config` option: its values become the defaults of the other options.

    Raises:
        SparsityLabError: unreadable, no mapping, or a key that is no option of the command.
    """
    if path is None:
        return None
    from sparsity_lab.ladder.yaml_file import read_yaml
    from sparsity_lab.registry import unknown

    values = read_yaml(path)
    if not isinstance(values, dict):
        raise SparsityLabError(
            f"The config {path} is no mapping of option names to values", fix="Write one a line, as knob: 0.1"
        )
    known = {name: one for one in context.command.params if (name := one.name) is not None}
    for key in values:
        if str(key).replace("-", "_") not in known:
            raise unknown(str(key), kind=f"option in {path}", known=sorted(known))
    defaults = {
        (name := str(key).replace("-", "_")): _several(known[name], value) for key, value in values.items()
    }
    context.default_map = {**(context.default_map or {}), **defaults}
    return path


def _several(parameter: object, value: object) -> object:
    """A single value of an option that may be repeated is a list of one."""
    several = getattr(parameter, "multiple", False)
    return [value] if several and value is not None and not isinstance(value, list) else value
