"""Memory that a training step frees stays with the process, unless the user has told the C library otherwise."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
FAULTS_A_STEP = """
import ctypes, resource, torch
from sparsity_lab.ladder.train.process import prepare_process
# How much glibc returns by itself depends on what lies at the heap's end; so, all large blocks come and go.
assert ctypes.CDLL(None).mallopt(-3, 131072) == 1
{prepare}
def step():
    blocks = [torch.ones(100_000 * (size + 1)) for size in range(20)]
    del blocks
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
seen = []
for _ in range(20):
    before = faults()
    step()
    seen.append(faults() - before)
print(sorted(seen[5:])[7])
"""


def faults_a_step(prepare, **environment):
    """Pages that come anew in a step which takes and frees 84 MB in blocks of 0.4 to 8 MB.

    The median of fifteen steps: until the heap has found its size, a step or two may still grow it.
    """
    done = subprocess.run(
        [sys.executable, "-c", FAULTS_A_STEP.format(prepare=prepare)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(done.stdout)


@pytest.mark.slow
def test_what_is_freed_is_not_faulted_in_again():
    assert faults_a_step("") > 1_000
    assert faults_a_step("prepare_process()") < 100


@pytest.mark.slow
def test_the_users_own_setting_stays():
    assert faults_a_step("prepare_process()", MALLOC_TRIM_THRESHOLD_="131072") > 1_000
