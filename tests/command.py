"""The command line as tests call it: within this process, or in one of its own where a process is what is tested."""

import io
import logging
import os
import subprocess
import sys
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from sparsity_lab.cli.main import main

ROOT = Path(__file__).parents[1]
PROGRAM = (sys.executable, "-m", "sparsity_lab")


def exit_code(*words):
    """Exit code of a command within this process; what it prints and notes is the test's to read."""
    with pytest.raises(SystemExit) as stop:
        main([*map(str, words)])
    return stop.value.code or 0


def run(*words, cwd=None, environment=None):
    """A command within this process, with its exit code, stdout and stderr as of a process of its own."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, _as_at_a_start(), redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["sparsity-lab", *map(str, words)])
        if cwd is not None:
            patch.chdir(cwd)
        for name, value in (environment or {}).items():
            patch.delenv(name, raising=False) if value is None else patch.setenv(name, value)
        code = exit_code(*words)
    return CompletedProcess(sys.argv, code, out.getvalue(), err.getvalue())


def process(*words, cwd=None, environment=None, **how):
    """A command in a process of its own, which takes seconds where it imports torch."""
    return subprocess.run(
        [*PROGRAM, *map(str, words)], check=False, text=True, cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        **{"capture_output": True, **how},
    )  # fmt: skip


@contextmanager
def _as_at_a_start():
    """No handlers of notes but the command's own, warnings on stderr, and an environment that is put back."""
    root, package, environment = logging.getLogger(), logging.getLogger("sparsity_lab"), dict(os.environ)
    handlers, levels = root.handlers, (root.level, package.level)
    root.handlers = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            for quiet in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
                warnings.simplefilter("ignore", quiet)
            warnings.showwarning = _on_stderr
            yield
    finally:
        root.handlers = handlers
        root.setLevel(levels[0])
        package.setLevel(levels[1])
        os.environ.clear()
        os.environ.update(environment)


def _on_stderr(message, category, filename, lineno, *_):
    sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))
