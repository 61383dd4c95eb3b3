"""One file per way of handing groups of cells to processes: here, on a Ray cluster, as SLURM jobs.

A launcher file holds `crew(options)`, a context manager that yields a `tasks.Crew`, and `OPTIONS`, the names of
the options it heeds. All write the same records into the same directory, and a driver that dies comes back by
running the same command.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """What a launcher may be told; each heeds its own part.

    Attributes:
        jobs: processes at a time on this machine; 1 for this process alone.
    """

    jobs: int = 1


ALONE = Options()
