"""Several knobs, increases or ratios in one run of `sparsity-lab measure`."""

import csv
import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from sparsity_lab.fitting.data.series import read_series
from sparsity_lab.store.records import read_record
from tests.command import exit_code

pytestmark = pytest.mark.usefixtures("unrendered")

PART = ("--tokens", 512, "--window", 64)


def run(*words):
    return exit_code("measure", *words)


def cells(output):
    """Content key -> record without its stamps."""
    found = {}
    for path in (output / "records").glob("*.json"):
        record = read_record(path)
        found[record["content_key"]] = {
            name: value for name, value in record.items() if name not in ("provenance", "record_sha256")
        }
    return found


@pytest.fixture(scope="module")
def steps(trained, tmp_path_factory):
    """Three checkpoints of a run, weights of their own."""
    root = tmp_path_factory.mktemp("steps") / "run"
    weights = load_file(trained / "model.safetensors")
    for step in (1000, 2000, 3000):
        folder = shutil.copytree(trained, root / f"step-{step}")
        moved = {name: value * (1 + step / 1e5) for name, value in weights.items()}
        save_file(moved, folder / "model.safetensors", metadata={"format": "pt"})
    return root


@pytest.mark.long
def test_each_is_what_a_run_of_its_own_finds(steps, source_text, tmp_path, monkeypatch):
    """And each checkpoint's weights are read once, whatever is asked of it."""
    from sparsity_lab.measure.model import loaded

    read = []
    load = loaded.load
    monkeypatch.setattr(loaded, "load", lambda source, **more: read.append(source) or load(source, **more))
    both = tmp_path / "both"
    assert run(steps, "--text", source_text, *PART, "--knob", 0.3, "--knob", 0.1, "--output", both) == 0
    assert len(read) == 3
    expected = {}
    for knob in (0.1, 0.3):
        alone = tmp_path / str(knob)
        assert run(steps, "--text", source_text, *PART, "--knob", knob, "--output", alone) == 0
        expected |= cells(alone)
    assert cells(both) == expected
    with (both / "table.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["model"].rpartition("/")[2], float(row["knob"])) for row in rows] == [
        (f"step-{step}", knob) for step in (1000, 2000, 3000) for knob in (0.3, 0.1)
    ]
    assert json.loads((both / "config.json").read_text(encoding="utf-8"))["further"] == [0.1]


@pytest.mark.long
def test_a_fit_takes_each_knob_as_a_series_of_its_own(steps, source_text, tmp_path):
    words = ("--tokens-per-step", 100, "--knob", 0.1, "--knob", 0.3, "--output", tmp_path / "out")
    assert run(steps, "--text", source_text, *PART, *words) == 0
    found = read_series(tmp_path / "out" / "table.csv")
    assert sorted(one.name.rpartition("-")[2] for one in found) == ["0.1", "0.3"]
    assert [len(one.x) for one in found] == [3, 3]


def test_the_table_says_what_each_row_was_asked(trained, source_text, tmp_path, capsys):
    words = ("--text", source_text, *PART, "--output", tmp_path / "out")
    assert run(trained, *words, "--activation-ratio", "10%", "--activation-ratio", 0.2, "--dry-run") == 0
    assert "2 cells, 0 of them measured already" in capsys.readouterr().out
    assert run(trained, *words, "--activation-ratio", "10%", "--activation-ratio", 0.2) == 0
    lines = (tmp_path / "out" / "table.md").read_text(encoding="utf-8").splitlines()
    place = [word.strip() for word in lines[0].split("|")].index("ratio asked for")
    assert [line.split("|")[place].strip() for line in lines[2:]] == ["0.1", "0.2"]


def test_a_config_file_holds_one_or_several(trained, source_text, tmp_path):
    config = tmp_path / "config.yaml"
    for said, count in (("0.3", 1), ("[0.3, 0.1]", 2)):
        config.write_text(f"text: {source_text}\nknob: {said}\ntokens: 512\nwindow: 64\n", encoding="utf-8")
        output = tmp_path / f"out-{count}"
        assert run(trained, "--config", config, "--output", output) == 0
        assert len(cells(output)) == count


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--knob", 0.1, "--knob", "0.10"), "0.1 is given twice"),
        (("--knob", 0.1, "--knob", 2), "2"),
        (("--ppl-increase", "1%", "--ppl-increase", "-5%"), "-0.05"),
        (("--ppl-increase", "1%", "--ppl-increase", "5%", "--stabilise", "last:1"), "--stabilise"),
        (("--ppl-increase", "1%", "--ppl-increase", "5%", "--tokens", "auto"), "--tokens auto"),
        (("--ppl-increase", "1%", "--ppl-increase", "5%", "--criterion", "all"), "one value"),
    ],
)
def test_mistakes(trained, source_text, tmp_path, capfd, words, told):
    assert run(trained, "--text", source_text, *PART, *words, "--output", tmp_path / "out") == 2
    captured = capfd.readouterr()
    assert captured.err.startswith("Error: ")
    assert captured.err.count("\n") == 1
    assert told in captured.err
    assert not (tmp_path / "out").exists()
