"""Text to train on: documents as a stream, each content once, split by a hash of the content.

`--corpus python` needs no network: every `.py` file of the interpreter's standard library and of its
site-packages is a document, in an order that a hash of the file's place decides. Whole documents, not
lines, are split into training and validation: a document is in the same part whatever else is there.
"""

from __future__ import annotations

import hashlib
import os
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.corpus.identity import places_and_sizes

PYTHON_LICENSE_NOTE = (
    "Sources of the Python standard library (PSF License) and of the packages installed with it, each "
    "under the license in its own metadata. They are read where they lie and are not redistributed; a model "
    "trained on them is for measurement, not for publication."
)
_SMALLEST_BYTES = 256  # below this a file is an empty `__init__.py` or a re-export
_LARGEST_BYTES = 200_000  # above this a file is generated: tables, parsers, bundled data


@dataclass(frozen=True)
class Corpus:
    """A stream of documents that can be walked more than once.

    Attributes:
        source: where they come from, in words.
        license_note: under which terms they are used.
        read: walks the documents, always in the same order.
        fingerprint: what the text is known by, as JSON takes it; `identity` compares two of them.
    """

    source: str
    license_note: str
    read: Callable[[], Iterator[str]]
    fingerprint: Callable[[], dict[str, Any]] = dict

    def documents(self, *, max_bytes: int) -> Iterator[str]:
        """Documents, each content once, until `max_bytes` of UTF-8 are given."""
        seen: set[bytes] = set()
        gathered = 0
        for text in self.read():
            data = _encoded(text, self.source)
            digest = hashlib.blake2b(data, digest_size=16).digest()
            if data and digest not in seen:
                seen.add(digest)
                yield text
                gathered += len(data)
            if gathered >= max_bytes:
                return


def _encoded(text: str, source: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise SparsityLabError(
            f"A document of {source} is not Unicode text",
            why=f"It holds half of a character at {error.start:,}",
            fix="Correct its escapes, or leave the document out",
        ) from error


def python_corpus(roots: tuple[Path, ...] | None = None) -> Corpus:
    """The Python sources of the running environment.

    Args:
        roots: folders to read instead of the environment's own.
    """
    folders = roots or environment_roots()

    def fingerprint() -> dict[str, Any]:
        files = (path for root in folders for path in _python_files(root))
        return {"kind": "python", "sources": places_and_sizes(folders, files)}

    return Corpus(
        "Python sources of the environment", PYTHON_LICENSE_NOTE, lambda: _sources(folders), fingerprint
    )


def environment_roots() -> tuple[Path, ...]:
    """The standard library and the site-packages of the running interpreter."""
    paths = sysconfig.get_paths()
    return tuple(dict.fromkeys(Path(paths[key]) for key in ("stdlib", "purelib", "platlib")))


def held_out(text: str, *, share: float, seed: int) -> bool:
    """Whether a document belongs to the validation part, by a seeded hash of its content."""
    return _unit_hash(f"{seed}:{text}") < share


def _sources(roots: tuple[Path, ...]) -> Iterator[str]:
    """Sources in an order that mixes the packages and is the same on every run."""
    order = {path: _unit_hash(str(path.relative_to(root))) for root in roots for path in _python_files(root)}
    if not order:
        raise SparsityLabError(
            f"There are no Python sources in {', '.join(map(str, roots))}",
            fix="Name `files` or a `dataset` under data in place of `corpus`",
        )
    for path in sorted(order, key=lambda path: (order[path], str(path))):
        yield _read(path)


def _python_files(root: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root):
        # A standard library may hold the site-packages of another environment.
        subfolders[:] = [name for name in subfolders if name not in ("site-packages", "__pycache__")]
        yield from (Path(folder, name) for name in names if name.endswith(".py"))


def _read(path: Path) -> str:
    """The file's text, or nothing where it is not UTF-8, too small or generated."""
    try:
        if not _SMALLEST_BYTES <= path.stat().st_size <= _LARGEST_BYTES:
            return ""
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _unit_hash(text: str) -> float:
    """A hash as a number in [0, 1)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48
