"""A real Ray cluster of this machine: the same records, whatever worker or node dies, leaves or joins."""

import os
import shutil
import signal

import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure import launchers
from sparsity_lab.measure.launchers import Options
from sparsity_lab.measure.run import measure_checkpoints
from sparsity_lab.measure.spec import expand

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


def test_a_cluster_of_our_own_starts_measures_and_stops(small, alone, tmp_path, timeless):
    measure_checkpoints(*small, output=tmp_path, launcher="ray", options=Options(jobs=2))
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


def test_a_mistake_is_told_as_by_one_process(small, tmp_path, checkpoints):
    broken = shutil.copytree(checkpoints / "step-1", tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"")
    told = []
    for launcher in ("inline", "ray"):
        with pytest.raises(SparsityLabError) as error:
            measure_checkpoints(
                small[0], expand([str(broken)]), output=tmp_path / launcher, launcher=launcher
            )
        told.append(str(error.value))
        assert not (tmp_path / launcher).exists()
    assert told[0] == told[1]
    assert not ray.is_initialized()


def test_no_cluster_at_the_address(small, tmp_path):
    with pytest.raises(SparsityLabError, match="There is no Ray cluster at the address"):
        measure_checkpoints(*small, output=tmp_path, launcher="ray", options=Options(address="auto"))


@pytest.mark.parametrize(("gpus", "device"), [(0, "cpu"), (1, "cuda"), (4, "auto")])
def test_the_device_is_that_of_the_workers(gpus, device):
    assert Options(task_gpus=gpus).device() == device
    assert launchers.ALONE.device() == "cpu"


def test_workers_get_the_settings_of_the_environment_and_no_token(monkeypatch):
    from sparsity_lab.measure.launchers.ray import _environment

    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert _environment()["env_vars"]["HF_HUB_OFFLINE"] == "1"
    assert "secret" not in str(_environment())
