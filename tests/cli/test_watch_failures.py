"""One bad checkpoint of several does not stop the commands that watch neurons: its row is marked, the exit code 1."""

import csv
import json
import shutil

import pytest

from tests.command import run
from tests.loggers import reading

pytestmark = pytest.mark.usefixtures("unrendered")

PART = ("--tokens", 1024, "--window", 64)
COMMANDS = {
    "neurons": ("neurons", ("--written-tokens", 0), "activation_ratio"),
    "structure": (
        "clusters",
        ("--clusters", 4, "--routed", 2, "--draws", 19, "--permutations", 19),
        "inside",
    ),
    "predict": ("predictors", ("--rank", 2, "--epochs", 1), "recall"),
}


@pytest.fixture(scope="module")
def places(checkpoints, source_text, tmp_path_factory):
    """Three checkpoints, the second of which is cut short, and one record of thresholds for all."""
    folder = tmp_path_factory.mktemp("places")
    measured = folder / "measured"
    done = run(
        "measure", checkpoints, "--limit", 1, "--text", source_text, *PART, "--knob", 0.1, "-o", measured
    )
    assert done.returncode == 0, done.stderr
    models = []
    for number, path in enumerate(sorted(checkpoints.iterdir())[:3]):
        models.append(shutil.copytree(path, folder / f"model-{number}"))
    weights = models[1] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    (record,) = (measured / "records").glob("*.json")
    return models, record


def rows_of(path):
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("command", COMMANDS)
def test_the_others_are_watched_and_logged(places, source_text, tmp_path, command, jobs):
    models, record = places
    table, options, number = COMMANDS[command]
    words = (command, "--thresholds", record, "--text", f"own={source_text}", *PART, *options)
    sound, mixed = tmp_path / "sound", tmp_path / "mixed"
    done = run(*words, models[0], models[2], "--log", "tensorboard", "-o", sound)
    assert done.returncode == 0, done.stderr
    done = run(*words, *models, "--jobs", jobs, "-o", mixed)
    assert done.returncode == 1, done.stderr
    assert "1 of 3 checkpoints failed" in done.stderr
    assert "failed" in done.stdout
    *others, failed = rows_of(mixed / f"{table}.csv")
    assert [{**row, "failed": ""} for row in rows_of(sound / f"{table}.csv")] == others
    assert str(models[1]) in failed["failed"]
    assert failed[number] == ""
    (summary,) = mixed.glob(f"{table if command == 'predict' else command}.json")
    assert [row["name"] for row in json.loads(summary.read_text(encoding="utf-8"))["failed"]] == [
        failed["name"]
    ]
    assert run(*words, *models, "--fail-fast", "-o", mixed).returncode == 2
    assert run(*words, models[1], "-o", mixed).returncode == 2, "alone"
    series = [path.name for path in (sound / "tensorboard").iterdir()]
    assert len(series) == 2
    assert all(reading.tensorboard(sound, name)[0] for name in series)


@pytest.mark.long
def test_a_folder_without_a_record_of_one_of_them_is_its_failure(places, source_text, tmp_path):
    models, record = places
    words = ("neurons", "--thresholds", record.parent, "--text", source_text, *PART, "--written-tokens", 0)
    own = json.loads(record.read_text(encoding="utf-8"))["model"]
    done = run(*words, own, models[2], "-o", tmp_path / "out")
    assert (done.returncode, "holds no record of" in done.stderr) == (1, True)
    plan = run(*words, own, models[2], "--dry-run", "-o", tmp_path / "out")
    assert (plan.returncode, "1 cell, 1 of them done already" in plan.stdout) == (1, True)
    assert "cannot be measured" in plan.stderr
    assert run(*words, models[2], "-o", tmp_path / "out").returncode == 2, "alone"
