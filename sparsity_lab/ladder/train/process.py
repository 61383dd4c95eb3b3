"""What a process that trains asks of its machine: all its cores, and memory that stays once it is there.

A training step frees some hundred megabytes of activations and wants them again a moment later. glibc hands the
free end of its heap back to the system in between, and each page that comes back is cleared again: on two cores a
fifth of the time of a step of 0.2M parameters.
"""

from __future__ import annotations

import contextlib
import ctypes
import os

from sparsity_lab.machine.cores import available_cores
from sparsity_lab.machine.environment import threads_asked

# Parameters of glibc's mallopt(3), and the most that it takes for each.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_MOST_TRIM, _MOST_MMAP = 2**31 - 1, 2**25
_USERS_OWN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")


def prepare_process() -> int:
    """Give torch the cores this process may use, and on a CPU keep the memory that a step frees for the next one.

    What `OMP_NUM_THREADS` and glibc's own environment variables say is left as it is.

    Returns:
        The threads torch uses.
    """
    import torch

    torch.set_num_threads(threads_asked() or available_cores())
    if not torch.cuda.is_available() and not any(name in os.environ for name in _USERS_OWN):
        _keep_freed_memory()
    return torch.get_num_threads()


def _keep_freed_memory() -> None:
    """Tell the C library not to return its heap's free end; blocks above 32 MiB still come and go by themselves."""
    with contextlib.suppress(AttributeError, OSError):  # a C library without mallopt
        libc = ctypes.CDLL(None)
        libc.mallopt(_TRIM_THRESHOLD, _MOST_TRIM)
        libc.mallopt(_MMAP_THRESHOLD, _MOST_MMAP)
