"""`sparsity-lab structure` and `predict` as a user meets them: tables, resume, drift, and mistakes in one paragraph."""

import csv
import json
import shutil

import pytest

from sparsity_lab.measure.neurons.predictors import record as predictions
from sparsity_lab.measure.neurons.spec import NeuronSpec
from sparsity_lab.measure.neurons.structure import record as structure
from sparsity_lab.measure.neurons.structure.run import structure_command
from sparsity_lab.measure.neurons.structure.spec import StructureSettings
from sparsity_lab.measure.neurons.watching import watch_checkpoints
from sparsity_lab.measure.sources.named import texts_of
from sparsity_lab.measure.spec import expand
from sparsity_lab.store.table_columns.predictors import PREDICTORS
from sparsity_lab.store.table_columns.structure import CLUSTERS, DRIFT, ROUTING
from tests.command import exit_code
from tests.unrendered import unrendered

PART = ("--tokens", 1024, "--window", 64)
FEW = (*PART, "--clusters", 4, "--routed", 1, "--draws", 39, "--permutations", 99)


def rows_of(path):
    return list(csv.DictReader(path.open(encoding="utf-8")))


@pytest.fixture(scope="module")
def texts(source_text, tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "other.txt"
    path.write_text(
        "\n".join(f"    value_{i} = compute({i}, [{i % 7}])" for i in range(2000)), encoding="utf-8"
    )
    return ("--text", f"source={source_text}", "--text", path)


@pytest.fixture(scope="module")
@unrendered()
def measured(checkpoints, source_text, tmp_path_factory):
    """What `measure` leaves of three checkpoints."""
    output = tmp_path_factory.mktemp("measured") / "out"
    words = (checkpoints, "--limit", 3, "--text", source_text, *PART, "--knob", 0.1, "--output", output)
    assert exit_code("measure", *words) == 0
    return output


@pytest.fixture(scope="module")
def examined(checkpoints, measured, texts, tmp_path_factory):
    """What `structure` leaves of them on two texts."""
    output = tmp_path_factory.mktemp("examined") / "out"
    assert (
        exit_code(
            "structure", checkpoints, "--limit", 3, "--thresholds", measured, *texts, *FEW, "--output", output
        )
        == 0
    )
    return output


@pytest.mark.long
def test_structure_writes_every_table_and_figure(examined):
    clusters = rows_of(examined / "clusters.csv")
    assert list(clusters[0]) == CLUSTERS.header
    assert len(clusters) == 3 * 2 * 3 * 2  # models, texts, layers and all, m = 1 and 2
    assert list(rows_of(examined / "routing.csv")[0]) == ROUTING.header
    for row in clusters:
        assert 0 < float(row["random"]) < 1
        assert 1 / 40 <= float(row["p_random"]) <= 1
    drift = rows_of(examined / "drift.csv")
    assert list(drift[0]) == DRIFT.header
    assert len(drift) == 2 * 3 * 4  # texts, measures, comparisons of three checkpoints
    assert {row["measure"] for row in rows_of(examined / "settled.csv")} == {
        "frequency", "importance", "coactivation"
    }  # fmt: skip
    assert {row["what"] for row in rows_of(examined / "specialised.csv")} == {"neurons", "clusters"}
    for name in ("clusters", "routing", "coactivation", "specialised", "drift"):
        assert (examined / f"{name}.png").stat().st_size > 10_000
        assert (examined / f"{name}.svg").exists()
    summary = json.loads((examined / "structure.json").read_text(encoding="utf-8"))
    assert summary["settings"]["clusters"] == 4
    assert summary["provenance"]["command"].startswith("sparsity-lab")


@pytest.mark.long
def test_structure_records_have_the_documented_keys_and_arrays(examined):
    paths = sorted((examined / "structure_records").glob("*.json"))
    assert len(paths) == 6
    for path in paths:
        found = structure.KIND.read(path)
        assert list(found.body) == list(structure.KEYS)
        assert set(found.arrays) == set(structure.ARRAYS)
        habits = structure.habits_of(found)
        assert habits.tokens.sum() == 1024
        assert habits.fired.sum() == found.arrays["fired"].sum()
        for (places, labels), sketch in zip(structure.clusters_of(found), habits.sketch, strict=True):
            assert sorted(set(labels.tolist())) == [0, 1, 2, 3]
            assert habits.fired[:, places].sum() == sketch.diagonal(axis1=1, axis2=2).sum()


def test_what_was_examined_is_not_examined_again(examined, checkpoints, measured, texts, tmp_path, capfd):
    output = shutil.copytree(examined, tmp_path / "out")
    first = sorted((output / "structure_records").glob("*.json"))[0]
    first.write_text(
        first.read_text(encoding="utf-8").replace('"window": 64', '"window": 65'), encoding="utf-8"
    )
    words = (checkpoints, "--limit", 3, "--thresholds", measured, *texts, *FEW, "--output", output)
    assert exit_code("structure", *words, "--dry-run") == 0
    assert "6 cells, 5 of them done already" in capfd.readouterr().out
    times = {path: path.stat().st_mtime_ns for path in (output / "structure_records").glob("*.json")}
    named = [word for word in texts if word != "--text"]
    watch = NeuronSpec(
        texts_of([str(word) for word in named]), tokens=1024, window=64, batch_size=3, written_tokens=0
    )
    settings = StructureSettings(clusters=4, routed=1, draws=39, permutations=99)
    command = structure_command(watch, settings, [measured])
    watch_checkpoints(command, expand([str(checkpoints)])[:3], output=output)
    changed = [path for path, time in times.items() if path.stat().st_mtime_ns != time]
    assert changed == []  # the damaged one was set aside before, by the dry run, and is new
    assert first.exists()
    for name in ("clusters.csv", "routing.csv", "drift.csv", "specialised.csv", "pairs.csv"):
        assert (output / name).read_bytes() == (examined / name).read_bytes(), name


@pytest.mark.long
def test_predict_writes_tables_and_figures_and_resumes(checkpoints, measured, texts, tmp_path, capfd):
    output = tmp_path / "out"
    words = (checkpoints, "--limit", 1, "--thresholds", measured, *texts, *PART, "--rank", 2, "--rank", 4,
             "--epochs", 2, "--output", output)  # fmt: skip
    assert exit_code("predict", *words) == 0
    rows = rows_of(output / "predictors.csv")
    assert list(rows[0]) == PREDICTORS.header
    assert len(rows) == 2 * 3 * (5 * 3 + 1)
    assert {row["rank"] for row in rows} == {"2", "4", ""}
    assert len(rows_of(output / "training.csv")) == 2 * 2 * 2
    for name in ("recall", "layers"):
        assert (output / f"{name}.png").stat().st_size > 10_000
    (one, _) = sorted((output / "predictor_records").glob("*.json"))
    found = predictions.KIND.read(one)
    assert list(found.body) == list(predictions.KEYS)
    assert found.arrays["hits"].shape[1:] == (2, 5, 3)
    before = (output / "predictors.csv").read_bytes()
    capfd.readouterr()
    assert exit_code("predict", *words, "--dry-run") == 0
    assert "2 cells, 2 of them done already" in capfd.readouterr().out
    assert exit_code("predict", *words) == 0
    assert (output / "predictors.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        ("structure", ("--clusters", 30), "48 neurons cannot be put into 30 clusters"),
        ("structure", ("--clusters", 4), "cannot be routed to 4 of 4"),
        ("structure", ("--draws", 5), "--draws is 5"),
        ("predict", ("--rank", 0), "--rank is 0"),
        ("predict", ("--epochs", 0), "--epochs is 0"),
    ],
)
def test_mistakes_are_told_in_one_paragraph(
    command, words, said, checkpoints, measured, source_text, tmp_path, capfd
):
    output = tmp_path / "never"
    given = (checkpoints / "step-1", "--thresholds", measured, "--text", source_text, *PART, *words)
    assert exit_code(command, *given, "--output", output) == 2
    (paragraph,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert said in paragraph
    assert not output.exists()
