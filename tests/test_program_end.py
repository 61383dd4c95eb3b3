"""The program's end: everything registered runs, everything printed arrives, the exit code is the command's."""

import subprocess
import sys

import pytest

BEGIN = "import atexit, os, signal, sys, threading, time\nfrom sparsity_lab.machine.signals import run\n"


def run(code):
    """A program that does this."""
    lines = "\n".join(f"    {line}" for line in code.split("\n"))
    program = f"{BEGIN}def work():\n{lines}\nrun(work)"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(("code", "status"), [("0", 0), ("None", 0), ("2", 2), ("130", 130), ("'a word'", 1)])
def test_the_exit_code_is_that_of_sys_exit(code, status):
    assert run(f"sys.exit({code})").returncode == status


def test_what_was_registered_runs_and_what_was_printed_arrives():
    done = run(
        "atexit.register(print, 'registered')\nprint('printed')\nprint('said', file=sys.stderr)\nsys.exit(0)"
    )
    assert (done.stdout, done.stderr) == ("printed\nregistered\n", "said\n")


def test_a_thread_at_work_is_waited_for():
    done = run("threading.Thread(target=lambda: (time.sleep(0.5), print('its word'))).start()\nsys.exit(3)")
    assert (done.stdout, done.returncode) == ("its word\n", 3)


def test_an_interrupted_program_cleans_up_and_takes_no_modules_apart():
    code = (
        "class Heavy:\n    def __del__(self):\n        print('gone', flush=True)\nglobal heavy\nheavy = Heavy()\n"
        "atexit.register(print, 'registered')\nprint('printed')\n"
    )
    done = run(code + "os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(30)")
    assert (done.stdout, done.stderr) == ("printed\nregistered\n", "Interrupted by SIGTERM.\n")
    assert done.returncode == 143
    assert run(code + "sys.exit(0)").stdout.endswith("gone\n"), "as any Python program"


def test_output_that_cannot_be_written_is_an_error():
    code = "sys.stdout = open('/dev/full', 'w')\nprint('lost')\nsys.exit(0)"
    assert run(code).returncode == 120, "as of any Python program"


def test_the_command_ends_so():
    done = subprocess.run(
        [sys.executable, "-m", "sparsity_lab", "measure", "nowhere"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
