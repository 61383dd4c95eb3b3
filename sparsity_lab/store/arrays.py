"""Arrays that go with a record, in a `.safetensors` of its name; and the records that have them, by command."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.store import records

SEAL_KEYS: dict[str, str] = {  # what every record with arrays ends with
    "arrays_sha256": "hash of the .safetensors of this name",
    "content_key": "hash of all that determines the numbers; names the file",
    "record_sha256": "hash of this record without this key",
}


def packed(arrays: Mapping[str, np.ndarray], **metadata: str) -> bytes:
    """Arrays by name as the bytes of a `.safetensors` file."""
    from safetensors.numpy import save

    contiguous = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    return bytes(save(contiguous, metadata=metadata or None))


def unpacked(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of the bytes of a `.safetensors` file."""
    from safetensors.numpy import load

    return dict(load(data))


def read_arrays(record: Path, sha256: str, *, what: str, fix: str) -> dict[str, np.ndarray]:
    """The arrays in the `.safetensors` of a record's name.

    Args:
        record: path of the record.
        sha256: of the file, as the record says.
        what: they are, for an error: the arrays, the weights of the score.
        fix: how to come by arrays that are lost.

    Raises:
        SparsityLabError: the file cannot be read, or is another one.
    """
    path = record.with_suffix(".safetensors")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SparsityLabError(
            f"Cannot read {path}, {what} of {record}", why=error.strerror or str(error), fix=fix
        ) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise SparsityLabError(
            f"{path} is not the file its record speaks of", why="It was changed or damaged", fix=fix
        )
    return unpacked(data)


@dataclass(frozen=True)
class Sealed:
    """One record and its arrays, as read from disk."""

    body: dict[str, Any]
    arrays: dict[str, np.ndarray]


@dataclass(frozen=True)
class Kind:
    """The records of one command.

    Attributes:
        command: its name.
        folder: where they lie in an output.
        mark: a key that no other command's records have.
        keys: every key of a record and what it means.
        arrays: every array and what it means.
        optional: further keys and arrays that some records have, and what they mean.
    """

    command: str
    folder: str
    mark: str
    keys: Mapping[str, str]
    arrays: Mapping[str, str]
    optional: Mapping[str, str] = field(default_factory=dict)

    @property
    def again(self) -> str:
        """How to come by arrays that are lost."""
        return f"Take the file from a copy, or run `sparsity-lab {self.command}` again"

    def write(self, folder: Path, body: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Sealed:
        """Write arrays, then the sealed record that names their hash; read both back.

        Raises:
            SparsityLabError: a documented key is missing or an undocumented one is there, or the disk fails.
        """
        key = body["content_key"]
        data = packed(arrays, content_key=key)
        sealed = records.seal({**body, "arrays_sha256": hashlib.sha256(data).hexdigest()})
        odd = (set(sealed) ^ set(self.keys)) | (set(arrays) ^ set(self.arrays))
        records.refuse_odd_keys(odd - set(self.optional))
        records.write_bytes(folder / f"{key}.safetensors", data)
        records.write_json(
            folder / f"{key}.json",
            {name: sealed[name] for name in (*self.keys, *self.optional) if name in sealed},
        )
        return self.read(folder / f"{key}.json")

    def read(self, path: Path) -> Sealed:
        """One record and its arrays, hashes checked.

        Raises:
            SparsityLabError: unreadable, not a record of this command, or changed since it was written.
        """
        body = records.read_record(path)
        if self.mark not in body or "arrays_sha256" not in body:
            raise SparsityLabError(
                f"{path} is not a record of `sparsity-lab {self.command}`",
                fix=f"Name a file under {self.folder}/ of one of its outputs",
            )
        return Sealed(body, read_arrays(path, body["arrays_sha256"], what="the arrays", fix=self.again))

    def find(self, folder: Path, key: str) -> Sealed | None:
        """The record of a content key, or None where it is not there; a damaged one is set aside."""
        return records.read_or_set_aside(
            folder, key, self.read, lambda _, sealed: sealed.body["content_key"] == key
        )
