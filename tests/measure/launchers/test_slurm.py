"""The job array, run by submitit's own local executor: processes of this machine instead of SLURM's."""

import json
import os
import signal
import threading
import time
from dataclasses import replace

import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoints import measure_checkpoints
from sparsity_lab.measure.work.launchers import Options
from sparsity_lab.measure.work.run_cells import Means

submitit = pytest.importorskip("submitit", reason="the extra cluster is not installed")
LOCAL = {"cluster": "local", "timeout_min": "10"}


@pytest.mark.slow
def test_jobs_find_what_one_process_does_and_a_killed_one_is_submitted_again(
    small, alone, tmp_path, timeless, holder
):
    killed = []

    def kill():
        killed.append(holder(tmp_path / "records"))
        os.kill(killed[0], signal.SIGKILL)

    saboteur = threading.Thread(target=kill)
    saboteur.start()
    options = Options(launcher="slurm", jobs=2, slurm=LOCAL)
    measure_checkpoints(*small, output=tmp_path, means=Means(options))
    saboteur.join()
    assert killed
    assert timeless(tmp_path) == timeless(alone)
    logs = [path.name for path in (tmp_path / "slurm").glob("*_submitted.pkl")]
    assert len(logs) >= 3, "two jobs, and at least one once more"


@pytest.mark.slow
def test_a_driver_that_died_comes_back(alone, tmp_path, driver, holder):
    """Jobs go on without it; the next driver takes what they find."""
    words = ("--launcher", "slurm", "--slurm", "cluster=local", "--slurm", "timeout_min=10")
    first = driver(tmp_path, *words)
    job = holder(tmp_path / "records")
    first.kill()
    first.wait()  # and no reading to the end: the job holds the same pipes
    assert os.path.exists(f"/proc/{job}"), "the job lives on"
    second = driver(tmp_path, *words)
    _, errors = second.communicate(timeout=600)
    assert second.returncode == 0, errors
    assert (tmp_path / "table.csv").read_bytes() == (alone / "table.csv").read_bytes()
    assert not list(tmp_path.glob("records/*claim*"))


@pytest.mark.slow
def test_a_job_that_is_lost_too_often_is_told(small, tmp_path):
    stop = threading.Event()

    def kill_all():
        while not stop.is_set():
            for path in (tmp_path / "records").glob("*.claim-*"):
                try:
                    os.kill(json.loads(path.read_text(encoding="utf-8"))["process"], signal.SIGKILL)
                except (OSError, ValueError):
                    continue
            time.sleep(0.001)

    saboteur = threading.Thread(target=kill_all)
    saboteur.start()
    try:
        with pytest.raises(SparsityLabError, match="was lost, and 1 before it"):
            measure_checkpoints(
                *small, output=tmp_path, means=Means(Options(launcher="slurm", retries=1, slurm=LOCAL))
            )
    finally:
        stop.set()
        saboteur.join()


@pytest.mark.parametrize(
    ("slurm", "told"),
    [({}, "sbatch"), ({"cluster": "moon"}, "moon"), ({"cluster": "local", "partitoin": "gpu"}, "partitoin")],
)
def test_jobs_that_cannot_be_submitted(small, tmp_path, slurm, told):
    with pytest.raises(SparsityLabError, match=f"cannot be submitted.*{told}"):
        measure_checkpoints(*small, output=tmp_path, means=Means(Options(launcher="slurm", slurm=slurm)))


def test_options_reach_submitit_under_its_own_names(tmp_path):
    from sparsity_lab.measure.work.launchers.slurm import parameters

    options = Options(
        jobs=40, task_cpus=8, task_gpus=2, task_memory_gb=64,
        slurm={"partition": "gpu", "timeout_min": "30", "slurm_qos": "low", "cluster": "slurm"},
    )  # fmt: skip
    found = parameters(options)
    assert found == {
        "name": "sparsity-lab", "cpus_per_task": 8, "gpus_per_node": 2, "mem_gb": 64, "timeout_min": 30,
        "slurm_array_parallelism": 40, "slurm_partition": "gpu", "slurm_qos": "low",
    }  # fmt: skip
    executor = submitit.AutoExecutor(folder=tmp_path, cluster="local")
    executor.update_parameters(**found)


@pytest.mark.slow
def test_checkpoints_that_fail_do_not_stop_the_others(with_broken, tmp_path):
    """And all can be measured anew."""
    spec, checkpoints = with_broken
    output, options = tmp_path / "out", Options(launcher="slurm", jobs=2, slurm=LOCAL)
    rows = measure_checkpoints(spec, checkpoints, output=output, means=Means(options))
    assert [bool(row.get("failed")) for row in rows] == [False, True, True, False]
    assert "cut short" in rows[1]["failed"]
    assert "Cannot load the config" in rows[2]["failed"]
    paths = {path: path.stat().st_ino for path in (output / "records").iterdir()}
    assert len(paths) == 2
    again = replace(spec, again=True)
    anew = measure_checkpoints(again, checkpoints, output=output, means=Means(options))
    assert [row["activation_ratio"] for row in anew] == [row["activation_ratio"] for row in rows]
    assert all(path.stat().st_ino != inode for path, inode in paths.items())
    with pytest.raises(SparsityLabError, match="Cannot load the config"):
        measure_checkpoints(replace(spec, fail_fast=True), checkpoints, output=output, means=Means(options))
