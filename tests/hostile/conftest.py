"""A world for each case: a model, a text, a record, and an empty working directory."""

import pytest

from sparsity_lab.cli.main import main
from tests.hostile.battery import World


@pytest.fixture(scope="session")
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
