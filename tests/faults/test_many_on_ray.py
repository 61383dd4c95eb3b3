"""400 checkpoints at three knobs on two nodes of a real Ray cluster, one of them killed midway: the same records.

    python -m pytest -m soak tests/faults/test_many_on_ray.py --basetemp FOLDER

leaves the times as tables in FOLDER. A node is one core here, a machine of two cores has two, or both nodes may use
both; the bar is half of what one process takes, times 1.25, plus what the nodes take to start. The speed of a machine
drifts, so all kinds of runs take turns, `MANY_ROUNDS` times, and each has its bar from the one process of its own
round. Times mean something on an idle machine only, so the test asserts what was measured and writes down how long it
took.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sparsity_lab.store.tables import write_table
from tests.faults.soak import contents

ray = pytest.importorskip("ray", reason="the extra cluster is not installed")
pytestmark = [pytest.mark.soak, pytest.mark.filterwarnings("ignore")]
COUNT = int(os.environ.get("MANY_CHECKPOINTS", "400"))
ROUNDS = int(os.environ.get("MANY_ROUNDS", "3"))
KNOBS = (0.05, 0.1, 0.2)
CELLS = COUNT * len(KNOBS)
MEASURE = ("--tokens", "512", "--window", "64", "--batch-size", "8", "--device", "cpu",
           *(word for knob in KNOBS for word in ("--knob", str(knob))))  # fmt: skip
ALONE = "one process"
HALVES = "two processes, half of the checkpoints each"
# Kind -> cores of a node, whether one is killed, whether another joins.
ON_RAY = {
    "two Ray nodes, undisturbed": (1, False, False),
    "two Ray nodes, a node killed, another joins": (1, True, True),
    "two Ray nodes, a node killed": (1, True, False),
    "two Ray nodes of both cores, a node killed": (2, True, False),
}
COLUMNS = {
    "run": "run",
    "round": "round",
    "wall_s": "wall (s)",
    "start_s": "of it until the first cell was begun (s)",
    "bar_s": "bar: start + 1.25 x half of one process (s)",
    "share": "wall less start over one process's",
    "killed_at": "records when the node was killed",
    "busy_s": "processor time of the whole machine meanwhile (s)",
    "load": "load of the machine before",
}
MEDIANS = {name: COLUMNS[name] for name in ("run", "wall_s", "start_s", "bar_s", "share")} | {
    "wall_over_bar": "wall / bar",
    "wall_over_bar_range": "its least and most",
    "busy_s": COLUMNS["busy_s"],
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


@contextmanager
def cluster(cores):
    """Two nodes, the head and another, of one core each, or of both cores of the machine, which they then share."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": cores, "include_dashboard": False})
    try:
        yield made, made.add_node(num_cpus=cores)
    finally:
        made.shutdown()


def busy_s():
    """Processor seconds that all processes of the machine together have used, ours and others'."""
    user, nice, system = map(int, Path("/proc/stat").read_text(encoding="ascii").split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


class Driver:
    """`measure` in a process of its own, and when it began, measured its first cell and ended."""

    def __init__(self, checkpoints, text, output, *launcher):
        self.records, self.start = output / "records", None
        self.load, self.begun, self.busy = os.getloadavg()[0], time.monotonic(), busy_s()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sparsity_lab", "measure", *map(str, checkpoints), "--text", str(text), *MEASURE,
             "--output", str(output), *launcher],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"},
        )  # fmt: skip

    def started(self):
        """Wait for the first claim, and know when it was there."""
        self._wait(len)
        self.start = time.monotonic() - self.begun

    def wait_for(self, records):
        """Wait for so many records."""
        self._wait(lambda found: sum(one.endswith(".json") for one in found) >= records)

    def _wait(self, enough):
        while self.process.poll() is None:
            if self.records.exists() and enough(os.listdir(self.records)):
                break
            time.sleep(0.2)

    def end(self):
        """What was measured until the end."""
        _, errors = self.process.communicate(timeout=3000)
        assert self.process.returncode == 0, errors
        wall = time.monotonic() - self.begun
        return {"wall_s": wall, "start_s": self.start, "busy_s": busy_s() - self.busy, "load": self.load}


def alone(folder, text, output):
    """One process; its row."""
    job = Driver([folder], text, output)
    job.started()
    return job.end()


def halves(folder, text, output):
    """Two processes side by side: what this machine's cores, shared caches and memory allow."""
    checkpoints = sorted(folder.iterdir())
    jobs = [Driver(checkpoints[part::2], text, output / str(part)) for part in range(2)]
    for job in jobs:
        job.started()
    rows = [job.end() for job in jobs]
    return {name: max(row[name] for row in rows) for name in rows[0]}


def on_ray(folder, text, output, *, cores, kill, join):
    """Two nodes, one of them killed when half of the records are there."""
    with cluster(cores) as (made, other):
        job, at = Driver([folder], text, output, "--launcher", "ray", "--address", made.address), None
        job.started()
        if kill:
            job.wait_for(CELLS // 2)
            at = len(list(job.records.glob("*.json")))
            made.remove_node(other, allow_graceful=False)
            assert at < CELLS, "in mid-run"
        if join:
            made.add_node(num_cpus=cores)
        return {**job.end(), "killed_at": at}


def test_the_same_whatever_is_killed(run_of_many, source_text, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    rows = []
    for turn in range(1, ROUNDS + 1):
        one = alone(run_of_many, source_text, tmp_path / f"{turn}-alone")
        expected = contents(tmp_path / f"{turn}-alone")
        assert sum(name.startswith("records/") for name in expected) == CELLS
        found = {ALONE: one, HALVES: halves(run_of_many, source_text, tmp_path / f"{turn}-halves")}
        for name, (cores, kill, join) in ON_RAY.items():
            output = tmp_path / f"{turn}-{name}"
            found[name] = on_ray(run_of_many, source_text, output, cores=cores, kill=kill, join=join)
            assert contents(output) == expected, "the same records and table; no claim, no half file"
        rows += [judged({"run": name, "round": turn, **row}, one) for name, row in found.items()]
        write_tables(rows, tmp_path.parent)


def judged(row, one):
    """A run's row beside the one process of its round."""
    if row["run"] == ALONE:
        return row
    share = (row["wall_s"] - row["start_s"]) / (one["wall_s"] - one["start_s"])
    return {**row, "bar_s": row["start_s"] + 1.25 * one["wall_s"] / 2, "share": share}


def write_tables(rows, folder):
    """`many-on-ray-runs` with each run, `many-on-ray` with their medians."""
    write_table(folder / "many-on-ray-runs", [rounded(row, COLUMNS) for row in rows], COLUMNS)
    kinds = {
        name: [row for row in rows if row["run"] == name] for name in dict.fromkeys(r["run"] for r in rows)
    }
    medians = [{"run": name, **median_of(runs)} for name, runs in kinds.items()]
    write_table(folder / "many-on-ray", [rounded(row, MEDIANS) for row in medians], MEDIANS)


def median_of(runs):
    """Medians of the runs of one kind."""
    found = {
        name: statistics.median(run[name] for run in runs)
        for name in MEDIANS
        if name in runs[0] and name != "run"
    }
    ratios = sorted(run["wall_s"] / run["bar_s"] for run in runs if "bar_s" in run)
    if ratios:
        found["wall_over_bar"] = statistics.median(ratios)
        found["wall_over_bar_range"] = f"{ratios[0]:.3f} to {ratios[-1]:.3f}"
    return found


def rounded(row, columns):
    """Its columns, numbers to three decimals."""
    return {name: round(v, 3) if isinstance(v := row.get(name), float) else v for name in columns}
