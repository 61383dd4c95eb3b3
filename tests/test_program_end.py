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


HEAVY = (
    "class Heavy:\n    def __del__(self, write=os.write):\n        write(1, b'gone\\n')\n"
    "global heavy\nheavy = Heavy()\n"
    "atexit.register(print, 'registered')\nprint('printed')\n"
)


def test_an_interrupted_program_cleans_up_and_takes_no_modules_apart():
    done = run(HEAVY + "os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(30)")
    assert (done.stdout, done.stderr) == ("printed\nregistered\n", "Interrupted by SIGTERM.\n")
    assert done.returncode == 143


def test_a_program_that_has_done_its_work_takes_no_modules_apart():
    for end, status in (("pass", 0), ("sys.exit(2)", 2)):
        done = run(HEAVY + end)
        assert (done.stdout, done.stderr, done.returncode) == ("printed\nregistered\n", "", status)


@pytest.mark.parametrize(
    "end",
    [
        "raise ValueError",
        "sys.settrace(lambda *_: None)",
        "sys.setprofile(lambda *_: None)",
        "os.environ['LD_PRELOAD'] = ''",
        "sys.stdout = open('/dev/full', 'w'); print('lost')",
    ],
)
def test_a_program_that_is_observed_or_fails_ends_as_any_python_program(end):
    assert "gone\n" in run(HEAVY + end).stdout


def test_what_a_logger_holds_back_arrives():
    code = "import logging, logging.handlers\nstream = logging.StreamHandler(sys.stdout)\n"
    code += "logging.getLogger().addHandler(logging.handlers.MemoryHandler(9, target=stream))\nlogging.warning('held')"
    assert run(code).stdout == "held\n"


def test_a_fork_that_leaves_the_work_has_an_exit_code_of_its_own():
    code = "child = os.fork()\nif child == 0: sys.exit(7)\nsys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    assert run(code).returncode == 7


def test_output_that_cannot_be_written_is_an_error():
    code = "sys.stdout = open('/dev/full', 'w')\nprint('lost')\nsys.exit(0)"
    assert run(code).returncode == 120, "as of any Python program"


@pytest.mark.long
def test_the_command_ends_so():
    done = subprocess.run(
        [sys.executable, "-m", "sparsity_lab", "measure", "nowhere"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("Error: ")
