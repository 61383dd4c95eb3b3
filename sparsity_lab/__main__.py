"""The program: `sparsity-lab`, and `python -m sparsity_lab`.

Worker processes import this module again, so the commands are imported where they run.
"""

import gc

from sparsity_lab.cli.console import streams
from sparsity_lab.machine import signals

SEARCH_EVERY = 10_000  # objects made; importing torch and transformers makes millions, and next to no garbage


def program() -> None:
    """The command line, and then the end of the process."""
    streams.settle()
    signals.run(_run)


def _run() -> None:
    gc.set_threshold(SEARCH_EVERY)

    from sparsity_lab.cli.main import main

    main()


if __name__ == "__main__":
    program()
