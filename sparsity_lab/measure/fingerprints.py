"""Tells checkpoints apart by what their files hold."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from sparsity_lab.measure.loading import Source

BLOCKS = 32
BLOCK_BYTES = 64 * 1024


def fingerprint(source: Source) -> str:
    """A hash that changes when the checkpoint does.

    A local checkpoint's config and, of each weight file, the size and 32 evenly spaced blocks of 64 KiB
    (all of a file smaller than that) are hashed, so that hundreds of large checkpoints stay quick to
    recognise; a Hub id is identified by its name and revision.
    """
    folder = source.folder
    if folder is None:
        return hashlib.sha256(str(source).encode()).hexdigest()
    digest = hashlib.sha256()
    kinds = ("config.json", "*.safetensors", "*.index.json") if not source.model.endswith(".gguf") else (
        Path(source.model).name,
    )  # fmt: skip
    for path in sorted(path for kind in kinds for path in folder.glob(kind)):
        digest.update(f"{path.name}:{path.stat().st_size}:".encode())
        _hash_blocks(path, digest)
    return digest.hexdigest()


def _hash_blocks(path: Path, digest: Any) -> None:
    size = path.stat().st_size
    step = max(BLOCK_BYTES, (size - BLOCK_BYTES) // (BLOCKS - 1))
    with path.open("rb") as stream:
        for start in range(0, size, step):
            stream.seek(start)
            digest.update(stream.read(BLOCK_BYTES))
