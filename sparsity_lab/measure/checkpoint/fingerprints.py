"""Tells checkpoints apart by what their files hold.

Whole files are hashed, at about 1.3 GB/s: a change of one neuron counts. What was hashed once is remembered under
the user's cache directory, by the file's path, size, inode and times, so that hundreds of large checkpoints are
recognized at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.machine.environment import cache_folder
from sparsity_lab.measure.checkpoint.source import TOKENIZER_FILES, Source, tokenizer_source
from sparsity_lab.measure.checkpoint.weights.activation import is_usual
from sparsity_lab.measure.checkpoint.weights.adapters import adapter_in
from sparsity_lab.measure.checkpoint.weights.weight_files import PICKLED, has_only_pickles
from sparsity_lab.reading.json_file import json_or_none
from sparsity_lab.reading.unreadable import instead
from sparsity_lab.store.whole_files import write_text

BLOCK_BYTES = 1 << 20
MEMORABLE_BYTES = 64 << 20  # smaller files are hashed faster than remembered
SETTLED_S = 2.0  # a file changed later than this ago may change again within the resolution of its times
KINDS = ("config.json", "*.safetensors", "*.index.json")


@contextlib.contextmanager
def _unread_told() -> Iterator[None]:
    """A file that cannot be read is named.

    Raises:
        SparsityLabError: it is gone, a link to nowhere, or closed to this user.
    """
    try:
        yield
    except OSError as error:
        name = error.filename or "a file of the checkpoint"
        raise SparsityLabError(
            f"Cannot read {name}",
            why=instead(Path(name)) or error.strerror or str(error),
            fix="Put the file itself there, readable for you",
        ) from error


def fingerprint(source: Source) -> str:
    """A hash that changes when the checkpoint does.

    Of a local checkpoint, its config and weight files are hashed; a Hub id is identified by its name and commit,
    so that nothing need be loaded to recognize it. An adapter is its own files and its base model.
    """
    folder = source.folder
    if folder is None and source.base is None:
        return hashlib.sha256(f"{source.model}@{source.commit or source.revision}".encode()).hexdigest()
    return content_sha256(source)


@_unread_told()
def content_sha256(source: Source) -> str:
    """A hash of the config and the weights in a checkpoint's files on this machine, those that may be read.

    The activation function that a user names for a GGUF file is part of it, where it is not the usual one.
    """
    folder = source.snapshot
    assert folder is not None, "the files are there"
    if source.is_gguf:
        path = Path(source.model)
        named = source.hidden_act is not None and not is_usual(path, source.hidden_act)
        return _of_words(file_sha256(path), source.hidden_act) if named else file_sha256(path)
    if source.base is not None:
        return _of_words("adapter", adapter_sha256(source), fingerprint(source.base))
    kinds = (*KINDS, PICKLED.any) if source.allow_pickle_weights and has_only_pickles(folder) else KINDS
    return _of_files({path for kind in kinds for path in folder.glob(kind)})


@_unread_told()
def adapter_sha256(source: Source) -> str:
    """A hash of the config and the weights of an adapter, without its base model."""
    folder = source.snapshot
    assert folder is not None, "the files are there"
    return _of_files(path for path in adapter_in(folder).files if path.exists())


def _of_files(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.name}:{path.stat().st_size}:{file_sha256(path)}:".encode())
    return digest.hexdigest()


def _of_words(*words: str | None) -> str:
    return hashlib.sha256(":".join(map(str, words)).encode()).hexdigest()


@_unread_told()
def tokenizer_identity(source: Source) -> str:
    """A hash of all files that a tokenizer is made from: checkpoints of one share their token ids.

    A checkpoint's config has a say as well, wherever the other files lie.
    """
    place, config = tokenizer_source(source), (source.base or source).snapshot
    if source.is_gguf:
        return (
            fingerprint(source) if place is source else f"{fingerprint(source)}+{tokenizer_identity(place)}"
        )
    if place.folder is None and place is source:
        return f"{source.model}@{source.commit or source.revision}"
    digest = hashlib.sha256()
    if place.folder is None:
        digest.update(f"{place.model}@{place.commit or place.revision}".encode())
    for name in TOKENIZER_FILES:
        folder = config if name == "config.json" else place.folder
        if folder is not None and (folder / name).is_file():
            digest.update(name.encode() + (folder / name).read_bytes())
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """sha256 of a file, from memory where it is large and unchanged since it was last hashed."""
    state = _state(path)
    if state[2] < MEMORABLE_BYTES:
        return _hashed(path)
    remembered = _memory(path)
    with contextlib.suppress(LookupError, TypeError):
        entry = json_or_none(remembered)
        if entry["state"] == state:
            return str(entry["sha256"])
    found = _hashed(path)
    if time.time() - max(state[-2:]) / 1e9 > SETTLED_S and _state(path) == state:
        with contextlib.suppress(SparsityLabError):  # it is then hashed again next time
            write_text(remembered, json.dumps({"path": str(path), "state": state, "sha256": found}))
    return found


def _state(path: Path) -> list[int]:
    """What changes when the file does: device, inode, size, and times of its content and of its inode in ns."""
    stat = path.stat()
    return [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _memory(path: Path) -> Path:
    """The file that remembers the hash of another."""
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    return cache_folder() / "sparsity-lab" / "hashes" / f"{name}.json"


def _hashed(path: Path) -> str:
    digest, block = hashlib.sha256(), memoryview(bytearray(BLOCK_BYTES))
    with path.open("rb", buffering=0) as stream:
        while read := stream.readinto(block):
            digest.update(block[:read])
    return digest.hexdigest()
