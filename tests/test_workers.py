"""Worker processes: results by their places, failures told whole, and nobody left behind."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import pytest

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.machine.workers import side_by_side


def kill_itself():
    os.kill(os.getpid(), signal.SIGKILL)


def write(path, seconds=0.0):
    time.sleep(seconds)
    path.write_text("done", encoding="utf-8")
    return path.name


def refuse(path):
    path.write_text("begun", encoding="utf-8")
    raise SparsityLabError("It cannot be", why="For a reason", fix="Do another thing")


def lambda_of_its_own():
    return lambda: None


def run(calls, jobs=2):
    with side_by_side(jobs, torch_too=False) as workers:
        return dict(workers.perform(calls))


def test_results_come_with_their_places_and_workers_serve_again():
    with side_by_side(2, torch_too=False) as workers:
        assert dict(workers.perform([partial(pow, 2, n) for n in range(7)])) == {n: 2**n for n in range(7)}
        pids = {pid for _, pid in workers.perform([os.getpid] * 6)}
        assert pids <= {process.pid for process in workers.processes}
        assert len(workers.processes) == 2


def test_workers_search_for_garbage_as_seldom_as_their_parent():
    before = gc.get_threshold()
    gc.set_threshold(9_999)
    try:
        assert run([gc.get_threshold])[0][0] == 9_999
    finally:
        gc.set_threshold(*before)


@pytest.mark.long
def test_a_failure_lets_the_begun_end_and_leaves_the_rest(tmp_path):
    later = [partial(write, tmp_path / f"later-{n}") for n in range(3)]
    with pytest.raises(SparsityLabError) as error:
        run([partial(refuse, tmp_path / "refused"), partial(write, tmp_path / "begun", 1.0), *later])
    assert (error.value.what, error.value.why, error.value.fix) == (
        "It cannot be", "For a reason", "Do another thing",
    )  # fmt: skip
    assert (tmp_path / "begun").read_text(encoding="utf-8") == "done"
    assert not list(tmp_path.glob("later-2"))


def test_a_fault_of_ours_shows_the_workers_lines():
    with pytest.raises(ZeroDivisionError) as error:
        run([partial(divmod, 1, 0)])
    assert "workers.py" in str(error.value.__cause__)
    with pytest.raises(RuntimeError, match="cannot be sent"):
        run([lambda_of_its_own])


def test_a_killed_worker_is_told_in_a_paragraph():
    with pytest.raises(SparsityLabError, match=r"A worker process was killed.*fewer --jobs"):
        run([kill_itself, os.getpid])


DRIVER = """
import os, sys, time
from functools import partial
from sparsity_lab.machine.workers import side_by_side

if __name__ == "__main__":
    with side_by_side(2, torch_too=False) as workers:
        for _, pid in workers.perform([os.getpid, os.getpid, *[partial(time.sleep, 600)] * 2]):
            print(pid, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_no_worker_outlives_a_driver_of_ones_own(tmp_path, number):
    """A script that handles no signals itself, as of somebody who uses the package from Python."""
    script = tmp_path / "driver.py"
    script.write_text(textwrap.dedent(DRIVER), encoding="utf-8")
    job = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    pids = [int(job.stdout.readline()) for _ in range(2)]
    time.sleep(0.2)
    job.send_signal(number)
    assert job.wait(120) == -number
    until = time.monotonic() + 60
    while left := [pid for pid in pids if os.path.exists(f"/proc/{pid}/exe")]:
        assert time.monotonic() < until, f"{left} outlive the driver"
        time.sleep(0.05)
    job.stdout.close()


class _Leaving:
    """Ended in the midst of its `__del__`, from which Python lets no exception out."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            pass


def end_itself_in_del(marker):
    try:
        _Leaving()
        time.sleep(600)
    finally:
        marker.write_text("ended in its own way", encoding="utf-8")


def test_a_worker_ended_within_a_del_ends_in_its_own_way_and_in_silence(tmp_path, capfd):
    with pytest.raises(SparsityLabError):
        run([partial(end_itself_in_del, tmp_path / "marker")])
    assert (tmp_path / "marker").read_text(encoding="utf-8") == "ended in its own way"
    assert "Traceback" not in capfd.readouterr().err
