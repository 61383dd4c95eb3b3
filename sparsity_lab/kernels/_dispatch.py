"""One choice between the torch reference and the Triton kernel, made for every kernel in the same way.

`auto` takes Triton where it can run and pays: a CUDA tensor with `triton` importable. On a CPU tensor it
takes torch. `triton` on a CPU tensor runs only under Triton's interpreter (`TRITON_INTERPRET=1`), which is
how the kernels are tested without a GPU. Each choice and its reason is logged once per process.
"""

from __future__ import annotations

import atexit
import importlib.util
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError

BACKENDS = ("auto", "torch", "triton")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_log = logging.getLogger(__name__)


def resolve(kernel: str, backend: str, tensor: Tensor) -> Literal["torch", "triton"]:
    """Which implementation runs on `tensor`; the reason is logged once for each kernel and outcome.

    Raises:
        SparsityLabError: the backend is unknown, or `triton` was asked for where it cannot run.
    """
    if backend not in BACKENDS:
        raise registry.unknown(backend, kind="kernel backend", known=list(BACKENDS))
    if backend == "triton" and (hindrance := triton_hindrance(tensor.device)):
        raise SparsityLabError(
            f"The Triton kernel {kernel} cannot run on {tensor.device}",
            why=hindrance,
            fix="Take backend='torch', or 'auto' to have it chosen",
        )
    chosen, reason = _choice(backend, tensor.device)
    if chosen == "triton" and not interpreted():
        keep_compiled()
    _say_once(kernel, chosen, reason)
    return chosen


def triton_hindrance(device: torch.device) -> str:
    """Why Triton cannot run on `device`; empty where it can."""
    if not _triton_importable():
        return "triton is not installed (it is published for Linux only)"
    if device.type == "cuda" or interpreted():
        return ""
    return f"{device.type} tensors run only under Triton's interpreter, TRITON_INTERPRET=1"


def on_device(tensor: Tensor) -> AbstractContextManager[object]:
    """Launches inside go to the tensor's own CUDA device; nothing to do on a CPU."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


@contextmanager
def full_fp32_matmul() -> Iterator[None]:
    """Products of fp32 matrices keep fp32 inside, whatever the process allows elsewhere (TF32, bf16)."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def tokens_by_neurons(kernel: str, name: str, tensor: Tensor) -> Tensor:
    """`tensor` viewed as [tokens, F], its leading dimensions flattened.

    Raises:
        SparsityLabError: no dimension, or a dtype other than fp32, bf16, fp16.
    """
    if tensor.dtype not in DTYPES:
        raise SparsityLabError(f"{kernel}: {name} is {tensor.dtype}", fix="Give float32, bfloat16 or float16")
    if tensor.dim() < 1:
        raise SparsityLabError(f"{kernel}: {name} has no dimension", fix="Give [tokens, neurons]")
    return tensor if tensor.dim() == 2 else tensor.reshape(-1, tensor.shape[-1])


def expect_shape(kernel: str, name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse a tensor of another shape.

    Raises:
        SparsityLabError: names the argument, its shape and the one expected.
    """
    if tuple(tensor.shape) != shape:
        raise SparsityLabError(
            f"{kernel}: {name} has shape {list(tensor.shape)}, expected {list(shape)}",
            fix=f"Take {name} from the layer that the activations are of",
        )


def fp32_vector(kernel: str, name: str, values: Tensor, *, like: Tensor) -> Tensor:
    """`values` as a contiguous fp32 vector on the device of `like`.

    Raises:
        SparsityLabError: more or fewer dimensions than one.
    """
    if values.dim() != 1:
        raise SparsityLabError(
            f"{kernel}: {name} has shape {list(values.shape)}, expected a vector",
            fix=f"Flatten {name} to one dimension",
        )
    return values.to(device=like.device, dtype=torch.float32).contiguous()


def _choice(backend: str, device: torch.device) -> tuple[Literal["torch", "triton"], str]:
    if backend == "triton":
        return "triton", "asked for"
    if backend == "torch":
        return "torch", "asked for"
    if device.type == "cuda":
        hindrance = triton_hindrance(device)
        return ("torch", hindrance) if hindrance else ("triton", "CUDA tensors and triton is installed")
    return "torch", f"{device.type} tensors"


@cache
def keep_compiled() -> None:
    """Give Triton a temporary folder for what it compiles, where its own cannot be written."""
    folder = Path(os.environ.get("TRITON_CACHE_DIR") or os.path.expanduser("~/.triton/cache"))
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        temporary = tempfile.TemporaryDirectory(prefix="triton-")
        atexit.register(temporary.cleanup)
        os.environ["TRITON_CACHE_DIR"] = temporary.name
        _log.info("Triton cannot write to %s: it compiles for this run alone, set TRITON_CACHE_DIR.", folder)


@cache
def _say_once(kernel: str, chosen: str, reason: str) -> None:
    _log.info("Kernel %s runs in %s: %s.", kernel, chosen, reason)


@cache
def _triton_importable() -> bool:
    return importlib.util.find_spec("triton") is not None


def interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes", "y")
