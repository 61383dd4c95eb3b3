"""What a reader of the numbers must know: said once on stderr, and kept for the files."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)


class Notes(list[str]):
    """Notes in the order they were made, each once."""

    def add(self, text: str) -> None:
        """Say a note, unless it was said before."""
        if text not in self:
            self.append(text)
            log.info("note: %s", text)
