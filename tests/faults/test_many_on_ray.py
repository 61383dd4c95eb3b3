"""400 checkpoints at three knobs on two nodes of a real Ray cluster, one of them killed midway: the same records.

    python -m pytest -m slow tests/faults/test_many_on_ray.py --basetemp FOLDER

leaves the times as a table in FOLDER. A node is one core here, a machine of two cores has two; the bar is half of
what one process takes, times 1.25, plus what the nodes take to start. Times mean something on an idle machine only,
so the test asserts what was measured and writes down how long it took.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sparsity_lab.tables import write_table
from tests.faults.soak import contents

ray = pytest.importorskip("ray", reason="the extra cluster is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
COUNT = int(os.environ.get("MANY_CHECKPOINTS", "400"))
KNOBS = (0.05, 0.1, 0.2)
CELLS = COUNT * len(KNOBS)
MEASURE = ("--tokens", "512", "--window", "64", "--batch-size", "8", "--device", "cpu",
           *(word for knob in KNOBS for word in ("--knob", str(knob))))  # fmt: skip
COLUMNS = {
    "run": "run",
    "wall_s": "wall (s)",
    "start_s": "of it until the first cell was begun (s)",
    "share": "wall less start over one process's",
    "bar_s": "bar: start + 1.25 x half of one process's (s)",
    "killed_at": "records when the node was killed",
    "busy_s": "processor time of the whole machine meanwhile (s)",
    "load": "load of the machine before",
}


@pytest.fixture(scope="module")
def run_of_many(trained, tmp_path_factory):
    """Folder of the checkpoints, each with weights of its own."""
    root = tmp_path_factory.mktemp("checkpoints") / "run"
    weights = load_file(trained / "model.safetensors")
    for seed in range(COUNT):
        folder = shutil.copytree(trained, root / f"step-{seed + 1}")
        generator = torch.Generator().manual_seed(seed)
        moved = {
            name: value * (1 + 0.05 * torch.randn(value.shape, generator=generator))
            for name, value in weights.items()
        }
        save_file(moved, folder / "model.safetensors", metadata={"format": "pt"})
    return root


@pytest.fixture
def cluster(monkeypatch):
    """A head without cores and two nodes of one core each."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [made.add_node(num_cpus=1) for _ in range(2)]
    yield made, nodes
    ray.shutdown()
    made.shutdown()


def busy_s():
    """Processor seconds that all processes of the machine together have used, ours and others'."""
    user, nice, system = map(int, Path("/proc/stat").read_text(encoding="ascii").split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


class Driver:
    """`measure` in a process of its own, and when it began, measured its first cell and ended."""

    def __init__(self, folder, text, output, *launcher):
        self.records = output / "records"
        self.load, self.begun, self.busy = os.getloadavg()[0], time.monotonic(), busy_s()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sparsity_lab", "measure", str(folder), "--text", str(text), *MEASURE,
             "--output", str(output), *launcher],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"},
        )  # fmt: skip

    def wait_for(self, records, *, claims=False):
        """Seconds until so many records are there, or any claim."""
        while self.process.poll() is None:
            found = os.listdir(self.records) if self.records.exists() else []
            if (claims and found) or (not claims and sum(one.endswith(".json") for one in found) >= records):
                break
            time.sleep(0.05)
        return time.monotonic() - self.begun

    def end(self):
        """Seconds to the end."""
        _, errors = self.process.communicate(timeout=3000)
        self.busy = busy_s() - self.busy
        assert self.process.returncode == 0, errors
        return time.monotonic() - self.begun


@pytest.fixture(scope="module")
def alone(run_of_many, source_text, tmp_path_factory):
    """What one process finds, and its row of the table."""
    output = tmp_path_factory.mktemp("alone") / "out"
    job = Driver(run_of_many, source_text, output)
    start = job.wait_for(0, claims=True)
    wall = job.end()
    found = contents(output)
    assert sum(name.startswith("records/") for name in found) == CELLS
    return found, {
        "run": "one process",
        "wall_s": wall,
        "start_s": start,
        "load": job.load,
        "busy_s": job.busy,
    }


ROWS = []


@pytest.mark.parametrize("killed", ["nothing killed", "a node killed, another joins", "a node killed"])
def test_the_same_whatever_is_killed(killed, alone, run_of_many, source_text, tmp_path, cluster):
    expected, first = alone
    made, nodes = cluster
    job = Driver(run_of_many, source_text, tmp_path / "out", "--launcher", "ray", "--address", made.address)
    start, at = job.wait_for(0, claims=True), None
    if killed != "nothing killed":
        job.wait_for(CELLS // 2)
        at = len(list(job.records.glob("*.json")))
        made.remove_node(nodes[0], allow_graceful=False)
        assert at < CELLS, "in mid-run"
    if killed.endswith("joins"):
        made.add_node(num_cpus=1)
    wall = job.end()
    assert contents(tmp_path / "out") == expected, "the same records and table; no claim, no half file"
    half = (first["wall_s"] - first["start_s"]) / 2
    ROWS.append(
        {
            "run": f"two Ray nodes, {killed}", "wall_s": wall, "start_s": start, "killed_at": at, "load": job.load,
            "busy_s": job.busy,
            "share": (wall - start) / half / 2, "bar_s": start + 1.25 * half,
        }
    )  # fmt: skip
    rows = [{name: row.get(name) for name in COLUMNS} for row in (first, *ROWS)]
    rounded = [{k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    write_table(Path(tmp_path.parent) / "many-on-ray", rounded, COLUMNS)
