"""The `sparsity-lab` command: gathers the commands, turns our errors into one paragraph and exit 2.

Command files import nothing heavy at the top, so that `--help` answers at once.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from sparsity_lab import __version__
from sparsity_lab.cli import (
    affinity,
    bench,
    bench_train,
    check,
    demo,
    density,
    evaluate,
    fit,
    heat,
    ls,
    measure,
    neurons,
    predict,
    report,
    structure,
    study,
    train,
)
from sparsity_lab.cli.console import absent, examples
from sparsity_lab.cli.console.options import PanelCommand, PanelGroup
from sparsity_lab.cli.console.progress import redraws
from sparsity_lab.cli.console.ranges import hold, refuse_empty_paths
from sparsity_lab.cli.console.streams import NoteStream, lost_output, settle
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.machine import signals
from sparsity_lab.machine.environment import whole_number
from sparsity_lab.store.file_names import refuse_undecodable

PROGRAM = "sparsity-lab"
INTERRUPTED = signals.exit_code(signal.SIGINT)
# Typer carries click within itself, or depends on it, by its version.
try:
    from typer._click import exceptions as click_exceptions
except ImportError:
    from click import exceptions as click_exceptions  # type: ignore[no-redef]

app = typer.Typer(
    name=PROGRAM,
    help="Empirical sparsity and density laws of language models.",
    epilog="Where to begin:\n\nsparsity-lab demo\n\nsparsity-lab measure MODEL\n\nsparsity-lab COMMAND --help",
    cls=PanelGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS = {
    "demo": demo, "train": train, "measure": measure, "neurons": neurons, "structure": structure, "predict": predict,
    "affinity": affinity, "fit": fit, "study": study, "check": check, "eval": evaluate, "heat": heat, "report": report,
    "ls": ls,
}  # fmt: skip
for name, module in COMMANDS.items():
    app.command(name, cls=PanelCommand)(module.command)
bench.app.command("train", cls=PanelCommand)(bench_train.command)
app.add_typer(bench.app, name="bench")
app.add_typer(density.app, name="density")
examples.show(app)
hold(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sparsity-lab {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No notes on stderr, only errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Empirical sparsity and density laws of language models."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[NoteStream()])
    logging.getLogger("sparsity_lab").setLevel(logging.ERROR if quiet else logging.INFO)
    if quiet or not redraws():
        os.environ.setdefault("TQDM_DISABLE", "1")  # other libraries' bars, before these are imported


@functools.cache
def command_line() -> Callable[..., Any]:
    """All commands, built once: that takes longer than most mistakes take to be found."""
    return typer.main.get_command(app)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; never returns normally."""
    words = sys.argv[1:] if arguments is None else arguments
    settle()
    try:
        code = _run(words)
        if (why := lost_output()) is not None:
            raise SparsityLabError(
                "Standard output could not be written",
                why=why,
                fix="The files that the command writes are complete: send standard output to where there is space",
            )
        sys.exit(code)
    except SparsityLabError as error:
        if signals.received() is not None:  # what the interrupt broke is not a mistake of the user's
            raise KeyboardInterrupt from error
        if "--debug" in words:
            raise
        typer.echo(f"Error: {error.paragraph()}", err=True)
        sys.exit(2)


def _run(words: list[str]) -> int:
    """Run the command and give its exit code; a flag it does not take is told like any other mistake."""
    for word in words:
        refuse_undecodable(word)
    refuse_empty_paths(words)
    whole_number("SOURCE_DATE_EPOCH", least=0)  # libraries read it, and fail where it is no number
    try:
        return command_line()(args=words, prog_name=PROGRAM, standalone_mode=False) or 0
    except typer.Abort:
        return INTERRUPTED
    except click_exceptions.UsageError as error:
        if isinstance(error, getattr(click_exceptions, "NoArgsIsHelpError", ())):
            error.show()
            return 2
        context = getattr(error, "ctx", None)
        command = PROGRAM if context is None else context.command_path
        name = ".".join(command.split()[1:])
        why = absent.reason(name, str(getattr(error, "option_name", "")))
        raise SparsityLabError(error.format_message(), why=why, fix=f"See `{command} --help`") from error
