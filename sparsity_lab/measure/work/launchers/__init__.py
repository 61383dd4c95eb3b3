"""One file per way of handing groups of cells to processes: on this machine, on a Ray cluster, as SLURM jobs.

A launcher file holds `crew(options)`, a context manager that yields a `dispatch.Crew`, and `OPTIONS`, the names of the
options it accepts. All launchers write the same records into one directory, which every machine must see under the
same path, as it must see checkpoints and texts. If the driver dies, run the same command again.

    inline.py      this process, or several processes of this machine that share its cores
    ray.py         workers of a Ray cluster, or of one started here for the run
    slurm.py       an array of SLURM jobs, submitted by submitit
    _actors.py     for Ray: actors that take one group after another, and their replacement when one dies
    _address.py    for Ray: whether a cluster answers at an address, known within seconds
    _measurer.py   for Ray: what runs inside an actor
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from sparsity_lab import ranges, registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.settings import LaunchSettings


@dataclass(frozen=True)
class Options(LaunchSettings):
    """Options for launchers; each launcher uses its own and refuses the rest.

    Attributes:
        slurm: further parameters of the jobs, as submitit names them; `cluster` is slurm, local or debug.
    The others are those of `LaunchSettings`.
    """

    slurm: Mapping[str, str] = field(default_factory=dict)

    def device(self) -> str:
        """The device of workers elsewhere, where none is asked for."""
        return {0: "cpu", 1: "cuda"}.get(self.task_gpus, "auto")


ALONE = Options()


def check_options(options: Options) -> None:
    """Refuse a launcher that there is not, and options that it does not heed.

    Raises:
        SparsityLabError: an unknown launcher, an option that would do nothing, or a number out of its range.
    """
    ranges.check_fields(options)
    heeded = registry.load("launchers", options.launcher).OPTIONS
    for name in [option.name for option in fields(Options) if option.name not in ("launcher", *heeded)]:
        if getattr(options, name) != getattr(ALONE, name):
            raise SparsityLabError(
                f"{_flag(name)} does nothing with --launcher {options.launcher}",
                fix=f"Leave it out; {options.launcher} heeds {', '.join(map(_flag, sorted(heeded)))}",
            )


def _flag(name: str) -> str:
    return f"--{name.removesuffix('_gb').replace('_', '-')}"
