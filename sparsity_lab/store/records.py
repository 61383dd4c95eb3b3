"""What one measured cell leaves on disk, and how it is written so that no kill can halve it.

A record is one JSON file named by its content key; per-layer curves and per-neuron counts go into a
`.safetensors` file next to it. How files are written: `whole_files`. Each record carries a hash of itself, so
that a damaged one is noticed when read.
`record_keys` documents every key; a test asserts that each record has these and no others.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from sparsity_lab.errors import REPORT_FIX, RunError, SparsityLabError
from sparsity_lab.reading.json_file import read_json
from sparsity_lab.store.record_keys import RECORD_KEYS as RECORD_KEYS
from sparsity_lab.store.whole_files import disk_fix, encoded, probe
from sparsity_lab.store.whole_files import write_bytes as write_bytes
from sparsity_lab.store.whole_files import write_text as write_text

URL = re.compile(
    r"[a-z][a-z0-9+.-]+:(/|:|$)|(s3|gs|gcs|az|abfs|adl|hdfs|sftp|ssh|hf|file|local):", re.IGNORECASE
)  # no drive letter
Read = TypeVar("Read")
WEIGHTS, NEXT_WEIGHTS = ".safetensors", ".next.safetensors"
SEALS = ("content_key", "record_sha256")
RECORD_FIX = "Name a file under records/ of an output of `sparsity-lab measure`, or measure again"


def canonical_json(value: object) -> str:
    """One text per value: sorted keys, no spaces, shortest round-trip floats, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def as_json(value: object) -> Any:
    """A value as its file holds it: tuples are lists, keys are text."""
    return json.loads(json.dumps(value))


def content_key(determinants: Mapping[str, object]) -> str:
    """Hash of everything that determines a cell's numbers; 20 hex digits."""
    return hashlib.sha256(encoded(canonical_json(determinants))).hexdigest()[:20]


def prepare_output(folder: Path) -> Path:
    """Make the output folder and prove that it can be written, before anything costly starts.

    Raises:
        SparsityLabError: it is a URL, or cannot be made or written.
    """
    refuse_url(folder)
    try:
        probe(folder)
    except OSError as error:
        raise SparsityLabError(
            f"Cannot write to the output directory {folder}",
            why=error.strerror or str(error),
            fix=disk_fix(error, "Name another one with --output, or free space and check its permissions"),
        ) from error
    return folder


def refuse_url(output: Path) -> None:
    """Refuse an output that is meant for an object store or another machine.

    Raises:
        SparsityLabError: a URL, half of one (`s3:bucket/run`), or several chained with `::`.
    """
    if URL.match(output.as_posix()):
        url = output.as_posix().replace(":/", "://", 1)  # a path has lost a slash
        raise SparsityLabError(
            f"The output {url} is a URL, and results are written to folders of this machine alone",
            fix="Write to a folder, and copy it when the command has ended: `aws s3 sync`, `rclone copy` or `rsync`",
        )


def refuse_model_folder(folder: Path) -> None:
    """Refuse an output whose config.json would replace a model's.

    Raises:
        SparsityLabError: the folder holds a model.
    """
    parts = ("*.safetensors", "*.safetensors.index.json", "tokenizer.json", "*.bin")
    if os.path.exists(folder / "config.json") and any(any(folder.glob(part)) for part in parts):
        raise SparsityLabError(
            f"The output {folder} is the folder of a model",
            why="Its config.json would be replaced",
            fix="Name another folder with --output, such as one inside it",
        )


def refuse_over_input(source: Path, *written: Path) -> None:
    """Refuse to write over the file that is read.

    Raises:
        SparsityLabError: it is one of those that will be written.
    """
    if any(os.path.realpath(source) == os.path.realpath(path) for path in written):
        raise SparsityLabError(
            f"The results would be written over {source}", fix="Name another --output, or rename the table"
        )


@contextlib.contextmanager
def no_empty_folders(folder: Path) -> Iterator[None]:
    """Where the work inside fails, remove the folders it made down to `folder` and left empty."""
    absent = [parent for parent in (folder, *folder.parents) if not os.path.exists(parent)]
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # not empty, then: something was kept
            for parent in absent:
                parent.rmdir()
        raise


def write_json(path: Path, value: object) -> None:
    """Write indented JSON, whole or not at all. NaN and infinity are refused: they are not JSON."""
    write_text(path, json.dumps(value, indent=1, sort_keys=False, allow_nan=False, ensure_ascii=False) + "\n")


