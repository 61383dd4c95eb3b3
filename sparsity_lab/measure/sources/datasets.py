"""Datasets of the `datasets` library: on the Hub, a folder that `load_dataset` takes, or one that `save_to_disk` wrote.

The library says which files a configuration and a split are of. Parquet and JSON lines among them are read by our own
readers where they lie, so that a large dataset costs what its windows cost and is never converted as a whole; files of
other kinds, and small datasets of the Hub, are prepared by the library in its cache, which serves later runs offline.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sparsity_lab import extras
from sparsity_lab.errors import RunError, SparsityLabError
from sparsity_lab.measure.checkpoint import hub
from sparsity_lab.reading.json_file import json_or_none
from sparsity_lab.reading.texts.dataset_name import SHORT_NAMES, DatasetName
from sparsity_lab.reading.texts.documents import Documents, Shards
from sparsity_lab.reading.texts.json_lines import COMPRESSED, ENDINGS, JsonLines
from sparsity_lab.reading.texts.tables import DatasetRows, ParquetFile

logger = logging.getLogger(__name__)
SAVED = ("dataset_dict.json", "state.json")  # signs of `save_to_disk`: of several splits, of one
SMALL_BYTES = 1 << 30  # a configuration of the Hub up to this size is brought as a whole, and kept
MOST_UNSEEKABLE = 4 << 30  # compressed bytes of the Hub that are read from the beginning
AHEAD_BYTES = 1 << 18  # of a file on the Hub, read behind what was asked for
MOST_NAMES = 20


def open_dataset(name: DatasetName, *, column: str | None = None) -> Documents:
    """The documents of a dataset, a row each.

    Args:
        name: of the dataset.
        column: of the text; by default `text`, or that of a short name.

    Raises:
        SparsityLabError: `datasets` is not installed; no such dataset, configuration, split or column; a column that
            holds no text; it is gated, or the Hub is not reached.
    """
    parts = name.parts
    column = column or parts.column
    extras.require("datasets", who=f"The dataset {name}")
    path = Path(parts.dataset)
    if path.is_file():
        raise SparsityLabError(f"{path} is a file", fix=f"Name it with --text {path}")
    if parts.revision is not None and path.exists():
        raise SparsityLabError(f"{path} is local and has no revisions", fix=f"Leave @{parts.revision} out")
    said = {"dataset": parts.dataset, "config": parts.config, "column": column}
    with _quiet(), _explained(name):
        if any((path / sign).is_file() for sign in SAVED):
            return _saved(path, name, said)
        return _loadable(name, said)


def _saved(path: Path, name: DatasetName, said: dict[str, Any]) -> Documents:
    """What `save_to_disk` wrote: one split, or a folder of them."""
    from datasets import load_from_disk

    parts = name.parts
    if (path / SAVED[0]).is_file():
        splits = list((json_or_none(path / SAVED[0]) or {}).get("splits", ()))
        path = path / _chosen(parts.split or parts.config, splits, name)
        said = {**said, "config": None, "split": path.name}
    elif parts.split is not None or parts.config is not None:
        raise SparsityLabError(
            f"{path} is one split, saved by itself", fix=f"Write --dataset {path} without a split"
        )
    state = json_or_none(path / SAVED[1]) or {}
    if state.get("_data_files") == []:  # which the library does not read
        raise _empty(name)
    said = {"form": "saved dataset", **said, "fingerprint": state.get("_fingerprint")}
    return DatasetRows(load_from_disk(str(path)), path=str(name), column=said["column"], description=said)


def _loadable(name: DatasetName, said: dict[str, Any]) -> Documents:
    """What `load_dataset` takes."""
    from datasets import config, get_dataset_config_names, load_dataset_builder

    parts = name.parts
    local = Path(parts.dataset).exists()
    # A folder called csv or text is not a loader of the library.
    place = os.path.join(os.curdir, parts.dataset) if local and os.sep not in parts.dataset else parts.dataset
    asked = {"path": place, "revision": _pinned(name)}
    if parts.config is not None and (local or not config.HF_HUB_OFFLINE):  # a cache does not list them
        known = get_dataset_config_names(**asked)
        if known and parts.config not in known:
            raise _unknown("configuration", parts.config, known, name)
    builder = load_dataset_builder(**asked, name=parts.config)
    files: Mapping[str, Sequence[str]] = {
        str(split): list(urls) for split, urls in (builder.config.data_files or {}).items()
    }
    split = _chosen(parts.split, list(files) or list(builder.info.splits or ()), name)
    said = {**said, "config": builder.config.name, "split": split}
    urls = files.get(split, ())
    on_hub = any("://" in url for url in urls)
    commit = None if local else asked["revision"] or str(builder.hash)
    said |= {"revision": commit, "fingerprint": None if commit else str(builder.hash)}
    reader = _reader(urls)
    if on_hub and sum(map(_size, (url for each in files.values() for url in each))) <= SMALL_BYTES:
        reader = None
    if reader is None:
        if any(Path(url).suffix.lower() == ".zst" for each in files.values() for url in each):
            extras.require("zstandard", who=f"The dataset {name}")
        hub.or_plain_http(builder.download_and_prepare, name=str(name))
        info = (builder.info.splits or {}).get(split)
        if info is None or not info.num_examples:
            raise _empty(name)
        rows = builder.as_dataset(split=split)
        return DatasetRows(
            rows, path=str(name), column=said["column"], description={"form": "dataset", **said}
        )
    if on_hub and any(_is_compressed(url) for url in urls) and sum(map(_size, urls)) > MOST_UNSEEKABLE:
        raise RunError(
            f"The split {split} of {name} is {sum(map(_size, urls)) / 1e9:,.0f} GB of compressed files",
            why="These can only be read from the beginning",
            fix="Name a smaller split, such as validation, or bring some of its files and name them with --text",
        )
    opened = {url: partial(_open_url, url) if "://" in url else None for url in urls}
    columns = {"column": said["column"]}
    documents = [reader(url if opened[url] else Path(url), opened=opened[url], **columns) for url in urls]
    return Shards(documents, path=str(name), description={"form": "dataset", **said, "files": len(urls)})


def _pinned(name: DatasetName) -> str | None:
    """The commit that a dataset of the Hub is at now; offline its revision as it was given, None for a local one."""
    from datasets import config

    parts = name.parts
    if Path(parts.dataset).exists() or config.HF_HUB_OFFLINE:
        return parts.revision
    return hub.dataset_commit(parts.dataset, parts.revision)


def _reader(urls: Sequence[str]) -> Any:
    """Our reader of all these files, or None where there is none."""
    endings = {_ending(url) for url in urls}
    if endings == {".parquet"}:
        return ParquetFile
    if endings and endings <= {*ENDINGS, ".json"} and all(map(_is_lines, urls)):
        return JsonLines
    return None


def _ending(url: str) -> str:
    path = Path(url)
    return Path(path.stem).suffix.lower() if _is_compressed(url) else path.suffix.lower()


def _is_compressed(url: str) -> bool:
    return Path(url).suffix.lower() in COMPRESSED


def _is_lines(url: str) -> bool:
    """Whether a file named JSON holds JSON lines; on the Hub, those that are compressed are taken to."""
    if _ending(url) in ENDINGS or _is_compressed(url):
        return True
    from sparsity_lab.reading.texts.json_lines import holds_lines

    return "://" not in url and holds_lines(Path(url))


def _open_url(url: str) -> Any:
    import fsspec  # type: ignore[import-untyped]

    return fsspec.open(url, "rb", block_size=AHEAD_BYTES).open()


def _size(url: str) -> int:
    import fsspec

    system, path = fsspec.core.url_to_fs(url)
    return int(system.size(path) or 0)


def _chosen(split: str | None, splits: Sequence[str], name: DatasetName) -> str:
    """The split asked for, or the only one.

    Raises:
        SparsityLabError: there is no such split, or several and none was named.
    """
    if split is None and len(splits) == 1:
        return splits[0]
    if split is None:
        raise SparsityLabError(
            f"The dataset {name} has several splits: {', '.join(splits)}",
            fix=f"Write --dataset {_with(name, splits[-1] if splits else 'SPLIT')}",
        )
    if split not in splits:
        raise _unknown("split", split, splits, name)
    return split


def _empty(name: DatasetName) -> RunError:
    return RunError(f"The text {name} is empty", fix="Name one with text in it")


def _unknown(kind: str, word: str, known: Sequence[str], name: DatasetName) -> SparsityLabError:
    more = f" and {len(known) - MOST_NAMES:,} more" if len(known) > MOST_NAMES else ""
    return SparsityLabError(
        f"The dataset {name} has no {kind} {word!r}", fix=f"It has {', '.join(known[:MOST_NAMES])}{more}"
    )


def _with(name: DatasetName, split: str) -> str:
    parts = name.parts
    return f"{name.partition(':')[0] if not name.is_local else parts.dataset}:{parts.config or ''}:{split}"


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars of the library's."""
    from datasets.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

    was = is_progress_bar_enabled()
    disable_progress_bar()
    try:
        yield
    finally:
        if was:
            enable_progress_bar()


@contextmanager
def _explained(name: DatasetName) -> Iterator[None]:
    """What the library, its loaders, fsspec and the network raise, as a paragraph."""
    try:
        yield
    except SparsityLabError:
        raise
    except Exception as error:
        from datasets import config
        from huggingface_hub.errors import OfflineModeIsEnabled

        cause: Exception = error
        if config.HF_HUB_OFFLINE and isinstance(error, ConnectionError):
            cause = OfflineModeIsEnabled()
        page = f"datasets/{name.parts.dataset}"
        lines = str(error).strip().splitlines()
        known = f"short names are {', '.join(SHORT_NAMES)}"
        fix = f"Check its name ({known}), its configuration and the network; --offline reads this machine's cache alone"
        if name.is_local:
            fix = "Name a folder that load_dataset takes or save_to_disk wrote, or files with --text"
        called = (
            str(name) if name.startswith(name.parts.dataset) else f"{name}, which is {name.parts.dataset},"
        )
        raise SparsityLabError(
            f"Cannot read the dataset {called}".rstrip(","),
            why=hub.reason(cause) or " ".join(lines[:2]) or type(error).__name__,
            fix=hub.advice(cause, page) or fix,
        ) from error
