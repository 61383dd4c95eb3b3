"""Two processes under torchrun train the very run one process trains."""

import csv
import os
import subprocess
import sys

import pytest
import yaml

from sparsity_lab.ladder.train import checkpoints
from tests.command import PROGRAM, run


@pytest.mark.slow
def test_torchrun_gives_the_numbers_of_one_process(content, tmp_path):
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(content))
    alone = run("train", config, "--output", tmp_path / "one")
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
           *PROGRAM[1:], "train", str(config), "--output", str(tmp_path / "two")]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    together = subprocess.run(two, capture_output=True, text=True, check=False, env=environment)
    for ended in (alone, together):
        assert ended.returncode == 0, ended.stderr[-2000:]
    one, both = (tmp_path / name / "runs" / "tiny" for name in ("one", "two"))
    assert list(checkpoints.finished(one)) == list(checkpoints.finished(both))
    rows = [list(csv.DictReader((run / "loss.csv").open())) for run in (one, both)]
    for mine, its in zip(*rows, strict=True):
        assert float(its["loss_nats"]) == pytest.approx(float(mine["loss_nats"]), abs=1e-5)
    assert [path.name for path in both.iterdir() if path.name.startswith(("checkpoint-", "resume-"))] == []
