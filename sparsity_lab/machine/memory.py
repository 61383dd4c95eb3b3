"""Memory of this process, as the system counts it."""

from __future__ import annotations

import sys
from pathlib import Path


def resident_bytes() -> tuple[int, int]:
    """Memory of this process now and at its most; both the most where only that is known (no Linux)."""
    try:
        return status_bytes("VmRSS"), status_bytes("VmHWM")
    except OSError:
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return most, most


def status_bytes(name: str) -> int:
    """One line of Linux's account of this process, such as VmRSS, in bytes; OSError where there is no Linux."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
