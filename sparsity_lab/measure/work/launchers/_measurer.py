"""What runs in a worker's process on a Ray cluster. Light until it is made, so that it says how torch is imported."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.machine.collecting import spare_imports

if TYPE_CHECKING:
    from sparsity_lab.measure.work.dispatch import Task, WorkOutcome


class Measurer:
    """One worker's process.

    Args:
        threads: of the forward pass.
    """

    def __init__(self, threads: int) -> None:
        spare_imports()
        import transformers.modeling_utils  # noqa: F401  most of what a model's class imports

        import sparsity_lab.measure.work.dispatch  # noqa: F401

        self.threads = threads
        # While an actor waits for room, Ray has every process search for garbage each ten seconds: a third of a
        # second each in these modules, which no model is among yet.
        gc.freeze()

    def ready(self) -> None:
        """Nothing; its answer says that the process stands."""

    def perform(self, task: Task) -> WorkOutcome | SparsityLabError:
        """See `dispatch.perform_with`."""
        from sparsity_lab.measure.work.dispatch import perform_with

        return perform_with(task, threads=self.threads)
