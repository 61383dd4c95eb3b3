"""`--help`: examples that the parser takes, lines that fit, no colour where none is wanted; and completion of words."""

import os
import re
import shlex
import subprocess
import sys

import pytest
import typer

from sparsity_lab.cli.console.examples import EXAMPLES
from sparsity_lab.cli.main import app, command_line
from tests.cli.test_ranges import commands
from tests.command import ROOT

PATHS = [path for path, _ in commands(app)] + [("bench",)]
PROGRAM = (sys.executable, "-m", "sparsity_lab")


def run(*words, **environment):
    return subprocess.run(
        [*PROGRAM, *words], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip


def parsed(words):
    """The command that words name, after the real parser has taken the words behind it."""
    command = command_line()
    context = command.make_context("sparsity-lab", list(words), resilient_parsing=False)
    while rest := [*context._protected_args, *context.args] if hasattr(command, "resolve_command") else []:
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
    return context.command_path.split()[1:]


def test_every_command_has_examples_and_no_other():
    assert set(EXAMPLES) == {".".join(path) for path in PATHS}
    assert all(EXAMPLES.values())


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_parser_takes_every_example(name):
    for example in EXAMPLES[name]:
        words = shlex.split(example)
        found = parsed(words)
        assert ".".join(found) == name or (name == "bench" and found[0] == name)


def test_a_wrong_example_would_be_seen():
    with pytest.raises(Exception, match="No such option"):
        parsed(["measure", "model", "--nothing"])


@pytest.mark.parametrize("columns", [60, 100])
@pytest.mark.parametrize("path", [(), *PATHS], ids=" ".join)
def test_help_loses_nothing(path, columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    with pytest.raises(typer.Exit):
        parsed([*path, "--help"])
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "…" not in said
    lines = [line for line in said.splitlines() if "|" not in line]  # choices are one word
    assert max(map(len, lines)) <= columns
    words = set(re.findall(r"[^\s│╭╮╰╯─]+", said))
    for example in EXAMPLES.get(".".join(path), ()):
        assert {word for word in example.split() if len(word) < 50} <= words


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("sparsity-lab mea", "measure"),
        ("sparsity-lab measure --ppl", "--ppl-increase"),
        ("sparsity-lab ls la", "laws"),
    ],
)
def test_the_shell_completes_commands_options_and_values(typed, offered):
    number = len(typed.split()) - 1
    found = run(_SPARSITY_LAB_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=str(number))
    assert found.returncode == 0, found.stderr
    assert offered in found.stdout.split()
