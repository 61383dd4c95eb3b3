"""How many cores this process may use: the cores it may run on, less what a container's quota leaves of them.

A container is often given all cores of its host and a quota of their time. A thread a core then spends the
quota early and is idle for the rest of each period. cgroup v2 keeps it in `cpu.max` ("200000 100000":
two cores' worth), v1 in `cpu.cfs_quota_us` and `cpu.cfs_period_us`; every group above this one counts too.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def available_cores(*, cgroups: Path = CGROUPS, own: Path = OWN) -> int:
    """Cores this process may use, at least 1.

    Args:
        cgroups: where the cgroup file systems are mounted.
        own: the file that names this process's groups.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _groups(cgroups, own) if (quota := _quota(folder)) is not None]
    return max(1, min([allowed, *(math.ceil(quota) for quota in quotas)]))


def _groups(cgroups: Path, own: Path) -> Iterator[Path]:
    """This process's groups and all above them, of v2 and of v1's cpu controller."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    yield cgroups  # inside a container the group of the container is mounted as the root
    yield cgroups / "cpu"
    for line in lines:
        _, controllers, path = line.split(":", 2) if line.count(":") >= 2 else ("", "", "/")
        root = cgroups if not controllers else cgroups / "cpu" if "cpu" in controllers.split(",") else None
        parts = Path(path.lstrip("/")).parts
        if root is not None and ".." not in parts:
            yield from (root.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1))


def _quota(folder: Path) -> float | None:
    """Cores' worth of time in a period, or None where the group sets none."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()[:2]
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="utf-8")
            period = (folder / "cpu.cfs_period_us").read_text(encoding="utf-8")
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # "max", or no such controller
        return None
