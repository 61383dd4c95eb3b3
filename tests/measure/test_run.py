"""A run of measure: the files it leaves, resuming after a kill or damage, dry runs and limits."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from safetensors.torch import load_file, save_file

from sparsity_lab.store.record_keys import RECORD_KEYS, Record
from sparsity_lab.store.records import read_record
from tests.command import exit_code

pytestmark = pytest.mark.usefixtures("unrendered")

SMALL = ("--tokens", 1024, "--window", 64, "--knob", 0.1)
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def run(*words):
    return exit_code("measure", *words)


def started(*words):
    """`sparsity-lab measure` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "sparsity_lab", "--quiet", "measure", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def record_files(output):
    return sorted((output / "records").glob("*.json"))


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out"


@pytest.fixture(scope="module")
def undisturbed(checkpoints, source_text, tmp_path_factory):
    """The output of one run over the four checkpoints."""
    output = tmp_path_factory.mktemp("undisturbed")
    assert run(checkpoints, "--text", source_text, *SMALL, "--output", output) == 0
    return output


def truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def rewrite_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.long
def test_records_of_earlier_checkpoints_stay_when_a_later_one_is_broken(
    checkpoints, source_text, tmp_path, output, capfd, caplog
):
    series = shutil.copytree(checkpoints, tmp_path / "run")
    truncate(series / "step-3")
    assert run(series, "--text", source_text, *SMALL, "--output", output, "--fail-fast") == 2
    assert "step-3" in capfd.readouterr().err
    assert [read_record(path)["rule"] for path in record_files(output)] == ["fixed"] * 2
    assert run(series, "--text", source_text, *SMALL, "--output", output) == 1
    assert "step-3" in caplog.text
    assert len(record_files(output)) == 3
    shutil.copytree(checkpoints / "step-3", series / "step-3", dirs_exist_ok=True)
    assert run(series, "--text", source_text, *SMALL, "--output", output) == 0
    assert len(record_files(output)) == 4


def is_of(value, kind):
    """Whether a value of JSON is what a type says; whole numbers are floats too, and true is no number."""
    if get_origin(kind) in (Union, UnionType):
        return any(is_of(value, part) for part in get_args(kind))
    if get_origin(kind) is list:
        return isinstance(value, list) and all(is_of(item, *get_args(kind)) for item in value)
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(is_of(item, get_args(kind)[1]) for item in value.values())
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    return kind is Any or isinstance(value, kind or NoneType)


@pytest.mark.long
def test_the_values_of_a_record_are_of_the_types_that_are_documented(undisturbed):
    kinds = get_type_hints(Record)
    for path in record_files(undisturbed):
        record = json.loads(path.read_text(encoding="utf-8"))
        assert {key: value for key, value in record.items() if not is_of(value, kinds[key])} == {}


def test_the_files_of_a_run(undisturbed, checkpoints):
    found = files(undisturbed)
    assert {"config.json", "table.csv", "table.md", "records"} <= set(found)
    assert not [name for name in found if "/." in f"/{name}" or name.endswith(".damaged")]
    paths = record_files(undisturbed)
    assert len(paths) == 4
    for path in paths:
        record = json.loads(path.read_text(encoding="utf-8"))
        assert list(record) == list(RECORD_KEYS)
        assert record["content_key"] == path.stem
        assert read_record(path) == record
        assert 0 < record["activation_ratio"] < record["nonzero_ratio"] < 1
        assert len(record["thresholds"]) == len(record["activation_ratio_per_layer"]) == record["layers"] == 2
        assert (record["architecture"], record["activation_function"], record["gated"]) == (
            "llama",
            "relu",
            True,
        )
        assert record["width_depth_ratio"] == 16
        assert record["params_total"] - record["params_nonembedding"] == 300 * 32
    table = list(csv.DictReader((undisturbed / "table.csv").open(encoding="utf-8")))
    assert [row["trained_tokens"] for row in table] == ["1000", "2000", "3000", "10000"], "in natural order"
    config = json.loads((undisturbed / "config.json").read_text(encoding="utf-8"))
    assert [name.rsplit("/", 1)[1] for name in config["checkpoints"]] == [
        "step-1",
        "step-2",
        "step-3",
        "step-10",
    ]
    assert (config["knob"], config["tokens"], config["window"]) == (0.1, 1024, 64)


def test_time_is_all_that_differs_between_two_runs(undisturbed, checkpoints, source_text, output):
    assert run(checkpoints, "--text", source_text, *SMALL, "--output", output) == 0
    for name in ("table.csv", "table.md", "config.json"):
        assert (output / name).read_bytes() == (undisturbed / name).read_bytes()
    assert [p.name for p in record_files(output)] == [p.name for p in record_files(undisturbed)]
    for ours, theirs in zip(record_files(output), record_files(undisturbed), strict=True):
        first, second = read_record(ours), read_record(theirs)
        for record in (first, second):
            assert record["provenance"].pop("time")
            del record["record_sha256"]
        assert first == second


