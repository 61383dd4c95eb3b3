"""A world for each case: a model, a text, a record, and an empty working directory."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from sparsity_lab.cli.main import main
from tests.hostile.battery import World
from tests.unrendered import unrendered


@pytest.fixture(scope="session")
@unrendered()
def measured(trained, source_text, tmp_path_factory):
    """A record of `measure` on the trained model, at a fixed knob."""
    output = tmp_path_factory.mktemp("measured")
    words = ["measure", trained, "--text", source_text, "--tokens", 512, "--window", 64, "--knob", 0.1]
    with pytest.raises(SystemExit) as stop:
        main([*map(str, words), "--output", str(output)])
    assert not stop.value.code
    (record,) = (output / "records").glob("*.json")
    return record


@pytest.fixture
def world(trained, source_text, measured, tmp_path, monkeypatch):
    """The world of one case; the process stands in its empty folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return World(folder, trained, source_text, measured)


@pytest.fixture(scope="session")
@unrendered()
def watched(trained, source_text, measured, tmp_path_factory):
    """Folder of what `neurons` and `predict` leave under that record, on the text called `source`."""
    root = tmp_path_factory.mktemp("uses")
    given = [
        trained,
        "--thresholds",
        measured,
        "--text",
        f"source={source_text}",
        "--tokens",
        512,
        "--window",
        64,
    ]
    for command, more in (
        ("neurons", ["--written-tokens", 0]),
        ("predict", ["--epochs", 1, "--rank", 2, "--budget", 1]),
    ):
        with pytest.raises(SystemExit) as stop:
            main([*map(str, [command, *given, *more]), "--output", str(root / command)])
        assert not stop.value.code
    return root


@pytest.fixture
def using(world, watched):
    """The world of a case that begins with such records."""
    return replace(world, uses=watched)


@pytest.fixture(scope="module")
def scratch():
    """A folder that all made-up files of a module take turns in."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
