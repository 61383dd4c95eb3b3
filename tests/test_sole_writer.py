"""A second process in one output is told who writes there; one that was killed keeps nobody out."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.machine.sole_writer import NAME, sole_writer

HOLD = (
    "import sys, time; from pathlib import Path; from sparsity_lab.machine.sole_writer import sole_writer\n"
    "with sole_writer(Path(sys.argv[1])):\n"
    "    print('there', flush=True)\n"
    "    time.sleep(600)\n"
)


@pytest.fixture
def holder(tmp_path):
    """Another process that writes to `out`."""
    job = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True
    )
    assert job.stdout.readline() == "there\n"
    yield job
    job.kill()
    job.wait()
    job.stdout.close()


def test_the_second_is_told_of_the_first(tmp_path, holder):
    with pytest.raises(SparsityLabError) as error, sole_writer(tmp_path / "out"):
        pass
    assert error.value.why == f"It is process {holder.pid} on {socket.gethostname()}"
    assert "out" in error.value.what
    with sole_writer(tmp_path / "out" / "inside"), sole_writer(tmp_path / "other"):
        pass


def test_a_killed_one_keeps_nobody_out_and_nothing_is_left(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with sole_writer(tmp_path / "out"):
        assert os.listdir(tmp_path / "out") == [NAME]
    assert not os.listdir(tmp_path / "out")


def test_work_that_fails_lets_go(tmp_path):
    with pytest.raises(ZeroDivisionError), sole_writer(tmp_path):
        raise ZeroDivisionError
    with sole_writer(tmp_path):
        pass


@pytest.mark.long
def test_two_fits_into_one_folder(tmp_path):
    words = [sys.executable, "-m", "sparsity_lab", "--quiet", "fit", "--data", "sparsing-law", "--output",
             str(tmp_path), "--jobs", "1", "--bootstrap"]  # fmt: skip
    first = subprocess.Popen([*words, "100000"], start_new_session=True)
    try:
        until = time.monotonic() + 300
        while not (tmp_path / NAME).exists() or not (tmp_path / NAME).read_bytes():
            assert time.monotonic() < until
            time.sleep(0.05)
        second = subprocess.run([*words, "0"], capture_output=True, text=True, timeout=300)
    finally:
        first.kill()
        first.wait()
    assert second.returncode == 2
    assert f"It is process {first.pid} on " in second.stderr
    assert second.stderr.startswith("Error: Another process is writing to ")
    assert os.listdir(tmp_path) == [NAME], "the second wrote nothing"
