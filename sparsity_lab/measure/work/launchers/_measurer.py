"""What runs in a worker's process on a Ray cluster. Light until it is made, so that it says how torch is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsity_lab.errors import SparsityLabError

if TYPE_CHECKING:
    from sparsity_lab.measure.work.dispatch import Task, WorkOutcome


class Measurer:
    """One worker's process.

    Args:
        threads: of the forward pass.
    """

    def __init__(self, threads: int) -> None:
        import transformers.modeling_utils  # noqa: F401  most of what a model's class imports

        import sparsity_lab.measure.work.dispatch  # noqa: F401

        self.threads = threads

    def ready(self) -> None:
        """Do nothing; the answer shows that the process is running."""

    def perform(self, task: Task) -> WorkOutcome | SparsityLabError:
        """See `dispatch.perform_with`."""
        from sparsity_lab.measure.work.dispatch import perform_with

        return perform_with(task, threads=self.threads)
