"""Whether a Ray cluster answers at an address, known in seconds: Ray itself goes on asking for a quarter of an hour."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from pathlib import Path

ANSWER_S = 10.0
_HOST_AND_PORT = re.compile(r"(?:ray://)?\[?(?P<host>[^\[\]/]+?)\]?:(?P<port>\d{1,5})/?")
# Ray speaks gRPC, which is HTTP/2: either side begins with its settings (RFC 9113, 3.4 and 6.5).
_OPENING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_FRAME_BYTES, _TYPE, _SETTINGS = 9, 3, 4


def hindrance(address: str) -> str | None:
    """Why no cluster can be at an address; None where one may be, or where only Ray knows which machine is meant.

    Args:
        address: HOST:PORT, ray://HOST:PORT, or `auto` and what else Ray takes; `auto` means `RAY_ADDRESS`, or
            the cluster that was last started on this machine, which may have died without leaving word.
    """
    named = os.environ.get("RAY_ADDRESS") or _last_started() if address == "auto" else address
    found = _HOST_AND_PORT.fullmatch(named)
    if found is None:
        return None
    try:
        with socket.create_connection((found["host"], int(found["port"])), timeout=ANSWER_S) as stream:
            return None if _encrypted() or _speaks_http2(stream) else "What listens there is not Ray"
    except TimeoutError:
        return f"Nothing answers there within {ANSWER_S:g} seconds"
    except (OSError, OverflowError, UnicodeError) as error:
        return getattr(error, "strerror", None) or str(error)


def _last_started() -> str:
    """The address that `ray start` wrote where Ray looks for it; empty where there is none."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    with contextlib.suppress(OSError):
        return (Path(folder) / "ray" / "ray_current_cluster").read_text(encoding="utf-8").strip()
    return ""


def _encrypted() -> bool:
    """Whether Ray's own setting says that its servers speak TLS, which begins otherwise."""
    return os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")


def _speaks_http2(stream: socket.socket) -> bool:
    stream.sendall(_OPENING)
    answer = b""
    while len(answer) < _FRAME_BYTES and (more := stream.recv(_FRAME_BYTES - len(answer))):
        answer += more
    return len(answer) == _FRAME_BYTES and answer[_TYPE] == _SETTINGS
