"""Worker processes of this machine: the same records and tables as one process, and no twice-done work."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoints import measure_checkpoints
from sparsity_lab.measure.spec import MeasureSpec, expand
from sparsity_lab.measure.work import preparing
from sparsity_lab.measure.work.launchers import Options
from sparsity_lab.measure.work.run_cells import Means


def spec_of(text, **changed):
    return MeasureSpec(**{"text": text, "tokens": 1024, "window": 64, "ppl_increase": 0.05, **changed})


def measured(spec, folder, output, *, jobs, **more):
    checkpoints = expand([str(folder)])
    return measure_checkpoints(spec, checkpoints, output=output, means=Means(Options(jobs=jobs)), **more)


@pytest.mark.parametrize(
    ("workers", "last"),
    [(2, None), *(pytest.param(workers, 3, marks=pytest.mark.slow) for workers in (2, 4))],
)
def test_workers_find_what_one_process_finds(checkpoints, source_text, tmp_path, timeless, workers, last):
    """One knob for all; or each checkpoint at its own, and at the one that the last three agree on."""
    rules = {"stabilise_last": last} if last else {"knob": 0.1}
    spec = spec_of(source_text, **rules, tokens=512)
    for jobs in (1, workers):
        output = tmp_path / str(jobs)
        rows = measured(spec, checkpoints, output, jobs=jobs, per_checkpoint=last is not None)
        assert [row["rule"] for row in rows] == (
            ["series"] * 4 + ["ppl-increase"] * 4 if last else ["fixed"] * 4
        )
    alone = timeless(tmp_path / "1")
    assert {"table.csv", "table.md", "config.json"} < set(alone)
    assert not [name for name in alone if "claim" in name]
    assert timeless(tmp_path / str(workers)) == alone


@pytest.mark.slow
def test_workers_measure_only_what_is_open(checkpoints, source_text, tmp_path):
    spec = spec_of(source_text, knob=0.1)
    measured(spec, checkpoints, tmp_path, jobs=1)
    paths = sorted((tmp_path / "records").glob("*.json"))
    paths[0].unlink()
    times = [path.stat().st_mtime_ns for path in paths[1:]]
    measured(spec, checkpoints, tmp_path, jobs=2)
    assert [path.stat().st_mtime_ns for path in paths[1:]] == times
    assert paths[0].exists()


@pytest.mark.slow
def test_a_broken_checkpoint_is_told_as_by_one_process(checkpoints, source_text, tmp_path):
    series = shutil.copytree(checkpoints, tmp_path / "run")
    weights = series / "step-3" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    told = []
    for jobs in (1, 2):
        with pytest.raises(SparsityLabError) as error:
            measured(spec_of(source_text, knob=0.1, fail_fast=True), series, tmp_path / str(jobs), jobs=jobs)
        told.append(str(error.value))
        assert not list((tmp_path / str(jobs)).rglob("*claim*"))
    assert told[0] == told[1]
    assert "cut short" in told[0]
    assert len(list((tmp_path / "2" / "records").glob("*.json"))) >= 2, "what came before is kept"


@pytest.mark.slow
def test_a_checkpoint_that_changes_under_the_workers_is_refused(
    checkpoints, source_text, tmp_path, monkeypatch
):
    """The driver's key, a worker's key: the cell is not measured under a name that is not its own."""
    monkeypatch.setattr(preparing, "fingerprint", lambda source: "as it was before")
    with pytest.raises(SparsityLabError, match="another checkpoint, text or dtype than the driver"):
        measured(spec_of(source_text, knob=0.1, fail_fast=True), checkpoints, tmp_path, jobs=2)
    assert not list(tmp_path.rglob("*.json"))


def command(checkpoints, text, output, *words):
    return [
        sys.executable, "-m", "sparsity_lab", "--quiet", "measure", str(checkpoints), "--text", str(text),
        "--tokens", "1024", "--window", "64", "--knob", "0.1", "--output", str(output), *words,
    ]  # fmt: skip


def children(pid):
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(word) for word in found.stdout.split()]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="workers are bound to their parent by prctl")
def test_workers_die_with_the_driver_and_the_next_run_goes_on(checkpoints, source_text, tmp_path):
    output = tmp_path / "out"
    words = ("--jobs", "2", "--batch-size", "1")
    job = subprocess.Popen(command(checkpoints, source_text, output, *words), env=dict(os.environ))
    try:
        while not list(output.glob("records/*.claim-*")):
            assert job.poll() is None
            time.sleep(0.005)
        workers = children(job.pid)
        assert len(workers) >= 2
    finally:
        job.send_signal(signal.SIGKILL)
        job.wait()
    until = time.monotonic() + 60
    while any(os.path.exists(f"/proc/{one}/exe") for one in workers):
        assert time.monotonic() < until, "a worker outlives its driver"
        time.sleep(0.02)
    done = subprocess.run(
        command(checkpoints, source_text, output), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    alone = tmp_path / "alone"
    subprocess.run(command(checkpoints, source_text, alone), check=True, capture_output=True)
    assert (output / "table.csv").read_bytes() == (alone / "table.csv").read_bytes()
    assert not list(output.rglob("*.claim-*"))
