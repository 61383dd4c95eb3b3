"""`sparsity-lab neurons` as a user meets it: tables, resume, and each mistake told in one paragraph."""

import csv
import json
import shutil

import numpy as np
import pytest

from sparsity_lab.measure.neurons.frequency import record
from sparsity_lab.measure.neurons.frequency.run import neurons_command
from sparsity_lab.measure.neurons.spec import NeuronSpec
from sparsity_lab.measure.neurons.watching import watch_checkpoints
from sparsity_lab.measure.sources.named import texts_of
from sparsity_lab.measure.spec import expand
from sparsity_lab.store.table_columns.frequency import CHUNKS, NEURONS
from tests.command import exit_code
from tests.unrendered import unrendered

PART = ("--tokens", 1024, "--window", 64)
QUICK = (*PART, "--written-tokens", 4, "--prompts", 8)


def run(*words, command="neurons"):
    return exit_code(command, *words)


def rows_of(path):
    return list(csv.DictReader(path.open(encoding="utf-8")))


@pytest.fixture(scope="module")
def other_text(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "other.txt"
    path.write_text(
        "\n".join(f"    value_{i} = compute({i}, [{i % 7}])" for i in range(2000)), encoding="utf-8"
    )
    return path


@pytest.fixture(scope="module")
@unrendered()
def measured(checkpoints, source_text, tmp_path_factory):
    """What `measure` leaves of two checkpoints."""
    output = tmp_path_factory.mktemp("measured") / "out"
    words = (checkpoints, "--limit", 2, "--text", source_text, *PART, "--knob", 0.1, "--output", output)
    assert run(*words, command="measure") == 0
    return output


@pytest.fixture(scope="module")
def watched(checkpoints, measured, source_text, other_text, tmp_path_factory):
    """What `neurons` leaves of the two on two texts."""
    output = tmp_path_factory.mktemp("watched") / "out"
    words = ("--limit", 2, "--thresholds", measured, "--text", f"source={source_text}", "--text", other_text)
    assert run(checkpoints, *words, *QUICK, "--output", output) == 0
    return output


@unrendered()
def test_a_config_names_options_as_their_flags_do(checkpoints, measured, source_text, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(
        f"text: source={source_text}\nthresholds: {measured}\nlimit: 1\ntokens: 1024\nwindow: 64\n"
        "written-tokens: 4\nprompts: 8\n",
        encoding="utf-8",
    )
    assert run(checkpoints, "--config", config, "--output", tmp_path / "out") == 0
    assert {row["text"] for row in rows_of(tmp_path / "out" / "neurons.csv")} == {"source"}


@pytest.mark.long
def test_tables_hold_every_model_text_and_layer(watched):
    neurons = rows_of(watched / "neurons.csv")
    assert list(neurons[0]) == NEURONS.header
    assert [(row["name"], row["text"], row["layer"]) for row in neurons] == [
        (name, text, layer)
        for name in ("run/step-1", "run/step-2") for text in ("source", "other") for layer in ("all", "0", "1")
    ]  # fmt: skip
    chunks = rows_of(watched / "chunks.csv")
    assert list(chunks[0]) == CHUNKS.header
    assert len(chunks) == len(neurons) * 7
    assert len(rows_of(watched / "positions.csv")) == 4 * 64
    assert {row["convention"] for row in rows_of(watched / "parameters.csv")} == {
        "output-side", "input-side", "oracle"
    }  # fmt: skip
    (source, other) = rows_of(watched / "token_pairs.csv")
    assert (source["model"], source["other"]) == ("run/step-1", "run/step-2")
    assert 0 < float(source["correlation"]) <= 1
    assert other["text"] == "other"
    for name in ("frequency", "token_pairs", "layers", "positions", "chunks", "decode"):
        assert (watched / f"{name}.png").stat().st_size > 10_000
        assert (watched / f"{name}.svg").exists()
    summary = json.loads((watched / "neurons.json").read_text(encoding="utf-8"))
    assert len(summary["rows"]) == 4
    assert summary["provenance"]["command"].startswith("sparsity-lab")


@pytest.mark.long
def test_numbers_agree_with_each_other_and_with_measure(watched, measured, source_text, tmp_path):
    by_measure = {}
    for row in rows_of(measured / "table.csv"):
        again = tmp_path / row["content_key"]
        thresholds = measured / "records" / f"{row['content_key']}.json"
        words = (row["model"], "--text", source_text, *PART, "--thresholds", thresholds, "--output", again)
        assert run(*words, command="measure") == 0
        (by_measure[row["model"].rsplit("/", 1)[1]],) = rows_of(again / "table.csv")
    whole = [row for row in rows_of(watched / "neurons.csv") if row["layer"] == "all"]
    for row in whole:
        if row["text"] == "source":
            theirs = by_measure[row["name"].rsplit("/", 1)[1]]
            assert float(row["activation_ratio"]) == float(theirs["activation_ratio"])
            assert float(row["activation_ratio_se"]) == pytest.approx(float(theirs["activation_ratio_se"]))
        own = [one for one in rows_of(watched / "tokens.csv")
               if (one["name"], one["text"]) == (row["name"], row["text"])]  # fmt: skip
        assert sum(int(one["count"]) for one in own) == 1024
        mean = sum(int(one["count"]) * float(one["activation_ratio"]) for one in own) / 1024
        assert mean == pytest.approx(float(row["activation_ratio"]))
        bins = [one for one in rows_of(watched / "frequency.csv")
                if (one["name"], one["text"], one["layer"]) == (row["name"], row["text"], "all")]  # fmt: skip
        assert sum(int(one["neurons"]) for one in bins) == 96


def test_records_have_the_documented_keys_and_arrays(watched):
    paths = sorted((watched / "neuron_records").glob("*.json"))
    assert len(paths) == 4
    for path in paths:
        found = record.KIND.read(path)
        assert list(found.body) == list(record.NEURON_KEYS)
        assert set(found.arrays) == set(record.ARRAYS)
        fired, active = found.arrays["fired"], found.arrays["token_active"]
        assert fired.dtype == active.dtype == np.int64
        assert fired.sum() == active.sum() == found.arrays["position_active"].sum()
        assert fired.sum() == round(found.body["activation_ratio"] * 1024 * 96)
        assert len(found.body["token_text"]) == len(found.arrays["token_ids"])
        assert found.body["content_key"] == path.stem


def test_what_was_counted_is_not_counted_again(
    watched, checkpoints, measured, source_text, other_text, tmp_path, capfd
):
    output = shutil.copytree(watched, tmp_path / "out")
    first, second, *_ = sorted((output / "neuron_records").glob("*.json"))
    first.write_text(
        first.read_text(encoding="utf-8").replace('"window": 64', '"window": 65'), encoding="utf-8"
    )
    second.with_suffix(".safetensors").write_bytes(b"short")
    times = {path: path.stat().st_mtime_ns for path in (output / "neuron_records").glob("*.json")}
    texts = ("--text", f"source={source_text}", "--text", other_text)
    words = (checkpoints, "--limit", 2, "--thresholds", measured, *texts, *QUICK, "--output", output)
    assert run(*words, "--dry-run") == 0
    assert "4 cells, 2 of them done already" in capfd.readouterr().out
    spec = NeuronSpec(texts_of([f"source={source_text}", str(other_text)]), tokens=1024, window=64, batch_size=3,
                      written_tokens=4, prompts=8)  # fmt: skip
    watch_checkpoints(neurons_command(spec, [measured]), expand([str(checkpoints)])[:2], output=output)
    changed = {path.name for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert changed == {first.name, second.name}
    for name in ("neurons.csv", "chunks.csv", "tokens.csv", "decode.csv", "token_pairs.csv"):
        assert (output / name).read_bytes() == (watched / name).read_bytes(), name


@unrendered()
def test_nothing_is_written_by_the_model_where_none_is_asked_for(trained, measured, source_text, tmp_path):
    one = sorted((measured / "records").glob("*.json"))[0]
    words = ("--text", source_text, *PART, "--written-tokens", 0, "--output", tmp_path / "out")
    assert run(trained, "--thresholds", one, *words) == 0
    assert not (tmp_path / "out" / "decode.csv").exists()
    assert (tmp_path / "out" / "neurons.md").exists()


@pytest.fixture
def mistaken(checkpoints, measured, source_text, tmp_path, capfd):
    """The one paragraph a mistake is told in."""

    def told(*words, models=(checkpoints / "step-1",), thresholds=(measured,), text=source_text):
        output = tmp_path / "never"
        given = [part for path in thresholds for part in ("--thresholds", path)]
        capfd.readouterr()
        assert run(*models, *given, "--text", text, *words, "--output", output) == 2
        errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("Error: ")]
        assert not output.exists()
        (paragraph,) = errors
        return paragraph

    return told


def test_mistakes(mistaken, checkpoints, measured, source_text, tmp_path):
    one, two = sorted((measured / "records").glob("*.json"))
    assert "holds no record of" in mistaken(*QUICK, models=[checkpoints / "step-10"])
    assert "2 records of thresholds for 1 checkpoints" in mistaken(*QUICK, thresholds=[one, two])
    assert "A folder of records goes alone" in mistaken(*QUICK, thresholds=[one, measured])
    assert "no record with thresholds" in mistaken(*QUICK, thresholds=[tmp_path])
    assert "Cannot read the record" in mistaken(*QUICK, thresholds=[tmp_path / "none.json"])
    assert "Cannot read the text" in mistaken(*QUICK, text=tmp_path / "none.txt")
    assert "--text =x is not understood" in mistaken(*QUICK, text="=x")
    assert "Write --text NAME=FILE" in mistaken(*QUICK, "--text", source_text)
    assert "beyond the window of 64" in mistaken(*PART, "--written-tokens", 64)
    assert "--batch-size is 0. It must be a number from 1" in mistaken(*QUICK, "--batch-size", "0")


@unrendered()
def test_several_records_of_one_checkpoint_are_told_apart(
    mistaken, checkpoints, measured, source_text, tmp_path
):
    folder = shutil.copytree(measured, tmp_path / "two")
    words = (checkpoints / "step-1", "--text", source_text, *PART, "--knob", 0.2, "--output", folder)
    assert run(*words, command="measure") == 0
    first = min((folder / "records").glob("*.json"))
    shutil.copy(first, folder / "records" / "copy.json")
    paragraph = mistaken(*QUICK, thresholds=[folder])
    assert "holds 2 records of" in paragraph, "a copy is no further record"
    assert "knob 0.2" in paragraph


@unrendered()
def test_a_criterion_without_thresholds(mistaken, checkpoints, source_text, tmp_path):
    words = ("--text", source_text, *PART, "--criterion", "top-k", "--knob", 0.3, "--output", tmp_path / "m")
    assert run(checkpoints / "step-1", *words, command="measure") == 0
    (path,) = (tmp_path / "m" / "records").glob("*.json")
    assert "holds no thresholds" in mistaken(*QUICK, thresholds=[path])
