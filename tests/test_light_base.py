"""The light base as it is installed, without any extra: run by `make test-all`, in an environment of its own."""

import pytest

from sparsity_lab import extras
from sparsity_lab.cli.main import app
from tests.command import exit_code
from tests.test_extras import COMMANDS

pytestmark = [
    pytest.mark.skipif(
        any(map(extras.is_installed, ("torch", "transformers", "ray", "wandb"))),
        reason="extras are installed",
    )
]


@pytest.mark.parametrize("words", COMMANDS)
def test_commands_name_the_extra_they_lack(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = exit_code(*words.split())
    assert code == 2
    assert f"needs sparsity-lab[{COMMANDS[words]}]" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def paths():
    for info in app.registered_commands:
        yield [info.name]
    for group in app.registered_groups:
        yield [group.name]
        for info in group.typer_instance.registered_commands:
            yield [group.name, info.name or info.callback.__name__]


@pytest.mark.parametrize("path", list(paths()), ids=" ".join)
def test_every_help_is_there(path, capsys):
    code = exit_code(*path, "--help")
    assert not code
    assert "Usage" in capsys.readouterr().out


@pytest.mark.parametrize(
    "room", ["laws", "criteria", "architectures", "kernels", "launchers", "loggers", "data"]
)
def test_every_room_is_listed(room, capsys):
    code = exit_code("ls", room)
    assert not code
    assert capsys.readouterr().out


def test_the_python_interface_says_what_it_lacks():
    with pytest.raises(ImportError, match=r"needs sparsity-lab\[measure\]"):
        import sparsity_lab.measure  # noqa: F401
