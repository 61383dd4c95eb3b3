"""Records with arrays beside them: a JSON file named by its content key, and a `.safetensors` of the same name."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparsity_lab.errors import REPORT_FIX, SparsityLabError
from sparsity_lab.store import records


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
    """

    command: str
    folder: str
    mark: str
    keys: Mapping[str, str]
    arrays: Mapping[str, str]

    @property
    def again(self) -> str:
        """How to come by arrays that are lost."""
        return f"Take the file from a copy, or run `sparsity-lab {self.command}` again"

    def write(self, folder: Path, body: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Sealed:
        """Write arrays, then the sealed record that names their hash; read both back.

        Raises:
            SparsityLabError: a documented key is missing or an undocumented one is there, or the disk fails.
        """
        from safetensors.numpy import save

        key = body["content_key"]
        data = save(
            {name: np.ascontiguousarray(values) for name, values in arrays.items()},
            metadata={"content_key": key},
        )
        sealed = records.seal({**body, "arrays_sha256": hashlib.sha256(data).hexdigest()})
        if odd := (set(sealed) ^ set(self.keys)) | (set(arrays) ^ set(self.arrays)):
            raise SparsityLabError(
                f"A record's keys differ from the documented ones: {', '.join(sorted(odd))}",
                fix=REPORT_FIX,
            )
        records.write_bytes(folder / f"{key}.safetensors", data)
        records.write_json(folder / f"{key}.json", {name: sealed[name] for name in self.keys})
        return self.read(folder / f"{key}.json")

    def read(self, path: Path) -> Sealed:
        """One record and its arrays, hashes checked.

        Raises:
            SparsityLabError: unreadable, not a record of this command, or changed since it was written.
        """
        from safetensors.numpy import load

        body = records.read_record(path)
        if self.mark not in body or "arrays_sha256" not in body:
            raise SparsityLabError(
                f"{path} is not a record of `sparsity-lab {self.command}`",
                fix=f"Name a file under {self.folder}/ of one of its outputs",
            )
        beside = path.with_suffix(".safetensors")
        try:
            data = beside.read_bytes()
        except OSError as error:
            raise SparsityLabError(
                f"Cannot read {beside}, the arrays of {path}",
                why=error.strerror or str(error),
                fix=self.again,
            ) from error
        if hashlib.sha256(data).hexdigest() != body["arrays_sha256"]:
            raise SparsityLabError(
                f"{beside} is not the file its record speaks of",
                why="It was changed or damaged",
                fix=self.again,
            )
        return Sealed(body, load(data))

    def find(self, folder: Path, key: str) -> Sealed | None:
        """The record of a content key, or None where it is not there; a damaged one is set aside."""
        path = folder / f"{key}.json"
        if not path.exists():
            return None
        with contextlib.suppress(SparsityLabError):
            found = self.read(path)
            if found.body["content_key"] == key:
                return found
        records.set_aside(path)
        return None
