"""The command line of `train`: sizes before training, mistakes in one paragraph, output where it is asked."""

import email
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests import command

CONFIG = {
    "name": "small",
    "data": {"max_bytes": 1_000_000, "validation_share": 0.1},
    "tokenizer": {"vocabulary": 300, "train_bytes": 50_000},
    "model": {"hidden_size": 32, "layers": 1, "head_dim": 16, "activation": ["relu", "silu"]},
    "training": {
        "tokens": 2_048,
        "batch_size": 4,
        "window": 32,
        "warmup_steps": 2,
        "checkpoints": 2,
        "first_checkpoint_tokens": 512,
    },
}


def run(*words, cwd):
    return command.run("train", *words, cwd=cwd)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The standard library's mail and JSON packages as documents: the corpus `python` is all that is installed."""
    folder = tmp_path_factory.mktemp("documents")
    for package in (email, json):
        for source in Path(package.__file__).parent.glob("*.py"):
            shutil.copy(source, folder / f"{package.__name__}-{source.stem}.txt")
    return {**CONFIG["data"], "files": [str(folder / "*.txt")]}


@pytest.fixture
def config(data, tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({**CONFIG, "data": data}))
    return path


@pytest.mark.long
def test_it_says_the_sizes_trains_and_leaves_everything_in_the_output(config, tmp_path):
    config.write_text(yaml.safe_dump({**CONFIG, "data": {**CONFIG["data"], "corpus": "python"}}))
    done = run(config, "--output", tmp_path / "here", "--seed", 7, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "13,408" in done.stdout  # 4 d^2 + 3 d F + 3 d of one layer, with d 32 and F 96
    assert "PSF License" in done.stderr
    ladder = json.loads((tmp_path / "here" / "ladder.json").read_text())
    assert [run["seed"] for run in ladder["runs"]] == [7, 7]
    names = {path.name for path in (tmp_path / "here").iterdir()}
    assert names == {
        "ladder.json",
        "data",
        "runs",
        "runs.csv",
        "runs.md",
        "checkpoints.csv",
        "checkpoints.md",
    }
    rows = (tmp_path / "here" / "checkpoints.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 2
    assert {path.name for path in tmp_path.iterdir()} == {"here", "small.yaml"}


def test_a_dry_run_writes_nothing(config, tmp_path):
    done = run(config, "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for heading in ("parameters", "non-embedding", "tokens", "epochs", "FLOPs", "seconds", "disk bytes"):
        assert heading in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


def test_a_dry_run_refuses_the_budget_that_the_run_would_refuse(config, data, tmp_path):
    training = {**CONFIG["training"], "tokens": 10_000_000}
    config.write_text(yaml.safe_dump({**CONFIG, "data": data, "training": training}))
    dry = run(config, "--dry-run", cwd=tmp_path)
    assert dry.returncode == 2
    assert "about" in dry.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]
    real = run(config, "--output", tmp_path / "out", cwd=tmp_path)
    assert real.returncode == 2
    said = [float(re.search(r"([0-9.]+) epochs", done.stderr)[1]) for done in (dry, real)]
    assert said[0] == pytest.approx(said[1], rel=0.05)
    after = run(config, "--dry-run", "--output", tmp_path / "out", cwd=tmp_path)  # the tokens are counted now
    assert after.returncode == 2
    assert f"{said[1]:.2f} epochs" in after.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": {**CONFIG["model"], "activation": "sillu"}}, "Did you mean 'silu'?"),
        ({"model": {**CONFIG["model"], "head_dim": 24}}, "do not divide the hidden_size 32"),
        ({"training": {**CONFIG["training"], "tokens": 10_000_000}}, "epochs of a corpus"),
        ({"trainin": {}}, "Did you mean 'training'?"),
    ],
)
def test_mistakes_are_one_paragraph_and_exit_2(config, data, tmp_path, change, words):
    config.write_text(yaml.safe_dump({**CONFIG, "data": data, **change}))
    done = run(config, "--output", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 2
    *notes, last = done.stderr.strip().splitlines()
    assert last.startswith("Error: ")
    assert words in last
    assert not any("Traceback" in note for note in notes)
    assert not list(tmp_path.glob("out/runs"))


def test_an_output_that_cannot_be_written_is_refused_before_training(config, tmp_path):
    (tmp_path / "file").write_text("")
    done = run(config, "--output", tmp_path / "file" / "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "Cannot write to the output directory" in done.stderr
