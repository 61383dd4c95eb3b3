"""Every command that works cell by cell: two processes find what one finds, and a killed run goes on."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from sparsity_lab.cli.main import main
from sparsity_lab.measure.work.claims import claimed
from sparsity_lab.store.records import read_record

PART = ("--tokens", "1024", "--window", "64")


def run(*words):
    """Exit code of a command in this process."""
    with pytest.raises(SystemExit) as stop:
        main(["--quiet", *map(str, words)])
    return stop.value.code or 0


@pytest.fixture(scope="module")
def other_text(source_text, tmp_path_factory):
    """The end of the text, as a text of its own."""
    path = tmp_path_factory.mktemp("texts") / "end.txt"
    path.write_text(source_text.read_text(encoding="utf-8")[-60_000:], encoding="utf-8")
    return path


def numbers(output, pattern):
    """Records by name, without what tells of the run."""
    found = {}
    for path in output.glob(pattern):
        body = read_record(path)
        found[path.name] = json.dumps(
            {
                k: v
                for k, v in body.items()
                if k not in ("provenance", "record_sha256", "score_weights_sha256")
            }
        )
    return found


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["all", "transfer"])
def test_two_workers_write_the_same_tables(checkpoints, source_text, other_text, tmp_path, asked):
    words = {
        "all": ("--criterion", "all", "--activation-ratio", "20%"),
        "transfer": ("--transfer", f"end={other_text}", "--knob", 0.2),
    }[asked]
    words = (*words, *PART, "--text", source_text, "--limit", 2, "--batch-size", 1)
    tables = {
        "all": ("table.csv", "table.md", "criteria.md"),
        "transfer": ("transfer.csv", "texts.csv", "transfer.md"),
    }
    for jobs in (1, 2):
        assert run("measure", checkpoints, *words, "--jobs", jobs, "--output", tmp_path / str(jobs)) == 0
    for name in tables[asked]:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    assert numbers(tmp_path / "1", "records/*.json") == numbers(tmp_path / "2", "records/*.json")
    assert not list(tmp_path.rglob("*.claim-*"))


def neurons(checkpoints, measured, source_text, other_text, output):
    return (
        "neurons", checkpoints, "--limit", 2, "--thresholds", measured, "--text", f"begin={source_text}",
        "--text", other_text, *PART, "--written-tokens", 4, "--prompts", 4, "--output", output,
    )  # fmt: skip


@pytest.fixture(scope="module")
def measured(checkpoints, source_text, tmp_path_factory):
    """What `measure` leaves of two checkpoints."""
    output = tmp_path_factory.mktemp("measured") / "out"
    words = (*PART, "--knob", 0.1, "--limit", 2, "--output", output)
    assert run("measure", checkpoints, "--text", source_text, *words) == 0
    return output


@pytest.mark.slow
def test_a_killed_watch_goes_on_in_two_processes(checkpoints, measured, source_text, other_text, tmp_path):
    """The records that it left are kept, and those of another driver at work are waited for."""
    alone, output = tmp_path / "alone", tmp_path / "killed"
    assert run(*neurons(checkpoints, measured, source_text, other_text, alone)) == 0
    words = neurons(checkpoints, measured, source_text, other_text, output)
    job = subprocess.Popen(
        [sys.executable, "-m", "sparsity_lab", "--quiet", *map(str, words)], env=dict(os.environ)
    )
    until = time.monotonic() + 300
    while not list(output.glob("neuron_records/*.json")):
        assert job.poll() is None
        assert time.monotonic() < until
        time.sleep(0.002)
    job.send_signal(signal.SIGKILL)
    job.wait()
    left = {path: path.stat().st_mtime_ns for path in output.glob("neuron_records/*.json")}
    assert run(*words, "--jobs", 2) == 0
    assert {path: path.stat().st_mtime_ns for path in left} == left
    whole = numbers(alone, "neuron_records/*.json")
    assert len(whole) == 4
    assert numbers(output, "neuron_records/*.json") == whole
    assert (output / "neurons.csv").read_bytes() == (alone / "neurons.csv").read_bytes()
    assert not list(output.rglob("*.claim-*"))


@pytest.mark.slow
def test_a_place_that_another_driver_is_at_is_left_to_it(checkpoints, measured, source_text, tmp_path):
    words = (
        sys.executable, "-m", "sparsity_lab", "--quiet", "neurons", checkpoints, "--limit", 1, "--thresholds",
        measured, "--text", source_text, *PART, "--written-tokens", 0, "--output",
    )  # fmt: skip
    first, output = tmp_path / "first", tmp_path / "out"
    subprocess.run([*map(str, words), str(first)], check=True, capture_output=True)
    (record,) = (first / "neuron_records").glob("*.json")
    folder = output / "neuron_records"
    folder.mkdir(parents=True)
    with claimed(folder, record.stem) as ours:
        assert ours
        job = subprocess.Popen([*map(str, words), str(output)], stdout=subprocess.DEVNULL)
        with pytest.raises(subprocess.TimeoutExpired):
            job.wait(timeout=20)
        assert not list(folder.glob("*.json"))
    assert job.wait(timeout=300) == 0
    assert (output / "neurons.csv").read_bytes() == (first / "neurons.csv").read_bytes()
