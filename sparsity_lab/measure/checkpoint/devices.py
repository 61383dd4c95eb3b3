"""Which device a model runs on and in which dtype: as requested, or chosen, with the reason reported."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import torch

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.labels import counted
from sparsity_lab.registry import unknown

logger = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(wanted: str) -> str:
    """A torch device for `auto`: the GPU where there is one, all of them where there are several.

    Raises:
        SparsityLabError: no torch device of that name, or a CUDA device that is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        chosen = "cpu" if count == 0 else "cuda" if count == 1 else "auto"
        _say_once(
            f"device {'all GPUs' if chosen == 'auto' else chosen}: {counted(count, 'CUDA device')} found"
        )
        return chosen
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise SparsityLabError(
            f"There is no torch device {wanted!r}", fix="Use cpu, cuda, cuda:1 or auto"
        ) from error
    if device.type == "cuda" and (device.index or 0) >= count:
        raise SparsityLabError(
            f"There is no device {wanted}: {counted(count, 'CUDA device')} found",
            fix="Use --device cpu or auto",
        )
    try:  # mps, xpu and meta are torch devices everywhere, usable only where they are
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        why = str(error).strip().split("\n")[0]
        raise SparsityLabError(
            f"The device {wanted} cannot be used here", why=why, fix="Use --device cpu or auto"
        ) from error
    return wanted


def check_dtype(wanted: str) -> None:
    """Refuse a dtype that weights are not loaded in.

    Raises:
        SparsityLabError: neither `auto` nor one of ours.
    """
    if wanted != "auto" and wanted not in DTYPES:
        raise unknown(wanted, kind="--dtype", known=["auto", *DTYPES])


def choose_dtype(wanted: str, *, config: Any, device: str) -> tuple[torch.dtype, str]:
    """The dtype and the reason for it.

    `auto` is float32 on CPU (bfloat16 products are slow there) and the stored dtype on a GPU.

    Raises:
        SparsityLabError: none of ours.
    """
    check_dtype(wanted)
    if wanted != "auto":
        return DTYPES[wanted], "as asked"
    stored = getattr(config, "dtype", None)
    stored = DTYPES.get(stored) if isinstance(stored, str) else stored
    if device == "cpu" or stored is None:
        chosen, reason = (
            torch.float32,
            "the CPU is exact and no slower in it" if device == "cpu" else "none stored",
        )
    else:
        chosen, reason = stored, "the weights are stored in it"
    _say_once(f"dtype {str(chosen).removeprefix('torch.')}: {reason}")
    return chosen, reason


@cache
def _say_once(choice: str) -> None:
    """Tell an automatic choice and its reason, once for all checkpoints it holds for."""
    logger.info("%s", choice)
