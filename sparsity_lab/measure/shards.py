"""One cell in parts: each is a stretch of whole windows, measured by itself, and their counts add up to the cell's.

Only where nothing is calibrated on the text: thresholds of a record, or a fixed knob of a criterion that says
`TEXT_FREE`. A part holds the dense and the sparse run over its windows; merged, they are what one pass over the whole
text would have counted, and the cell's record is made of them as it always is. Parts begin where a batch begins, so
that not even the last digit of a loss depends on how many there are.

A part lies beside the records as `<key>.part-<n>of<count>.arrays` until its cell has its record: a SHA-256, which shows
damage, then safetensors. Whoever merges measures the whole text himself where a part is not to be had.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import load, save
from torch import Tensor

from sparsity_lab import records, registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.counts import Counts, DenseSums, Ints
from sparsity_lab.measure.criteria import Bound
from sparsity_lab.measure.criteria._by_threshold import Given
from sparsity_lab.measure.criteria._tally import Tally, dense_run
from sparsity_lab.measure.sparse import CountingVisitor, sparse_pass
from sparsity_lab.measure.subject import Subject

if TYPE_CHECKING:
    from sparsity_lab.measure.settings import Setting


SUFFIX = ".arrays"


@dataclass(frozen=True)
class Span:
    """Which windows a part is of.

    Attributes:
        number, count: it is part `number` of `count`, from 1.
        start, stop: its windows, the last one not among them.
    """

    number: int
    count: int
    start: int
    stop: int

    def name(self, key: str) -> str:
        """What the part of a cell is called, in claims and on disk."""
        return f"{key}.part-{self.number}of{self.count}"

    @property
    def rows(self) -> Ints:
        """Indices of its windows."""
        return np.arange(self.start, self.stop)


@dataclass(frozen=True)
class Part:
    """What was counted over some windows; `a + b` merges two.

    Attributes:
        dense, sparse: counts of both runs.
        sums: zeros of the dense run.
        forward_tokens: tokens passed through the model.
    """

    dense: Counts
    sparse: Counts
    sums: DenseSums
    forward_tokens: int

    def __add__(self, other: Part) -> Part:
        return Part(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Part)))


class Merged:
    """A rule whose dense run was made before, in parts."""

    def __init__(self, rule: Bound, part: Part) -> None:
        self.rule, self.part = rule, part

    def pilot(self, rows: Ints) -> Counts:
        """The dense losses, of the whole text: they are there already."""
        return self.part.dense

    def calibrate(self, knobs: tuple[float, float]) -> Counts:
        """The dense losses."""
        return self.part.dense

    def refine(self, knob: float) -> None:
        """Nothing to refine."""

    def sums(self) -> DenseSums:
        """Zeros of the dense run."""
        return self.part.sums

    def covers(self, knob: float) -> bool:
        """Any knob."""
        return True

    def doubtful(self, knob: float) -> bool:
        """Nothing was interpolated."""
        return False

    def visitor(self, knob: float) -> CountingVisitor:
        """The rule's own."""
        return self.rule.visitor(knob)

    def thresholds(self, knob: float) -> list[float] | None:
        """The rule's own."""
        return self.rule.thresholds(knob)

    def score_weights(self) -> list[Tensor] | None:
        """The rule's own."""
        return self.rule.score_weights()


def check_shards(setting: Setting, *, criterion: str, compat: str | None) -> None:
    """Refuse to split a text that as a whole decides what is dropped.

    Raises:
        SparsityLabError: a search, a criterion that is calibrated on the text, or a reproduced algorithm.
    """
    text_free = setting.calibration is not None or (
        setting.rule == "fixed" and getattr(registry.load("criteria", criterion), "TEXT_FREE", False)
    )
    if compat is not None or not text_free:
        free = [name for name in registry.names("criteria") if _is_free(name)]
        raise SparsityLabError(
            "--text-shards needs a setting in which each part of the text can be measured by itself",
            why="Here thresholds are found on the whole of it",
            fix=f"Give --thresholds of a record, or a --knob of {', '.join(free)}; or leave --text-shards out",
        )


def spans(windows: int, *, shards: int, batch: int) -> list[Span]:
    """Stretches of windows, as equal as whole batches allow; fewer than `shards` where there are fewer batches.

    Args:
        windows: of the text.
        shards: how many are wanted.
        batch: windows of a forward pass.
    """
    batches = -(-windows // batch)
    count = min(shards, batches)
    edges = [min(batches * number // count * batch, windows) for number in range(count + 1)]
    return [Span(n + 1, count, edges[n], edges[n + 1]) for n in range(count)]


def measure_part(subject: Subject, setting: Setting, span: Span, *, criterion: str, seed: int) -> Part:
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


def write_part(folder: Path, name: str, part: Part, *, span: Span) -> None:
    """Write a part, its own windows alone.

    Raises:
        SparsityLabError: the disk fails.
    """
    arrays = {"forward_tokens": np.array(part.forward_tokens)}
    for kind in ("dense", "sparse", "sums"):
        counted = getattr(part, kind)
        for one in fields(counted):
            arrays[f"{kind}.{one.name}"] = getattr(counted, one.name)[span.start : span.stop]
    data = save({name: np.ascontiguousarray(values) for name, values in arrays.items()})
    records.write_bytes(folder / f"{name}{SUFFIX}", hashlib.sha256(data).digest() + data)


def has_part(folder: Path, name: str) -> bool:
    """Whether a part lies there."""
    return (folder / f"{name}{SUFFIX}").exists()


def read_parts(folder: Path, key: str, found: Sequence[Span]) -> Part | None:
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


def _read(path: Path, span: Span, *, windows: int) -> Part:
    """A part of a text of so many windows, zeros where it has none; a ValueError where it is damaged."""
    found = path.read_bytes()
    digest, data = found[: hashlib.sha256().digest_size], found[hashlib.sha256().digest_size :]
    if hashlib.sha256(data).digest() != digest:
        raise ValueError(f"{path} is not what was written")
    arrays = load(data)

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
    return getattr(registry.load("criteria", criterion), "TEXT_FREE", False)
