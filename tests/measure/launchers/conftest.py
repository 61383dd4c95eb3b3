"""One small measurement, what this process finds of it alone, and how outputs are compared."""

import contextlib
import json
import shutil
import subprocess
import sys
import time

import pytest

from sparsity_lab.measure.checkpoints import measure_checkpoints
from sparsity_lab.measure.spec import MeasureSpec, expand
from sparsity_lab.store.records import read_record


@pytest.fixture(autouse=True)
def _one_thread_each(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def timeless():
    """Name -> content of an output's files, the records without their time and the hash over it."""

    def read(output):
        found = {}
        for path in sorted([*output.glob("*.*"), *output.glob("records/*")]):
            found[path.name] = path.read_bytes()
            if path.suffix == ".json" and path.parent.name == "records":
                record = read_record(path)
                assert record["provenance"].pop("time")
                record["provenance"].pop("git")  # of a checkout that may be worked in meanwhile
                del record["record_sha256"]
                found[path.name] = json.dumps(record)
        return found

    return read


@pytest.fixture(scope="session")
def small(checkpoints, source_text):
    """Settings and checkpoints of four cells."""
    return MeasureSpec(text=source_text, tokens=4096, window=64, knob=0.1, batch_size=1), expand(
        [str(checkpoints)]
    )


@pytest.fixture(scope="session")
def alone(small, tmp_path_factory):
    """The output of one process."""
    import torch

    torch.set_num_threads(1)
    output = tmp_path_factory.mktemp("alone")
    measure_checkpoints(small[0], small[1], output=output)
    return output


@pytest.fixture
def with_broken(small, checkpoints, tmp_path):
    """The small measurement with its second checkpoint truncated and the config of its third broken."""
    run = shutil.copytree(checkpoints, tmp_path / "run")
    weights = run / "step-2" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    (run / "step-3" / "config.json").write_text("{ no", encoding="utf-8")
    return small[0], expand([str(run)])


@pytest.fixture(scope="session")
def driver(small, checkpoints):
    """Starts `sparsity-lab measure` on the small measurement in a process of its own."""
    spec, _ = small

    def start(output, *words):
        return subprocess.Popen(
            [
                sys.executable, "-m", "sparsity_lab", "measure", str(checkpoints), "--text", str(spec.text),
                "--tokens", str(spec.tokens), "--window", str(spec.window), "--knob", str(spec.knob),
                "--batch-size", "1", "--output", str(output), *words,
            ],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return start


@pytest.fixture(scope="session")
def holder():
    """Waits for a claim in a folder of records; the process that made it, other than some."""

    def wait(folder, other_than=(), seconds=300):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for path in folder.glob("*.claim-*"):
                with contextlib.suppress(OSError, ValueError):
                    process = json.loads(path.read_text(encoding="utf-8"))["process"]
                    if process not in other_than:
                        return process
            time.sleep(0.002)
        raise AssertionError("nobody claims a cell")

    return wait
