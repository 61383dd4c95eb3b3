"""Before a command begins: its packages are installed, its numbers in their ranges, and its output is a folder."""

from __future__ import annotations

import functools
import itertools
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sparsity_lab import extras, ranges
from sparsity_lab.cli.console import needs
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.store.records import refuse_url

if TYPE_CHECKING:
    import typer

PATHS = ("--output", "-o", "--text")  # where one is empty, it would be the working directory


def hold(app: typer.Typer, path: tuple[str, ...] = ()) -> None:
    """Make every command of an app, and of the groups in it, check packages and numbers first."""
    for info in app.registered_commands:
        if info.callback is not None:
            info.callback = _checked(info.callback, ".".join([*path, info.name or info.callback.__name__]))
    if app.registered_callback is not None and app.registered_callback.callback is not None:
        app.registered_callback.callback = _checked(app.registered_callback.callback, ".".join(path))
    for group in app.registered_groups:
        if group.typer_instance is not None:
            hold(group.typer_instance, (*path, group.name or ""))


def _checked(command: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A command that refuses what it cannot work with: missing or broken packages, bad numbers, a URL to write to."""

    @functools.wraps(command)
    def checked(*words: Any, **options: Any) -> Any:
        needs.check(name, options)
        for option, value in options.items():
            ranges.check(option, value, command=name, flag=flag_of(command, option))
        if options.get("output") is not None:
            refuse_url(options["output"])
        with extras.explained():
            return command(*words, **options)

    return checked


def refuse_empty_paths(words: list[str]) -> None:
    """Refuse an empty --output or --text, which as a path is the working directory.

    Raises:
        SparsityLabError: the words of a command line hold one.
    """
    following = [(flag, word) for flag, word in itertools.pairwise(words) if flag in PATHS]
    following += [
        (flag, word)
        for flag, equals, word in (each.partition("=") for each in words)
        if flag in PATHS and equals
    ]
    for flag, word in following:
        if not word.strip():
            raise SparsityLabError(
                f"{'--output' if flag == '-o' else flag} is empty", why="A variable of the shell's may not be set",
                fix="Name a path, or . for this folder",
            )  # fmt: skip


def flag_of(command: Callable[..., Any], option: str) -> str:
    """The flag of a command's parameter, as its annotation says, or as typer makes one of the name."""
    annotated = typing.get_type_hints(command, include_extras=True).get(option)
    usual = f"--{option.replace('_', '-')}"
    for one in getattr(annotated, "__metadata__", ()):
        # typer takes the first word of an annotation for a default, until it builds the command.
        words = [getattr(one, "default", None), *(getattr(one, "param_decls", None) or ())]
        usual = next((word for word in words if isinstance(word, str) and word.startswith("--")), usual)
    return usual