def seal(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with `record_sha256` over everything else."""
    body = {key: value for key, value in record.items() if key != "record_sha256"}
    return {**body, "record_sha256": hashlib.sha256(encoded(canonical_json(body))).hexdigest()}


def write_record(folder: Path, record: Mapping[str, Any]) -> Path:
    """Seal and write one record under its content key.

    Raises:
        SparsityLabError: a documented key is missing or an undocumented one is there, or the disk fails.
    """
    sealed = seal(record)
    refuse_odd_keys(set(sealed) ^ set(RECORD_KEYS))
    path = folder / f"{sealed['content_key']}.json"
    write_json(path, {key: sealed[key] for key in RECORD_KEYS})
    has_weights(path, sealed)
    return path


def refuse_odd_keys(odd: set[str]) -> None:
    """Refuse a record with keys that are documented and missing, or there and not documented.

    Raises:
        SparsityLabError: there are some.
    """
    if odd:
        raise SparsityLabError(
            f"A record's keys differ from the documented ones: {', '.join(sorted(odd))}", fix=REPORT_FIX
        )


def write_weights(folder: Path, key: str, data: bytes) -> str:
    """Write the arrays that a record to come speaks of, and their hash; a record that is there keeps its own till then.

    Those of a record that is replaced take their place behind it; see `has_weights`.
    """
    path, wanted = folder / f"{key}.json", hashlib.sha256(data).hexdigest()
    if _hash_of(path.with_suffix(WEIGHTS)) != wanted:
        write_bytes(path.with_suffix(NEXT_WEIGHTS if path.exists() else WEIGHTS), data)
    return wanted


def write_sealed(folder: Path, body: Mapping[str, Any]) -> dict[str, Any]:
    """Seal and write a record of other keys than `measure`'s under its content key; read back what lies on disk."""
    path = folder / f"{body['content_key']}.json"
    write_json(path, seal(body))
    return read_record(path)


def write_and_read(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Write one record and read back what lies on disk."""
    return read_record(write_record(folder, record))


def retold(folder: Path, record: dict[str, Any], **known: Any) -> dict[str, Any]:
    """A record with what is known of it now, such as its trained tokens, rewritten where that differs.

    That is not part of the content key, so an earlier record is updated without being measured again. What is
    None is not known.
    """
    changes = {key: value for key, value in known.items() if value is not None and value != record.get(key)}
    if not changes:
        return record
    whole = {**dict.fromkeys(RECORD_KEYS), **record}  # of an earlier version, it may lack a key
    return write_and_read(folder, {**whole, **changes})


def read_record(path: Path) -> dict[str, Any]:
    """Read one record and check its hash.

    Raises:
        SparsityLabError: unreadable, not a record, or changed since it was written.
    """
    record = read_json(path, kind="record", fix=RECORD_FIX)
    if not isinstance(record, dict) or not isinstance(record.get("content_key"), str):
        raise SparsityLabError(f"{path} is not a record of `sparsity-lab measure`", fix=RECORD_FIX)
    if seal(record)["record_sha256"] != record.get("record_sha256"):
        raise SparsityLabError(
            f"The record {path} does not match its own hash", why="It was changed or damaged", fix=RECORD_FIX
        )
    return record


def find_record(folder: Path, key: str) -> dict[str, Any] | None:
    """The record of a content key, or None where it is not there; a damaged or misnamed one is set aside."""
    return read_or_set_aside(
        folder,
        key,
        read_record,
        lambda path, record: record["content_key"] == key and has_weights(path, record),
    )


def read_or_set_aside(
    folder: Path, key: str, read: Callable[[Path], Read], is_right: Callable[[Path, Read], bool]
) -> Read | None:
    """What a file of a content key holds, or None where it is not there; a damaged or misnamed one is set aside."""
    path = folder / f"{key}.json"
    if not path.exists():
        return None
    with contextlib.suppress(SparsityLabError):
        record = read(path)
        if is_right(path, record):
            return record
    set_aside(path)
    return None


def set_aside(path: Path) -> None:
    """Rename a damaged record, so that it is measured again."""
    try:
        path.replace(path.with_suffix(".damaged"))
    except FileNotFoundError:  # by another process, meanwhile
        return
    except OSError as error:
        raise RunError(
            f"The record {path} is damaged and cannot be set aside",
            why=error.strerror or str(error),
            fix="Move it away, and it is measured again",
        ) from error


def has_weights(path: Path, record: Mapping[str, Any]) -> bool:
    """Whether the file of score weights that a record speaks of is next to it, undamaged.

    Where the record has just replaced another, its file is put in the place of that one's.
    """
    wanted = record.get("score_weights_sha256")
    if wanted is None:
        return True
    if _hash_of(path.with_suffix(WEIGHTS)) == wanted:
        return True
    if _hash_of(path.with_suffix(NEXT_WEIGHTS)) != wanted:
        return False
    with contextlib.suppress(FileNotFoundError):  # by another process, meanwhile
        path.with_suffix(NEXT_WEIGHTS).replace(path.with_suffix(WEIGHTS))
    return True


def _hash_of(path: Path) -> str | None:
    """Hash of a file, None where it cannot be read."""
    with contextlib.suppress(OSError):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return None


def iter_records(folder: Path) -> Iterator[dict[str, Any]]:
    """All records of a folder, in order of their content keys.

    Raises:
        SparsityLabError: one of them is unreadable or damaged.
    """
    for path in sorted(folder.glob("*.json")):
        yield read_record(path)
