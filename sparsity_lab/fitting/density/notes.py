"""What a reader of the numbers must know: said once on stderr, and kept for the files."""

from __future__ import annotations

import logging
from collections.abc import Sequence

log = logging.getLogger(__name__)

NAMES_SHOWN = 6


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: the first few, and how many more."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


class Notes(list[str]):
    """Notes in the order they were made, each once."""

    def add(self, text: str) -> None:
        """Say a note, unless it was said before."""
        if text not in self:
            self.append(text)
            log.info("note: %s", text)


class UnsaidNotes(Notes):
    """Notes that are not said: of one row of many, on a table whose own notes are."""

    def add(self, text: str) -> None:
        """Keep a note, unless it is kept already."""
        if text not in self:
            self.append(text)
