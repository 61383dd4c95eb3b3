"""Imports matplotlib apart from the user's environment: MPLBACKEND and matplotlibrc files, which may be broken."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RC_FILE = "matplotlibrc"


def load() -> None:
    """Import matplotlib, where nobody has yet, with its own configuration; the environment is then as it was.

    Raises:
        ImportError: it is not installed, or broken.
        OSError: it finds no folder for its cache, not even a temporary one.
    """
    if "matplotlib" in sys.modules:
        return  # somebody else's figures go by its configuration; `styled` sees to ours
    with _variables(MPLBACKEND=None, MATPLOTLIBRC=os.devnull), _away_from_rc_file(), _quiet():
        import matplotlib.backends.backend_agg
        import matplotlib.backends.backend_svg
        import matplotlib.figure
        import matplotlib.font_manager  # noqa: F401 - reads or makes the list of fonts


@contextmanager
def _variables(**wanted: str | None) -> Iterator[None]:
    """Environment variables set, or with None left out."""
    before = {name: os.environ.pop(name, None) for name in wanted}
    os.environ.update({name: value for name, value in wanted.items() if value is not None})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _away_from_rc_file() -> Iterator[None]:
    """Another working directory, where this one has a matplotlibrc: that file would be read before all others."""
    if not os.path.exists(RC_FILE):
        yield
        return
    here = os.getcwd()
    os.chdir(Path(__file__).parent)
    try:
        yield
    finally:
        os.chdir(here)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves where it puts its cache."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
