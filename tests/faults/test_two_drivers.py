"""Two drivers on one output share the work: both end with all of it, and each cell is measured once."""

import os
import re
import subprocess

import pytest

from tests.command import PROGRAM
from tests.faults.soak import contents

MEASURED = re.compile(r"(\d+) cell\(s\) measured in this run")


LONGEST_S = 900  # on a machine that has other things to do


@pytest.fixture
def start(words):
    """Starts the measurement in a process of its own, which ends with the test."""
    jobs = []

    def driver(output, *more):
        jobs.append(
            subprocess.Popen(
                [*PROGRAM, *map(str, words[1:]), "--output", str(output), *map(str, more)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        )
        return jobs[-1]

    yield driver
    for job in jobs:
        job.kill()
        job.communicate()


def measured(job):
    _, errors = job.communicate(timeout=LONGEST_S)
    assert job.returncode == 0, errors
    return int(MEASURED.search(errors).group(1))


@pytest.mark.slow
def test_two_at_once(start, tmp_path):
    jobs = [start(tmp_path / "shared"), start(tmp_path / "shared")]
    counts = [measured(job) for job in jobs]
    alone = measured(start(tmp_path / "alone"))
    assert sum(counts) == alone, "no cell was left out and none measured twice"
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")


@pytest.mark.slow
def test_three_with_workers_of_their_own(start, tmp_path):
    jobs = [start(tmp_path / "shared", "--jobs", 2) for _ in range(3)]
    counts = [measured(job) for job in jobs]
    assert sum(counts) == measured(start(tmp_path / "alone"))
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")
