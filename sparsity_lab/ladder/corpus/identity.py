"""What a prepared corpus was made of, and whether what is asked for now is still that.

Text is known by the size and the hash of its files, never by their names; a dataset of the Hub by its commit; the
Python sources of an environment by their places and sizes. What does not change the data, such as `max_epochs`,
`license_note` or the name of a file, is not part of it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.config.spec import DataSpec, TokenizerSpec
from sparsity_lab.measure.checkpoint.fingerprints import file_sha256

logger = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 5
Files = list[dict[str, Any]]


def described(paths: Iterable[Path], *, root: Path | None = None) -> Files:
    """Name, bytes and sha256 of files, in their order; names relative to `root` where one is given.

    Raises:
        SparsityLabError: one of them cannot be read.
    """
    return [
        {"name": str(path if root is None else path.relative_to(root)), **_content(path)} for path in paths
    ]


def _content(path: Path) -> dict[str, Any]:
    try:
        return {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
    except OSError as error:
        raise SparsityLabError(
            f"Cannot read {path}", why=error.strerror or str(error), fix="Check its permissions"
        ) from error


def places_and_sizes(roots: Iterable[Path], files: Iterable[Path]) -> str:
    """One hash of where files are below their roots and how large they are; they are not read."""
    folders = tuple(roots)
    lines = []
    for path in files:
        root = next(root for root in folders if path.is_relative_to(root))
        lines.append(f"{path.relative_to(root).as_posix()}:{path.stat().st_size}")
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "backslashreplace")).hexdigest()


def commit_of(dataset: str) -> str | None:
    """The commit a dataset of the Hub is at now, or None where that cannot be looked up."""
    from huggingface_hub import HfApi

    try:
        return HfApi().dataset_info(dataset, timeout=_TIMEOUT_SECONDS).sha
    except Exception:  # offline, no such dataset, no access: whoever reads it says which
        return None


def settings_of(data: DataSpec, tokenizer: TokenizerSpec, *, seed: int) -> dict[str, Any]:
    """The settings that the data depend on, other than the text and a given tokenizer."""
    trained = tokenizer.path is None
    return {
        "max_bytes": data.max_bytes,
        "validation_share": data.validation_share,
        "seed": seed,
        "tokenizer": {"vocabulary": tokenizer.vocabulary, "train_bytes": tokenizer.train_bytes}
        if trained
        else "given",
    }


def differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """How two sets of settings differ, in words, or None."""
    for key in dict.fromkeys((*now, *then)):
        if then.get(key) != now.get(key):
            return f"Its {key} was {then.get(key)}, now it is {now.get(key)}"
    return None


def text_differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """How the text that data were prepared from differs from the text that is there now, or None."""
    if (files := then.get("files")) is not None and now.get("files") is not None:
        if changed := _files_differing(files, now["files"]):
            return changed
    elif files != now.get("files"):
        return "It came from files then, from a dataset or the environment now, or the other way about"
    if None not in (then.get("commit"), now.get("commit")) and then["commit"] != now["commit"]:
        return f"The dataset was at commit {then['commit'][:12]}, now it is at {now['commit'][:12]}"
    return differing(*({k: v for k, v in one.items() if k not in _COMPARED} for one in (then, now)))


_COMPARED = ("files", "commit", "sources")


def _files_differing(then: Files, now: Files) -> str | None:
    old, new = ([(file["bytes"], file["sha256"]) for file in files] for files in (then, now))
    if old == new:
        return None
    if fresh := [file for file, content in zip(now, new, strict=True) if content not in old]:
        file = fresh[0]
        before = next((one for one in then if one["name"] == file["name"]), None)
        had = "was not among them" if before is None else f"had {before['bytes']:,} bytes of another hash"
        return f"{file['name']} has {file['bytes']:,} bytes now; then it {had}"
    if gone := [file["name"] for file, content in zip(then, old, strict=True) if content not in new]:
        return f"{gone[0]} was read then and is not among the files now"
    return "The same files come in another order now"
