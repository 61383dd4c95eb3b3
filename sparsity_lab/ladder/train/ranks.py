"""Which process of a torchrun launch this is, known before any process group is made."""

from __future__ import annotations

import time
from pathlib import Path

from sparsity_lab.machine.environment import whole_number


def is_main() -> bool:
    """Whether this process writes what all ranks share; true outside torchrun."""
    return not whole_number("RANK", least=0)


def world_size() -> int | None:
    """Processes of a torchrun launch, or None outside one."""
    return whole_number("WORLD_SIZE", least=1)


def wait_for(path: Path, *, seconds_between: float = 0.5) -> None:
    """Wait until the main process has written a file.

    Tokenizing can outlast the time-out of a collective, so ranks watch the disk they share instead. If the
    main process fails, torchrun ends the others.
    """
    while not path.exists():
        time.sleep(seconds_between)
