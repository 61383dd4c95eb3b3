"""The end of the program: all that is buffered is written, then the process is gone.

Once torch and transformers are imported, Python takes their modules apart for more than a second before it ends.
Nobody waits for that memory: the system takes it back whole.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from types import NoneType
from typing import NoReturn


def leave(code: object) -> NoReturn:
    """End the process with an exit code as `sys.exit` takes it.

    What was registered to run at the end runs. Where threads still work, or a stream cannot be flushed, Python
    ends in its own way.
    """
    ours = threading.main_thread()
    at_work = any(one is not ours and not one.daemon for one in threading.enumerate())
    if at_work or not isinstance(code, (int, NoneType)):
        sys.exit(code)  # type: ignore[arg-type]
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):
        sys.exit(code)
    os._exit((code or 0) & 0xFF)