def test_names_and_batch_sizes_are_no_part_of_a_cell(undisturbed, checkpoints, source_text, tmp_path, output):
    moved = shutil.copytree(checkpoints / "step-2", tmp_path / "elsewhere")
    assert run(moved, "--text", source_text, *SMALL, "--batch-size", 3, "--output", output) == 0
    (path,) = record_files(output)
    assert path.name in {p.name for p in record_files(undisturbed)}


def test_a_killed_run_goes_on_where_it_was(undisturbed, checkpoints, source_text, output):
    job = started(checkpoints, "--text", source_text, *SMALL, "--batch-size", 1, "--output", output)
    try:
        while len(record_files(output)) < 2:
            assert job.poll() is None, job.communicate()[1]
            time.sleep(0.002)
    finally:
        job.send_signal(signal.SIGKILL)
        job.communicate()
    kept = {path: path.stat().st_mtime_ns for path in record_files(output)}
    assert len(kept) == 2
    assert not (output / "table.csv").exists()
    assert run(checkpoints, "--text", source_text, *SMALL, "--output", output) == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "nothing was measured again"
    assert len(record_files(output)) == 4
    for name in ("table.csv", "table.md"):
        assert (output / name).read_bytes() == (undisturbed / name).read_bytes()


def test_a_damaged_record_is_set_aside_and_measured_again(undisturbed, checkpoints, source_text, tmp_path):
    output = shutil.copytree(undisturbed, tmp_path / "out")
    damaged, *others = record_files(output)
    damaged.write_text(
        damaged.read_text(encoding="utf-8").replace('"layers": 2', '"layers": 3'), encoding="utf-8"
    )
    times = [path.stat().st_mtime_ns for path in others]
    assert run(checkpoints, "--text", source_text, *SMALL, "--output", output) == 0
    assert read_record(damaged)["layers"] == 2
    assert '"layers": 3' in damaged.with_suffix(".damaged").read_text(encoding="utf-8")
    assert [path.stat().st_mtime_ns for path in others] == times
    assert (output / "table.csv").read_bytes() == (undisturbed / "table.csv").read_bytes()


@pytest.mark.long
def test_a_changed_checkpoint_or_setting_is_another_cell(trained, source_text, tmp_path, output):
    model = shutil.copytree(trained, tmp_path / "model")
    words = ("--text", source_text, *SMALL, "--output", output)
    assert run(model, *words) == 0
    rewrite_weights(model, lambda w: w["model.layers.1.mlp.up_proj.weight"].mul_(1.01))
    assert run(model, *words) == 0
    assert len(record_files(output)) == 2
    assert run(model, *words, "--knob", 0.2) == 0
    assert run(model, *words, "--seed", 1) == 0
    assert run(model, *words, "--tokens", 512) == 0
    assert run(model, *words, "--dtype", "bfloat16") == 0
    assert len(record_files(output)) == 6


def test_a_dry_run_prints_cells_and_writes_nothing(
    checkpoints, source_text, tmp_path, output, capfd, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert run(checkpoints, "--text", source_text, *SMALL, "--output", output, "--dry-run") == 0
    printed = capfd.readouterr().out
    for step in ("step-1", "step-2", "step-3", "step-10"):
        assert f"{step} " in printed
    assert "4 cells, 0 of them measured already" in printed
    assert files(tmp_path) == []


def test_a_dry_run_knows_what_is_done(undisturbed, checkpoints, source_text, capfd):
    before = {name: (undisturbed / name).stat().st_mtime_ns for name in files(undisturbed)}
    assert run(checkpoints, "--text", source_text, *SMALL, "--output", undisturbed, "--dry-run") == 0
    assert "4 cells, 4 of them measured already" in capfd.readouterr().out
    assert {name: (undisturbed / name).stat().st_mtime_ns for name in files(undisturbed)} == before


def test_limit_takes_the_first_checkpoints(checkpoints, source_text, output, capfd):
    assert run(checkpoints, "--text", source_text, *SMALL, "--limit", 1, "--output", output) == 0
    (path,) = record_files(output)
    assert read_record(path)["trained_tokens"] == 1000
    assert "Written to" in capfd.readouterr().out


def test_tokens_that_are_no_whole_windows_are_left_out_and_said(trained, source_text, output, caplog):
    assert (
        run(
            trained,
            "--text",
            source_text,
            "--tokens",
            1000,
            "--window",
            64,
            "--knob",
            0.1,
            "--output",
            output,
        )
        == 0
    )
    assert "tokens 960 of 1000: whole windows of 64" in caplog.text
    assert "| tokens | errors hold for | flags |" in (output / "table.md").read_text(
        encoding="utf-8"
    ).splitlines()[0].replace("  ", "")
    (row,) = csv.DictReader((output / "table.csv").open(encoding="utf-8"))
    assert row["tokens"] == "960"
