"""One cell in parts: each is a stretch of whole windows, measured by itself, and their counts add up to the cell's.

Only where nothing is calibrated on the text: thresholds of a record, or a fixed knob of a criterion whose `KNOB` says
that it calibrates nothing. A part holds the dense and the sparse run over its windows; merged, they are what one pass
over the whole text would have counted, and the cell's record is made of them as it always is. Parts begin where a
batch begins, so that not even the last digit of a loss depends on how many there are.

Until its cell has a record, a part is stored next to the records as `<key>.part-<n>of<count>.arrays`: a SHA-256, which
shows damage, then safetensors. If a part is missing, the process that merges measures the whole text itself.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.criteria import Bound
from sparsity_lab.measure.criteria._by_threshold import Given
from sparsity_lab.measure.criteria._tally import Tally, dense_run
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.search.counts import Counts, DenseSums
from sparsity_lab.measure.search.part import Part, WindowSpan
from sparsity_lab.measure.search.settings import Setting
from sparsity_lab.measure.thresholds.masks import sparse_pass
from sparsity_lab.store import records
from sparsity_lab.store.arrays import packed, unpacked

SUFFIX = ".arrays"


def check_shards(setting: Setting, *, criterion: str, compat: str | None) -> None:
    """Refuse to split a text that as a whole decides what is dropped.

    Raises:
        SparsityLabError: a search, a criterion that is calibrated on the text, or a reproduced algorithm.
    """
    text_free = setting.calibration is not None or (setting.rule == "fixed" and _is_free(criterion))
    if compat is not None or not text_free:
        free = [name for name in registry.names("criteria") if _is_free(name)]
        raise SparsityLabError(
            "--text-shards needs a setting in which each part of the text can be measured by itself",
            why="Here thresholds are found on the whole of it",
            fix=f"Give --thresholds of a record, or a --knob of {', '.join(free)}; or leave --text-shards out",
        )


def spans(windows: int, *, shards: int, batch: int) -> list[WindowSpan]:
    """Stretches of windows, as equal as whole batches allow; fewer than `shards` where there are fewer batches.

    Args:
        windows: of the text.
        shards: how many are wanted.
        batch: windows of a forward pass.
    """
    batches = -(-windows // batch)
    count = min(shards, batches)
    edges = [min(batches * number // count * batch, windows) for number in range(count + 1)]
    return [WindowSpan(n + 1, count, edges[n], edges[n + 1]) for n in range(count)]


def measure_part(subject: Subject, setting: Setting, span: WindowSpan, *, criterion: str, seed: int) -> Part:
    """Both runs over the windows of a span."""
    begun, tally = subject.forward_tokens, Tally(subject)
    rule, knob = bound(subject, setting, criterion=criterion, seed=seed)
    label = f"part {span.number} of {span.count}"
    dense = dense_run(subject, span.rows, tally, label=f"{label}, dense")
    sparse = sparse_pass(subject, span.rows, visitor=rule.visitor(knob), label=f"{label}, sparse")
    return Part(dense, sparse, tally.sums, subject.forward_tokens - begun)


def bound(subject: Subject, setting: Setting, *, criterion: str, seed: int) -> tuple[Bound, float]:
    """The rule of a setting without a search, and its knob."""
    if setting.calibration is not None:
        knob = setting.calibration.knob
        return Given(subject, calibration=setting.calibration), 0.0 if knob is None else knob
    assert setting.knob is not None, "checked before"
    rule: Bound = registry.load("criteria", criterion).bind(subject, seed=seed)
    return rule, setting.knob


def write_part(folder: Path, name: str, part: Part, *, span: WindowSpan) -> None:
    """Write a part, its own windows alone.

    Raises:
        SparsityLabError: the disk fails.
    """
    arrays = {"forward_tokens": np.array(part.forward_tokens)}
    for kind in ("dense", "sparse", "sums"):
        counted = getattr(part, kind)
        for one in fields(counted):
            arrays[f"{kind}.{one.name}"] = getattr(counted, one.name)[span.start : span.stop]
    data = packed(arrays)
    records.write_bytes(folder / f"{name}{SUFFIX}", hashlib.sha256(data).digest() + data)


def has_part(folder: Path, name: str) -> bool:
    """Whether a part lies there."""
    return (folder / f"{name}{SUFFIX}").exists()


def read_parts(folder: Path, key: str, found: Sequence[WindowSpan]) -> Part | None:
    """The parts of a cell merged; None where one is missing or damaged, and a damaged one is removed."""
    merged: Part | None = None
    for span in found:
        path = folder / f"{span.name(key)}{SUFFIX}"
        try:
            part = _read(path, span, windows=found[-1].stop)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError):
            path.unlink(missing_ok=True)
            return None
        merged = part if merged is None else merged + part
    return merged


def remove_parts(folder: Path, key: str) -> None:
    """Remove the parts of a cell that has its record."""
    for path in folder.glob(f"{key}.part-*{SUFFIX}"):
        with contextlib.suppress(OSError):
            path.unlink()


def _read(path: Path, span: WindowSpan, *, windows: int) -> Part:
    """A part of a text of so many windows, zeros where it has none; a ValueError where it is damaged."""
    found = path.read_bytes()
    digest, data = found[: hashlib.sha256().digest_size], found[hashlib.sha256().digest_size :]
    if hashlib.sha256(data).digest() != digest:
        raise ValueError(f"{path} is not what was written")
    arrays = unpacked(data)

    def whole(name: str) -> np.ndarray:
        own = arrays[name]
        spread = np.zeros((windows, *own.shape[1:]), own.dtype)
        spread[span.start : span.stop] = own
        return spread

    kinds = {"dense": Counts, "sparse": Counts, "sums": DenseSums}
    read = {
        kind: made(*(whole(f"{kind}.{one.name}") for one in fields(made))) for kind, made in kinds.items()
    }
    return Part(**read, forward_tokens=arrays["forward_tokens"].item())


def _is_free(criterion: str) -> bool:
    return bool(registry.load("criteria", criterion).KNOB.calibrates == "nothing")
