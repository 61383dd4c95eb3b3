"""A real Ray cluster of this machine: the same records, whatever worker or node dies, leaves or joins."""

import os
import shutil
import signal
from dataclasses import replace

import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoints import measure_checkpoints
from sparsity_lab.measure.spec import expand
from sparsity_lab.measure.work import launchers
from sparsity_lab.measure.work.launchers import Options
from sparsity_lab.measure.work.run_cells import Means

ray = pytest.importorskip("ray", reason="the extra cluster is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def cluster():
    """A head node that has no cores to give, to which a test adds nodes."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.mark.long
def test_a_cluster_of_our_own_starts_measures_and_stops(small, alone, tmp_path, timeless):
    measure_checkpoints(*small, output=tmp_path, means=Means(Options(launcher="ray", jobs=2)))
    assert not ray.is_initialized()
    assert timeless(tmp_path) == timeless(alone)


@pytest.mark.slow
def test_a_worker_and_a_node_die_and_others_join(alone, tmp_path, cluster, driver, holder):
    """Tasks wait until the first node joins; its worker is killed in mid-cell, then the node itself."""
    records = tmp_path / "records"
    job = driver(tmp_path, "--launcher", "ray", "--address", cluster.address)
    try:
        first = cluster.add_node(num_cpus=1)
        process = holder(records)
        os.kill(process, signal.SIGKILL)
        holder(records, other_than=(process,))
        cluster.remove_node(first, allow_graceful=False)
        assert len(list(records.glob("*.json"))) < 4, "in mid-run"
        cluster.add_node(num_cpus=1)
        cluster.add_node(num_cpus=1)
        _, errors = job.communicate(timeout=600)
    finally:
        job.kill()
    assert job.returncode == 0, errors
    for name in ("table.csv", "table.md"):
        assert (tmp_path / name).read_bytes() == (alone / name).read_bytes()
    assert sorted(path.name for path in records.iterdir()) == sorted(
        path.name for path in (alone / "records").iterdir()
    )


@pytest.mark.slow
def test_a_mistake_is_told_as_by_one_process(small, tmp_path, checkpoints):
    broken = shutil.copytree(checkpoints / "step-1", tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"")
    told = []
    for launcher in ("inline", "ray"):
        with pytest.raises(SparsityLabError) as error:
            measure_checkpoints(
                small[0],
                expand([str(broken)]),
                output=tmp_path / launcher,
                means=Means(Options(launcher=launcher)),
            )
        told.append(str(error.value))
        assert not (tmp_path / launcher).exists()
    assert told[0] == told[1]
    assert not ray.is_initialized()


def test_no_cluster_at_the_address(small, tmp_path):
    with pytest.raises(SparsityLabError, match="There is no Ray cluster at the address"):
        measure_checkpoints(*small, output=tmp_path, means=Means(Options(launcher="ray", address="auto")))


@pytest.mark.parametrize(("gpus", "device"), [(0, "cpu"), (1, "cuda"), (4, "auto")])
def test_the_device_is_that_of_the_workers(gpus, device):
    assert Options(task_gpus=gpus).device() == device
    assert launchers.ALONE.device() == "cpu"


def test_workers_get_the_settings_of_the_environment_and_no_token(monkeypatch):
    from sparsity_lab.measure.work.launchers.ray import _environment

    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert _environment()["env_vars"]["HF_HUB_OFFLINE"] == "1"
    assert "secret" not in str(_environment())


@pytest.mark.slow
def test_workers_that_cannot_start_are_told_of(small, tmp_path, monkeypatch):
    from sparsity_lab.measure.work.launchers import _actors

    class Elsewhere(_actors.Measurer):
        def __init__(self, threads):
            raise ModuleNotFoundError("No module named 'sparsity_lab'")

    monkeypatch.setattr(_actors, "Measurer", Elsewhere)
    monkeypatch.setattr(_actors, "STARTS", 1)
    with pytest.raises(
        SparsityLabError, match=r"could be started.*No module named 'sparsity_lab'.*every node"
    ):
        measure_checkpoints(*small, output=tmp_path / "out", means=Means(Options(launcher="ray")))
    assert not (tmp_path / "out").exists()
    assert not ray.is_initialized()


@pytest.mark.slow
def test_work_that_kills_its_workers_is_begun_again_as_often_as_told(small, tmp_path, monkeypatch):
    """Every worker dies over its first group; after two more tries the run says so."""
    from sparsity_lab.measure.work.launchers import _actors

    begun = tmp_path / "begun"
    begun.mkdir()

    class Dying(_actors.Measurer):
        def perform(self, task):
            (begun / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(_actors, "Measurer", Dying)
    with pytest.raises(SparsityLabError, match="was lost, and so were those that began its work again"):
        measure_checkpoints(*small, output=tmp_path / "out", means=Means(Options(launcher="ray", retries=2)))
    assert len(list(begun.iterdir())) == 3


@pytest.mark.slow
def test_checkpoints_that_fail_do_not_stop_the_others(with_broken, tmp_path):
    """And all can be measured anew."""
    spec, checkpoints = with_broken
    output, options = tmp_path / "out", Options(launcher="ray", jobs=2)
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
