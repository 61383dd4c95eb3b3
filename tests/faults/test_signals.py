"""Signals to real commands: they end, with 128 and the signal's number, without a traceback and without a process left.

The README's two seconds are for a machine with nothing else to do; tests grant more.
"""

import os
import signal
import subprocess
import sys
import time

import pytest

from sparsity_lab.labels import counted
from tests.command import run
from tests.faults import commands

END_S = 60.0


class Job:
    """A command in a session of its own, so that the processes that belong to it can be told."""

    def __init__(self, words, folder):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.said = (folder / "said").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sparsity_lab", *map(str, words), "--output", str(folder / "out")],
            stdout=self.said, stderr=self.said, start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def others(self):
        """Its workers and what else it started."""
        found = subprocess.run(
            ["ps", "-o", "pid=,stat=", "-s", str(self.process.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        rows = [line.split() for line in found.stdout.splitlines()]
        return {int(pid) for pid, state in rows if "Z" not in state} - {self.process.pid}

    def await_(self, there, seconds=600):
        until = time.monotonic() + seconds
        while not there():
            assert self.process.poll() is None, self.words_said()
            assert time.monotonic() < until
            time.sleep(0.05)

    def stop(self, number, *, group, again_after=None):
        """Exit code and what was said; no process is left."""
        send = (
            (lambda: os.killpg(self.process.pid, number))
            if group
            else (lambda: self.process.send_signal(number))
        )
        send()
        if again_after is not None:
            time.sleep(again_after)
            if self.process.poll() is None:
                send()
        code = self.process.wait(END_S)
        until = time.monotonic() + END_S
        while left := self.others():
            assert time.monotonic() < until, f"{left} are left"
            time.sleep(0.05)
        return code, self.words_said()

    def words_said(self):
        self.said.seek(0)
        return self.said.read()


@pytest.fixture
def started(tmp_path):
    jobs = []

    def start(*words):
        jobs.append(Job(words, tmp_path / "job"))
        return jobs[-1]

    yield start
    for job in jobs:
        if job.process.poll() is None:
            os.killpg(job.process.pid, signal.SIGKILL)
            job.process.wait()
        job.said.close()


FIT = ("--quiet", "fit", "--data", "sparsing-law", "--jobs", 2, "--bootstrap", 20_000)
WORKERS = 3  # two, and what watches their resources


@pytest.mark.parametrize(
    ("number", "group", "again_after"),
    [
        (signal.SIGINT, True, None),
        (signal.SIGTERM, False, None),
        pytest.param(signal.SIGINT, False, 0.3, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, True, None, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, True, None, marks=pytest.mark.slow),
    ],
)
def test_fit_with_workers(started, number, group, again_after):
    job = started(*FIT)
    job.await_(lambda: len(job.others()) >= WORKERS)
    time.sleep(1)  # some import, some work
    code, said = job.stop(number, group=group, again_after=again_after)
    assert code == 128 + number
    assert said == f"Interrupted by {signal.Signals(number).name}.\n"


def test_ignored_signals_stay_ignored(started):
    """As under `nohup`, or where a script starts a command in the background."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        job = started("ls", "laws")
    finally:
        signal.signal(signal.SIGHUP, before)
    while job.process.poll() is None:
        job.process.send_signal(signal.SIGHUP)
        time.sleep(0.05)
    assert job.process.returncode == 2, "ls has no --output, and says so"


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_measure_keeps_what_was_finished_and_goes_on(started, checkpoints, source_text, jobs):
    words = ("measure", checkpoints, "--text", source_text, "--tokens", 4096, "--window", 64, "--batch-size", 1,
             "--knob", 0.1, "--jobs", jobs)  # fmt: skip
    job = started(*words)
    records = job.folder / "out" / "records"
    job.await_(lambda: list(records.glob("*.json")) and list(records.glob("*.claim-*")))
    code, said = job.stop(signal.SIGINT, group=True)
    assert code == 130, said
    assert "Traceback" not in said
    kept = list(records.glob("*.json"))
    assert kept
    assert not [
        path for path in job.folder.rglob("*") if "claim" in path.name or path.name.endswith(".partial")
    ]
    again = run(*words, "--output", job.folder / "out")
    assert again.returncode == 0, again.stderr
    assert f"{counted(4 - len(kept), 'cell')} measured in this run" in again.stderr


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 0.6, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0])
def test_measure_at_any_moment(started, checkpoints, source_text, seconds):
    """While torch is imported, a model loaded, a knob searched."""
    job = started("measure", checkpoints, "--text", source_text, "--tokens", 16384, "--window", 64)
    time.sleep(seconds)
    code, said = job.stop(signal.SIGINT, group=True)
    assert code == 130, said
    assert "Traceback" not in said


@pytest.mark.slow
def test_train_with_workers_goes_on(started, corpus, tmp_path):
    words = commands.train([corpus], tmp_path).words[1:]
    job = started(*words, "--jobs", 2)
    runs = job.folder / "out" / "runs"
    job.await_(lambda: list(runs.glob("*/step-*")))
    code, said = job.stop(signal.SIGINT, group=True)
    assert code == 130, said
    assert "Traceback" not in said
    again = started(*words, "--jobs", 2)
    assert again.process.wait(600) == 0, again.words_said()
    assert len(list(runs.glob("*/step-*"))) == 8


@pytest.mark.slow
def test_it_ends_within_two_seconds(started):
    job = started(*FIT)
    job.await_(lambda: len(job.others()) >= WORKERS)
    time.sleep(5)
    since = time.monotonic()
    assert job.stop(signal.SIGINT, group=True)[0] == 130
    assert time.monotonic() - since < 20, "two, and tenfold for a machine that is busy"


def test_an_import_is_not_broken_off_inside_a_library(tmp_path):
    """An extension module of C++ would abort; whoever imports it hears of no interrupt."""
    (tmp_path / "slow.py").write_text(
        "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n    for _ in range(10**9): pass\n"
        "except BaseException:\n    os.abort()\n"
    )
    script = "from sparsity_lab.machine import signals\nsignals.run(lambda: __import__('slow'))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted by SIGINT.\n")
