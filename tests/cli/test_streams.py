"""Standard streams that are pipes, gone, closed, dumb or a terminal: what is shown, and that no run ends of it."""

import os
import pty
import re
import subprocess
import sys

import pytest

from tests import command

BARS = """
import logging, sys, time
from sparsity_lab.cli.main import options
from sparsity_lab.cli.console.progress import progress
options(debug=False, quiet=False, version=False)
show = progress()
with show.track("outer", 4) as outer:
    for _ in range(4):
        with show.track("inner", 50) as inner:
            for _ in range(50):
                inner(1)
                time.sleep(0.002)
        logging.getLogger("sparsity_lab").info("a note of ours")
        outer(1)
print("done", file=sys.stderr)
"""
ENVIRONMENT = {**{k: v for k, v in os.environ.items() if k != "JPY_PARENT_PID"}, "OMP_NUM_THREADS": "1"}


def started(*words, **streams):
    return subprocess.run(
        [sys.executable, *map(str, words)],
        check=False,
        env={**ENVIRONMENT, **streams.pop("env", {})},
        **streams,
    )


@pytest.fixture
def words(trained, source_text):
    """A measurement; its output folder is to follow."""
    return [
        "measure",
        trained,
        "--text",
        source_text,
        "--tokens",
        512,
        "--window",
        64,
        "--knob",
        0.1,
        "--output",
    ]


@pytest.fixture
def measured(words, tmp_path):
    """`measure` in a process of its own, with streams as given."""

    def run(name, **streams):
        done = started("-m", "sparsity_lab", *words, tmp_path / name, **streams)
        return done, (tmp_path / name / "table.csv").read_bytes() if done.returncode == 0 else None

    run.folder = tmp_path
    return run


def gone():
    """The writing end of a pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def is_plain(done):
    assert done.returncode == 0, done.stderr
    assert not re.search(r"[\r\x1b]", done.stderr + done.stdout)
    assert len(done.stderr.splitlines()) <= 6, done.stderr


@pytest.mark.long
def test_lines_are_plain_off_a_terminal_and_readers_that_leave_end_no_run(words, measured):
    is_plain(command.run(*words, measured.folder / "read"))
    left, table = measured("left", stdout=gone(), stderr=gone())
    assert left.returncode == 0
    assert table == (measured.folder / "read" / "table.csv").read_bytes()


def test_a_pipe_gets_notes_and_no_bars():
    done = started("-c", BARS, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "a note of ours\n" * 4 + "done\n")


@pytest.mark.parametrize(
    ("streams", "words"),
    [
        ({"stdout": gone, "stderr": gone}, ["ls", "laws"]),
        ({"stderr": gone}, ["ls", "nothing"]),
        ({"stdout": gone}, ["--help"]),
    ],
    ids=["answer", "mistake", "help"],
)
def test_exit_codes_are_the_same_without_a_reader(streams, words):
    read = command.run(*words)
    unread = started("-m", "sparsity_lab", *words, **{name: make() for name, make in streams.items()})
    assert unread.returncode == read.returncode


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_no_other_files_number(closed, tmp_path):
    script = (
        "import os, sys; from sparsity_lab.cli.console.streams import settle; settle(); own = open('own', 'w'); "
        "print('to nobody', file=sys.stderr, flush=True); os.write(2, b'nor this'); own.close(); "
        "from sparsity_lab.cli.console.progress import progress; progress(); from sparsity_lab.cli.main import main; "
        "main(['ls', 'laws'])"
    )
    line = f"'{sys.executable}' -c \"{script}\" {closed}"
    assert subprocess.run(["sh", "-c", line], cwd=tmp_path, check=False, env=ENVIRONMENT).returncode == 0
    assert (tmp_path / "own").read_text() == ""


def on_a_terminal(**env):
    """What a terminal is sent on stderr."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", BARS], stderr=slave, stdout=subprocess.DEVNULL, env={**ENVIRONMENT, **env}
    )
    os.close(slave)
    sent = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        sent += piece
    os.close(master)
    assert process.wait() == 0
    return sent.decode()


def test_a_terminal_shows_both_bars_and_keeps_notes_whole():
    sent = on_a_terminal(TERM="xterm-256color", COLUMNS="100", LINES="30")
    assert "inner" in sent
    assert "outer" in sent
    assert "\x1b[" in sent
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sent)
    notes = [line.strip() for line in re.split(r"[\r\n]+", plain) if "a note" in line]
    assert notes == ["a note of ours"] * 4


@pytest.mark.parametrize(
    "env", [{"TERM": "dumb"}, {"TERM": "xterm", "JPY_PARENT_PID": "1"}], ids=["dumb", "notebook"]
)
@pytest.mark.long
def test_what_cannot_redraw_gets_no_bars(env):
    sent = on_a_terminal(**env)
    assert sent.replace("\r\n", "\n") == "a note of ours\n" * 4 + "done\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
@pytest.mark.parametrize(
    ("words", "streams", "code"),
    [
        (["ls", "laws"], "> /dev/full", 2),
        (["--help"], "> /dev/full", 2),
        (["ls", "laws"], "> /dev/full 2> /dev/full", 2),
        (["ls", "laws"], "2> /dev/full", 0),
        (["ls", "nothing"], "2> /dev/full", 2),
        (["ls", "laws"], "<&- >&- 2>&-", 0),
        (["ls", "nothing"], "<&- 2>&-", 2),
    ],
)
@pytest.mark.long
def test_full_and_closed_streams(words, streams, code):
    line = f"'{sys.executable}' -m sparsity_lab {' '.join(words)} {streams}"
    done = subprocess.run(["sh", "-c", line], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    if code == 2 and "2>" not in streams:
        assert done.stderr.startswith("Error: Standard output could not be written. No space left on device.")


@pytest.mark.slow
def test_results_are_whole_where_output_and_notes_are_lost(measured):
    read, table = measured("read", capture_output=True, text=True)
    is_plain(read)
    with open("/dev/full", "w") as full:
        done, _ = measured("full", stdout=full, stderr=full)
    assert done.returncode == 2
    assert (measured.folder / "full" / "table.csv").read_bytes() == table
