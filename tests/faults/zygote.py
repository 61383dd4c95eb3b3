"""Runs `sparsity-lab` in forks of one process that has everything imported, and kills them when told to.

A kill comes after a time, or just before the n-th operation on a file below the output directory, which the
interpreter's own audit events count: so every step of writing can be the last one. A run may have surroundings of its
own: a folder, variables, limits. Those that only a new interpreter heeds are given to one. Started as a script it
answers one line of JSON on stdin with one on stdout; nothing of the package is replaced.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

OPERATIONS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.utime")
ROOT = Path(__file__).resolve().parents[2]
GRACE_S = 10  # in which what a run has started must have ended after it


@dataclass(frozen=True)
class Surroundings:
    """What a run is surrounded by, where it is not what this process is.

    Attributes:
        folder: working directory.
        variables: name -> value, or None for a variable that is not set.
        limits: name of a limit of `resource` -> its value.
        stdin, stdout: a file, or None for a stream that is closed; empty as usual.
        umask: of new files.
        plain: without the superuser's rights to read and write whatever there is.
        anew: a new interpreter, which heeds variables that one reads as it starts.
    """

    folder: str = ""
    variables: dict[str, str | None] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    stdin: str | None = ""
    stdout: str | None = ""
    umask: int | None = None
    plain: bool = False
    anew: bool = False


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        killed: by a signal. code: exit code. operations: made on files of the output. seconds: it took.
        said, printed: what was on stderr and on stdout. left: command lines of processes it left behind.
    """

    killed: bool
    code: int
    operations: int
    seconds: float
    said: str
    printed: str
    left: list[str]


class Zygote:
    """The process that forks."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def run(
        self, *words: object, output: Path, kill_after_s: float | None = None, kill_at: int | None = None
    ) -> Ended:
        """Run a command whose `--output` is `output`; kill it after a time or before a file operation."""
        return self._ask(
            words=[*map(str, words), "--output", str(output)], output=str(output), kill_after_s=kill_after_s,
            kill_at=kill_at, around=asdict(Surroundings()),
        )  # fmt: skip

    def run_in(self, around: Surroundings, *words: str, kill_after_s: float) -> Ended:
        """Run a command in surroundings of its own; kill it after a time."""
        return self._ask(
            words=words, output="", kill_after_s=kill_after_s, kill_at=None, around=asdict(around)
        )

    def _ask(self, **asked: object) -> Ended:
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return Ended(**json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def _serve() -> None:
    _import_all()
    _adopt_orphans()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(asdict(_run(json.loads(line)))) + "\n")
        sys.stdout.flush()


def _run(asked: dict) -> Ended:
    pipes = {name: os.pipe() for name in ("said", "printed", "counted")}
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        _be(asked, {name: write for name, (_, write) in pipes.items()})
    readers = {name: _Reader(read) for name, (read, _) in pipes.items()}
    for _, write in pipes.values():
        os.close(write)
    timer = threading.Timer(asked["kill_after_s"] or 0, os.kill, (child, signal.SIGKILL))
    if asked["kill_after_s"] is not None:
        timer.start()
    _, status = os.waitpid(child, 0)
    seconds = time.monotonic() - start
    timer.cancel()
    left = _end_orphans()
    found = {name: reader.all() for name, reader in readers.items()}
    return Ended(
        os.WIFSIGNALED(status), os.waitstatus_to_exitcode(status), len(found["counted"]), seconds,
        found["said"].decode(errors="replace"), found["printed"].decode(errors="replace"), left,
    )  # fmt: skip


class _Reader(threading.Thread):
    """Takes in what comes down a pipe, so that nobody waits for room in it."""

    def __init__(self, pipe: int) -> None:
        super().__init__(daemon=True)
        self.stream, self.found = os.fdopen(pipe, "rb"), b""
        self.start()

    def run(self) -> None:
        with self.stream:
            self.found = self.stream.read()

    def all(self) -> bytes:
        self.join()
        return self.found


def _be(asked: dict, pipes: dict[str, int]) -> None:
    """Become the command; never returns."""
    around = Surroundings(**asked["around"])
    os.setsid()
    _enter(around, pipes)
    if around.anew:
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        os.execv(sys.executable, [sys.executable, "-m", "sparsity_lab", *asked["words"]])
    from sparsity_lab.__main__ import program

    if asked["output"]:
        _count(asked["output"], pipes["counted"], kill_at=asked["kill_at"])
    sys.argv = ["sparsity-lab", *asked["words"]]
    program()


def _enter(around: Surroundings, pipes: dict[str, int]) -> None:
    """Take on surroundings."""
    os.dup2(pipes["said"], 2)
    _point(0, around.stdin, None)
    _point(1, around.stdout, pipes["printed"])
    if around.stdin is None:  # as an interpreter finds it
        sys.stdin = sys.__stdin__ = None
    if around.stdout is None:
        sys.stdout = sys.__stdout__ = None
    if around.folder:
        os.chdir(around.folder)
    for name, value in around.variables.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    time.tzset()
    if around.umask is not None:
        os.umask(around.umask)
    if around.limits:
        import resource

        for name, value in around.limits.items():
            resource.setrlimit(getattr(resource, name), (value, value))
    if around.plain:
        _give_up_rights()


def _point(number: int, given: str | None, usual: int | None) -> None:
    """Make a standard stream a file, or close it."""
    if given is None:
        os.close(number)
        return
    made = usual if not given and usual is not None else os.open(given or os.devnull, os.O_RDWR)
    os.dup2(made, number)


def _count(output: str, pipe: int, *, kill_at: int | None) -> None:
    """Count operations on files of the output; a byte down the pipe for each, for it outlives a kill."""
    seen = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event not in OPERATIONS and not (event == "open" and _writes(arguments)):
            return
        if output in str(arguments[0]):
            seen += 1
            if seen == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            os.write(pipe, b".")

    sys.addaudithook(hook)


def _writes(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


def _system() -> object:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def _adopt_orphans() -> None:
    """Whoever is left behind by a run becomes a child of this process, which then knows of it (Linux)."""
    if sys.platform == "linux":
        _system().prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def _end_orphans() -> list[str]:
    """Wait for what a run has left behind to end by itself, and end the rest: their command lines."""
    until, left = time.monotonic() + GRACE_S, []
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return left
        if pid == 0 and time.monotonic() > until:
            for one in Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split():
                left.append(Path(f"/proc/{one}/cmdline").read_bytes().replace(b"\0", b" ").decode())
                os.kill(int(one), signal.SIGKILL)
                os.waitpid(int(one), 0)
        elif pid == 0:
            time.sleep(0.02)


def _give_up_rights() -> None:
    """The superuser, like anybody else, may then only do what the modes of files say."""
    import ctypes

    system = _system()
    for right in range(64):
        system.prctl(24, right, 0, 0, 0)  # PR_CAPBSET_DROP: those a new program would have again
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    if system.capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError(ctypes.get_errno(), "capset")


def _import_all() -> None:
    """What the commands import on their way, so that a fork begins with its work."""
    import matplotlib.pyplot  # noqa: F401
    import pandas  # noqa: F401
    import scipy.optimize  # noqa: F401
    from transformers import AutoTokenizer, LlamaForCausalLM, Trainer  # noqa: F401


if __name__ == "__main__":
    _serve()
