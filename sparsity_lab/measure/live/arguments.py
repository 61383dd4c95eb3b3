"""What callers of the Python API hand over: numbers in their ranges, and token ids that a model can read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

import torch

from sparsity_lab import ranges
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.progress import Progress


class Windowing(TypedDict, total=False):
    """How a text is cut, in the keywords of the functions that take one.

    Attributes:
        window: tokens of a window; up to 1,024 by default.
        bos_id: token put in front of each window and not counted.
        batch_size: windows per forward pass; changes speed only.
    """

    window: int | None
    bos_id: int | None
    batch_size: int | None


class Reading(Windowing, total=False):
    """How a live model reads a text, in the keywords of the functions that take both.

    Attributes:
        architecture_file: a file of the user's own for the model's family, executed and used instead of ours.
        progress: where to report.
    """

    architecture_file: Path | None
    progress: Progress


ONE_STREAM = "Give the text's token ids in one row: tokenizer(text, add_special_tokens=False).input_ids"


def check_numbers(**given: object) -> None:
    """Refuse what is not a number, or not in the range of its name, or not whole where it must be; None passes.

    Raises:
        SparsityLabError: one is.
    """
    for name, value in given.items():
        if ranges.range_of(name) is None:
            ranges.check_real(name, value)
        else:
            ranges.check(name, value, flag=name, whole=True)


def check_names(*, criterion: str = "cett", architecture_file: Path | None = None) -> None:
    """Refuse a criterion that is not a name, and a file that is not a path.

    Raises:
        SparsityLabError: one is.
    """
    ranges.check_kind("criterion", criterion, str)
    if architecture_file is not None:
        ranges.check_kind("architecture_file", architecture_file, Path)


def stream_of(ids: Any, *, vocabulary: int, bos_id: int | None) -> torch.Tensor:
    """Token ids as one stream, int64 [tokens], on the CPU; a BOS that they begin with is left to the windows.

    Args:
        ids: whole numbers [tokens] or [1, tokens]: a tensor, an array or a list.
        vocabulary: how many ids the model knows.
        bos_id: token that windows are to begin with, or None.

    Raises:
        SparsityLabError: no whole numbers, several rows, or an id that the model does not know.
    """
    try:
        stream = torch.as_tensor(ids).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise SparsityLabError(
            f"The ids are a {type(ids).__name__} and cannot be read", why=str(error)[:200], fix=ONE_STREAM
        ) from error
    if stream.is_floating_point() or stream.is_complex() or stream.dtype == torch.bool:
        kind = str(stream.dtype).removeprefix("torch.")
        raise SparsityLabError(f"The ids are {kind}, not whole numbers", fix=ONE_STREAM)
    if stream.dim() == 0 or stream.dim() > 2 or (stream.dim() == 2 and len(stream) != 1):
        raise SparsityLabError(
            f"The ids are {list(stream.shape)}, not one stream",
            why="Whether the rows follow one another in a text, or are padded, is not certain",
            fix=f"{ONE_STREAM}; rows that do follow one another: ids.flatten()",
        )
    stream = stream.flatten().to(torch.int64)
    first = torch.tensor([] if bos_id is None else [bos_id], dtype=torch.int64)
    _refuse_unknown(torch.cat([stream, first]), vocabulary)
    return stream[1:] if bos_id is not None and stream[:1].tolist() == [bos_id] else stream


def _refuse_unknown(ids: torch.Tensor, vocabulary: int) -> None:
    strange = ids[(ids < 0) | (ids >= vocabulary)]
    if len(strange):
        raise SparsityLabError(
            f"{len(strange):,} of the ids are not the model's, {int(strange[0])} first",
            why=f"It knows 0 to {vocabulary - 1}; others are of another tokenizer, or mark padding",
            fix=ONE_STREAM,
        )
