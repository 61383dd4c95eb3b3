"""Every command of the command line and every parameter of each, read from the app itself."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import typer

from sparsity_lab.cli.main import app


@dataclass(frozen=True)
class Parameter:
    """A parameter of a command.

    Attributes:
        name: of the function's parameter. flags: what sets it, none of an argument; off: what unsets a switch.
        kind: bool, int, float, str, Path or an Enum. several: takes more than one value. required: must be given.
    """

    name: str
    flags: tuple[str, ...]
    off: tuple[str, ...]
    kind: type
    several: bool
    required: bool

    @property
    def choices(self) -> list[str]:
        """The values of an Enum."""
        return [str(one.value) for one in self.kind] if issubclass(self.kind, Enum) else []


@dataclass(frozen=True)
class Command:
    """A command by its words, and its parameters; `group` of one that has commands of its own."""

    words: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    group: bool

    @property
    def name(self) -> str:
        """Its words with dots, as ranges are named."""
        return ".".join(self.words)

    def parameter(self, name: str) -> Parameter | None:
        """A parameter by its name."""
        return next((one for one in self.parameters if one.name == name), None)


def commands() -> list[Command]:
    """The program itself first, then every command and subcommand."""
    return list(_walk(typer.main.get_command(app), ()))


def _walk(node: Any, words: tuple[str, ...]) -> Iterator[Command]:
    below = getattr(node, "commands", None)
    yield Command(words, tuple(_parameters(node)), group=below is not None)
    for name, inner in (below or {}).items():
        yield from _walk(inner, (*words, name))


def _parameters(node: Any) -> Iterator[Parameter]:
    if node.callback is None:
        return
    function = inspect.unwrap(node.callback)
    hints = typing.get_type_hints(function)
    flags = {one.name: one for one in node.params}
    for name in inspect.signature(function).parameters:
        kind, several = _kind(hints[name])
        if kind is None:
            continue
        made = flags.get(name) or _of(function, name, node.params)
        option = (
            made.param_type_name == "option" if hasattr(made, "param_type_name") else made.opts[0][:1] == "-"
        )
        yield Parameter(
            name, tuple(made.opts) if option else (), tuple(made.secondary_opts), kind, several, made.required
        )


def _of(function: Any, name: str, params: Any) -> Any:
    """The parameter that a function's own becomes where its flag has another name."""
    from sparsity_lab.cli.console.ranges import flag_of

    flag = flag_of(function, name)
    return next(one for one in params if flag in one.opts)


def _kind(hint: Any) -> tuple[type | None, bool]:
    """The plain type of an annotation, and whether it is a list; None for what is no parameter."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = (one for one in typing.get_args(hint) if one is not type(None))
    several = typing.get_origin(hint) is list
    if several:
        (hint,) = typing.get_args(hint)
    return (None if issubclass(hint, typer.Context) else hint), several
