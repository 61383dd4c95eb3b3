"""A folder of text files, a document each."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sparsity_lab.errors import RunError
from sparsity_lab.reading.texts.documents import Documents
from sparsity_lab.reading.texts.passages import Utf8Text
from sparsity_lab.reading.texts.text_file import TextFile
from sparsity_lab.reading.walking import Walk

logger = logging.getLogger(__name__)

TEXTS = (".txt", ".text", ".md")


class TextFolder(Documents):
    """Text files of a folder and the folders in it, a document each, in the order of their names.

    Args:
        path: the folder.

    Raises:
        OSError: one cannot be read.
        RunError: it has none, or one of them holds something other than text.
    """

    def __init__(self, path: Path) -> None:
        found = files_in(path)
        files = [file for file in found if file.suffix.lower() in TEXTS]
        tell_left_out(path, found, files)
        if not files:
            raise RunError(
                f"The folder {path} holds no text files", why=f"Their names end in {', '.join(TEXTS)}",
                fix="Name a file, a folder of text files, or with --dataset a folder of the datasets library",
            )  # fmt: skip
        self.path, self.files = path, [TextFile(file) for file in files]

    def described(self) -> dict[str, Any]:
        """See `TextSource`."""
        return {"form": "text files", "path": str(self.path), "bytes": sum(file.size for file in self.files)}

    def count(self) -> int:
        """See `TextSource`."""
        return len(self.files)

    def read(self, number: int) -> Utf8Text:
        """See `Documents`."""
        return self.files[number]

    def each(self) -> Iterator[Utf8Text]:
        """See `TextSource`."""
        return iter(self.files)


def files_in(path: Path) -> list[Path]:
    """The files of a folder and the folders in it, in the order of their names; what cannot be walked is logged."""
    walk = Walk(path)
    files = list(walk.files())
    walk.tell()
    return files


def tell_left_out(path: Path, found: list[Path], taken: list[Path]) -> None:
    """Log how many files of a folder are of other kinds than those taken."""
    if taken and len(taken) < len(found):
        kinds = ", ".join(sorted({file.suffix or file.name for file in set(found) - set(taken)}))
        count = len(found) - len(taken)
        logger.warning("%d files of other kinds in %s are left out: %s", count, path, kinds)
