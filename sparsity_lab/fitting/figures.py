"""Figures that accompany numbers: if one cannot be drawn or written, that is logged in a line and nothing else fails.

Numbers are written first. Whatever draws is imported inside `attempted`, so that this holds for matplotlib itself.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sparsity_lab.errors import SparsityLabError

logger = logging.getLogger(__name__)

KINDS = ("png", "svg")
MOST_LETTERS = 300


@contextmanager
def attempted(stem: Path) -> Iterator[None]:
    """Draw a figure; where that fails, say which one is missing and why, and remove an earlier run's.

    Args:
        stem: the figure's files without their endings.
    """
    try:
        yield
    except Exception as error:  # drawing depends on fonts, libraries and the disk, which fail in many ways
        for kind in KINDS:
            with suppress(OSError):
                file_of(stem, kind).unlink(missing_ok=True)
        why = error.paragraph() if isinstance(error, SparsityLabError) else f"{type(error).__name__}: {error}"
        said = " ".join(why.split())[:MOST_LETTERS]
        logger.error("The figure %s is missing, the numbers are complete. %s", file_of(stem, KINDS[0]), said)


def file_of(stem: Path, kind: str) -> Path:
    """The file of a figure; stems may hold dots."""
    return stem.with_name(f"{stem.name}.{kind}")


def link(words: str, stem: Path, *, page: Path) -> list[str]:
    """The Markdown of a figure on a page, or nothing where it is missing."""
    image = file_of(stem, "png")
    return [f"![{words}]({image.relative_to(page.parent).as_posix()})"] if image.is_file() else []
