"""The text that the package carries: read by `measure`, `neurons`, `structure` and `predict` where none is named."""

import json
import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models

from sparsity_lab.measure.sources.texts import open_text
from sparsity_lab.reading.texts.text_file import TextFile
from sparsity_lab.store import bundled
from tests.command import run

HOW = ("--tokens", "1024", "--window", "32")
FILE = bundled.FOLDER / "news_from_nowhere.txt"


def records(folder):
    """Records by the key that names their file."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((folder / "records").glob("*.json"))}


@pytest.fixture(scope="module")
def measured(trained, tmp_path_factory):
    output = tmp_path_factory.mktemp("measured")
    done = run("measure", trained, *HOW, "--knob", "0.2", "--output", output)
    assert done.returncode == 0, done.stderr
    return output, done.stderr


def test_a_first_number_takes_the_model_alone_and_says_what_was_read(measured):
    output, said = measured
    (record,) = records(output).values()
    assert record["text_source"] == {
        "form": "text", "path": str(FILE), "bytes": FILE.stat().st_size, "bundled": bundled.TEXT,
    }  # fmt: skip
    assert said.count(bundled.TEXT) == 1


def test_its_numbers_have_a_key_of_their_own_and_a_name_does_as_well(measured, trained, tmp_path):
    (key,) = records(measured[0])
    (tmp_path / "other.txt").write_text(FILE.read_text(encoding="utf-8")[5000:300_000], encoding="utf-8")
    for text in (tmp_path / "other.txt", bundled.TEXT):
        done = run("measure", trained, "--text", text, *HOW, "--knob", "0.2", "--output", tmp_path / "out")
        assert done.returncode == 0, done.stderr
        assert "No text was given" not in done.stderr
    found = {each: kept["text_source"].get("bundled") for each, kept in records(tmp_path / "out").items()}
    assert len(found) == 2
    assert found[key] == bundled.TEXT
    assert set(found.values()) == {None, bundled.TEXT}


@pytest.mark.parametrize("command", ["neurons", "structure", "predict"])
@pytest.mark.long
def test_commands_that_watch_neurons_read_it_too(command, measured, trained, tmp_path):
    record = next((measured[0] / "records").glob("*.json"))
    more = ("--written-tokens", "0") if command == "neurons" else ()
    done = run(command, trained, "--thresholds", record, *HOW, *more, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(bundled.TEXT) >= 1
    kept = [json.loads(path.read_text()) for path in (tmp_path / "out").rglob("*.json")]
    read = [each["text_source"]["bundled"] for each in kept if "text_source" in each]
    assert read == [bundled.TEXT]


def test_a_text_that_is_named_and_not_there_is_an_error(trained, tmp_path):
    for words in (("--text", tmp_path / "none.txt"), ("--text", "news-from-nowher")):
        done = run("measure", trained, *words, *HOW, "--output", tmp_path / "out")
        assert done.returncode == 2
    for command in ("eval", "heat"):
        more = ("--thresholds", tmp_path / "none.json") if command == "heat" else ()
        assert run(command, trained, *more, "--output", tmp_path / "out").returncode == 2
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("*.json"))


def test_a_file_of_its_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / bundled.TEXT).write_text("mine")
    opened = open_text(Path(bundled.TEXT))
    assert isinstance(opened, TextFile)
    assert "bundled" not in opened.described()


def test_a_tokenizer_that_cannot_read_it_is_refused(trained, tmp_path):
    model = shutil.copytree(trained, tmp_path / "digits")
    Tokenizer(models.WordLevel({str(digit): digit for digit in range(10)})).save(
        str(model / "tokenizer.json")
    )
    done = run("measure", model, *HOW, "--knob", "0.2", "--output", tmp_path / "out")
    assert done.returncode == 2, done.stderr
    assert not list((tmp_path / "out").rglob("*.json"))


def test_it_is_long_enough_for_what_measure_reads():
    """65,536 tokens where a token has up to 6 bytes; tokenizers of 150,000 entries come to 4.5 on English prose."""
    text = FILE.read_text(encoding="utf-8")
    assert len(text.encode()) > 6 * 65_536
    assert "Gutenberg" not in text
    assert bundled.texts() == [bundled.TEXT]
