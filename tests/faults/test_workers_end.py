"""Workers of a killed `fit` end with it: none stays behind, waiting for work that never comes."""

import os
import signal
import subprocess
import sys
import time

import pytest


def children(pid):
    """Processes whose parent is `pid`."""
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return {int(word) for word in found.stdout.split()}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="workers are bound to their parent by prctl")
def test_workers_of_a_killed_fit_end_with_it(tmp_path):
    words = ("--quiet", "fit", "--data", "sparsing-law", "--jobs", "2", "--bootstrap", "4000")
    job = subprocess.Popen(
        [sys.executable, "-m", "sparsity_lab", *words, "--output", str(tmp_path / "out")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        until = time.monotonic() + 120
        while len(workers := children(job.pid)) < 3:  # two workers and what watches their resources
            assert job.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)
        time.sleep(5)  # at work by now
    finally:
        job.send_signal(signal.SIGKILL)
        job.wait()
    until = time.monotonic() + 60
    while left := [one for one in workers if os.path.exists(f"/proc/{one}/exe")]:
        assert time.monotonic() < until, f"{left} outlive the driver"
        time.sleep(0.1)
