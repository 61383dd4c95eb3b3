"""A command whose options are the fields of a dataclass: name, type, default and help of each are declared there, once.

    @of_fields
    def command(options: NeuronsOptions) -> None: ...

A field says what it is by a `settings.Flag`, or where it needs more of typer by `typer.Option` or `typer.Argument`.
"""

from __future__ import annotations

import inspect
import shutil
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import MISSING, Field, fields
from enum import Enum
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import ArgumentInfo, ParameterInfo

from sparsity_lab import ranges
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.settings import PANELS, Flag

Kind = TypeVar("Kind")
NARROWEST_PANELS = 80  # columns of a terminal
ALTERNATIVES = (("text", "dataset"),)  # names of options of which one is given


@contextmanager
def _without_panels(command: Any) -> Iterator[None]:
    mode, command.rich_markup_mode = command.rich_markup_mode, None
    try:
        yield
    finally:
        command.rich_markup_mode = mode


class _HelpInPanel:
    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The help in panels, or where these would cut names off as plain lines."""
        wide = shutil.get_terminal_size().columns >= NARROWEST_PANELS
        with nullcontext() if wide else _without_panels(self):
            super().format_help(ctx, formatter)  # type: ignore[misc]

    def get_help_option(self, ctx: Any) -> Any:
        """The option as click makes it, in the last panel."""
        option = super().get_help_option(ctx)  # type: ignore[misc]
        if option is not None:
            option.rich_help_panel = PANELS[-1]
        return option


class PanelCommand(_HelpInPanel, TyperCommand):
    """A command that shows `--help` in the last panel."""


class PanelGroup(_HelpInPanel, TyperGroup):
    """A command with further commands that shows `--help` in the last panel."""


def of_fields(function: Callable[..., None]) -> Callable[..., None]:
    """A command for typer out of a function of a dataclass, `options`, and if it has that argument, of a `context`."""
    asked = ranges.hints(function)
    kind: Any = asked["options"]
    hints = ranges.hints(kind)
    notes = {name: _note(hint) for name, hint in hints.items()}
    ordered = sorted(fields(kind), key=lambda field: _place(kind, field, notes[field.name]))
    parameters = [_parameter(field, hints[field.name]) for field in ordered]
    parameters.insert(
        0, inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    )

    def command(context: typer.Context, **values: Any) -> None:
        taken = {name: _value(name, value, hints[name]) for name, value in values.items()}
        options = kind(**taken | _weaker(context, taken))
        function(options=options, **({"context": context} if "context" in asked else {}))

    command.__name__, command.__module__ = function.__name__, function.__module__
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    command.__doc__ = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


def _weaker(context: typer.Context, values: Mapping[str, Any]) -> dict[str, None]:
    """Options that a file names where a flag says the same in another word: these are taken as not given."""
    left_out: dict[str, None] = {}
    for names in ALTERNATIVES:
        given_by = {name: context.get_parameter_source(name) for name in names if name in values}
        flags = {
            name for name, source in given_by.items() if source is not None and source.name == "COMMANDLINE"
        }
        left_out |= dict.fromkeys(set(given_by) - flags) if flags else {}
    return left_out


def fill(kind: type[Kind], options: Any, **others: Any) -> Kind:
    """A specification out of a command's options: its fields of the same names, and others."""
    names = [field.name for field in fields(kind) if hasattr(options, field.name)]  # type: ignore[arg-type]
    return kind(**{**{name: getattr(options, name) for name in names}, **others})


def given(options: Any) -> set[str]:
    """Names of the options that have another value than their default."""
    return {field.name for field in fields(options) if getattr(options, field.name) != field.default}


def words_of(options: Any) -> list[str]:
    """The words of a command line that give these options: arguments first, then what differs from its default."""
    arguments, words = [], []
    for field in fields(options):
        value, note = getattr(options, field.name), _note(ranges.hints(type(options))[field.name])
        values = value if isinstance(value, (list, tuple)) else [value]
        if isinstance(note, ArgumentInfo):
            arguments += [str(item) for item in values]
        elif value != field.default:
            flag, _, negation = _flags(note, field.name, field.default)[0].partition("/")
            flag = negation if value is False else flag
            words += (
                [flag] if isinstance(value, bool) else [word for item in values for word in (flag, str(item))]
            )
    return [*arguments, *words]


def refuse_idle(options: Any, *names: str, because: str, fix: str) -> None:
    """Refuse the first of these options that has been given, where it would do nothing.

    Raises:
        SparsityLabError: there is one; `because` says when it does nothing.
    """
    for name in names:
        if name in given(options):
            flag = _flags(_note(ranges.hints(type(options))[name]), name)[0]
            raise SparsityLabError(f"{flag} does nothing {because}", fix=fix)


def whole_or_auto(name: str, text: str) -> int | None:
    """A whole number in the range of its name, None for auto.

    Raises:
        SparsityLabError: neither auto nor a positive number.
    """
    if text == "auto":
        return None
    if not text.isdecimal():
        raise SparsityLabError(
            f"{_long(name)} {text} is neither auto nor a positive number", fix="Write auto, or 8"
        )
    return ranges.whole(name, text)


def _note(hint: Any) -> Any:
    """What a field says of itself."""
    return next(note for note in hint.__metadata__ if isinstance(note, (Flag, ParameterInfo)))


def _long(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _flags(note: Any, name: str, default: Any = None) -> tuple[str, ...]:
    """The words for a field; a switch that is on has a negation."""
    if isinstance(note, Flag) and note.flags:
        return note.flags
    return (f"{_long(name)}/--no-{_long(name)[2:]}" if default is True else _long(name),)


def _place(kind: type, field: Field[Any], note: Any) -> tuple[int, bool, bool]:
    """Where `--help` shows a field: panel by panel, what is required first, then what is the command's own."""
    panel = note.panel if isinstance(note, Flag) else note.rich_help_panel
    number = PANELS.index(panel) if panel in PANELS else -1
    return number, field.default is not MISSING, field.name not in inspect.get_annotations(kind)


def _parameter(field: Field[Any], hint: Any) -> inspect.Parameter:
    note, default = _note(hint), inspect.Parameter.empty if field.default is MISSING else field.default
    if isinstance(note, Flag):
        kind, default = _of_typer(note, field.name, hint.__origin__, default)
        option = typer.Option(
            *_flags(note, field.name, default), help=note.help, rich_help_panel=note.panel,
            metavar=note.metavar or None, show_default=note.shown or default is not None,
        )  # fmt: skip
        hint = Annotated[kind, option]
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _of_typer(note: Flag, name: str, kind: Any, default: Any) -> tuple[Any, Any]:
    """The type and the default as typer takes them."""
    if note.auto:
        return str, "auto"
    if note.choices:
        words = Enum(name, {word: word for word in note.choices}, type=str)  # type: ignore[misc]
        return (words | None, None) if default is None else (words, words(default))
    if typing.get_origin(kind) is tuple:
        several: Any = types.GenericAlias(list, typing.get_args(kind)[:1])
        return (
            (several, default)
            if default is inspect.Parameter.empty
            else (several | None, list(default) or None)
        )
    return kind, default


def _value(name: str, value: Any, hint: Any) -> Any:
    """A value of typer's as the dataclass has it."""
    note = _note(hint)
    if isinstance(note, Flag) and note.auto:
        return whole_or_auto(name, value)
    if typing.get_origin(hint.__origin__) is tuple:
        return tuple(value or ())
    return value.value if isinstance(value, Enum) else value
