"""Two drivers on one output share the work: both end with all of it, and each cell is measured once."""

import os
import re
import subprocess
import sys

import pytest

from tests.faults.soak import contents

MEASURED = re.compile(r"(\d+) cell\(s\) measured in this run")


def start(words, output, *more):
    return subprocess.Popen(
        [sys.executable, "-m", "sparsity_lab", *map(str, words[1:]), "--output", str(output), *map(str, more)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def measured(job):
    _, errors = job.communicate(timeout=300)
    assert job.returncode == 0, errors
    return int(MEASURED.search(errors).group(1))


@pytest.mark.slow
def test_two_at_once(words, tmp_path):
    jobs = [start(words, tmp_path / "shared"), start(words, tmp_path / "shared")]
    counts = [measured(job) for job in jobs]
    alone = measured(start(words, tmp_path / "alone"))
    assert sum(counts) == alone, "no cell was left out and none measured twice"
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")


@pytest.mark.slow
def test_three_with_workers_of_their_own(words, tmp_path):
    jobs = [start(words, tmp_path / "shared", "--jobs", 2) for _ in range(3)]
    counts = [measured(job) for job in jobs]
    assert sum(counts) == measured(start(words, tmp_path / "alone"))
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")
