"""As an array of SLURM jobs, submitted by submitit: each works through its share of the groups of cells.

Jobs go on when the driver dies; the same command then waits for what they measure, by their claims, and submits the
rest. A job that is preempted or runs out of time is queued again and goes on where it was.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsity_lab import extras
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.work.cells import Desk
from sparsity_lab.measure.work.dispatch import Crew, Group, Task, WorkOutcome, perform_with
from sparsity_lab.measure.work.launchers import Options

logger = logging.getLogger(__name__)

OPTIONS = ("jobs", "task_cpus", "task_gpus", "task_memory_gb", "retries", "slurm")
LOOK_S = {"slurm": 10.0, "local": 0.5, "debug": 0.0}
GENERIC = (
    "timeout_min",
    "mem_gb",
    "nodes",
    "name",
    "stderr_to_stdout",
)  # submitit's, for every kind of cluster
DAY_MIN = 24 * 60


@contextmanager
def crew(options: Options) -> Iterator[Crew]:
    """The jobs of an array.

    Raises:
        SparsityLabError: submitit is not installed.
    """
    extras.require(*extras.LAUNCHERS["slurm"], who="--launcher slurm")
    import submitit

    yield Array(submitit, options)


@dataclass(frozen=True)
class Share:
    """The tasks of one job.

    Attributes:
        tasks: in order.
        threads: of the job's process.
    """

    tasks: tuple[Task, ...]
    threads: int

    def __call__(self) -> WorkOutcome | SparsityLabError:
        """Measure them one after the other; an error that is to end the run."""
        share = WorkOutcome()
        for task in self.tasks:
            outcome = perform_with(task, threads=self.threads)
            if isinstance(outcome, SparsityLabError):
                return outcome
            share |= outcome
        return share

    def checkpoint(self) -> Any:
        """What submitit queues when the job is preempted: the same again, for records are kept."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class Array:
    """Jobs of an array.

    Args:
        submitit: the module.
        options: the needs of a job.
    """

    def __init__(self, submitit: Any, options: Options) -> None:
        self.submitit, self.options = submitit, options
        self.device, self.alone = options.device(), False
        self.cluster = options.slurm.get("cluster", "slurm")
        self.failures = 0

    def perform(self, desk: Desk, groups: Sequence[Group]) -> Iterator[WorkOutcome]:
        """See `dispatch.Crew`."""
        tasks = [Task.of(desk, group) for group in groups]
        count = min(self.options.jobs, len(tasks))
        shares = [Share(tuple(tasks[start::count]), self.options.task_cpus) for start in range(count)]
        jobs = self._submit(shares, folder=desk.terms.folder.parent / "slurm")
        left = {open_cell.whole for group in groups for open_cell in group}

        def written(key: str) -> bool:
            return (desk.terms.folder / f"{key}.json").exists()

        while jobs:
            ended = [job for job in jobs if job.done()]
            made = frozenset() if desk.terms.again else frozenset(filter(written, left))
            left -= made
            yield WorkOutcome(made)
            for job in ended:
                yield self._look(job)
            jobs = [job for job in jobs if job not in ended]
            if jobs:
                time.sleep(LOOK_S.get(self.cluster, LOOK_S["slurm"]))

    def _submit(self, shares: Sequence[Share], *, folder: Path) -> list[Any]:
        try:
            executor = self.submitit.AutoExecutor(folder=folder, cluster=self.cluster)
            executor.update_parameters(**parameters(self.options))
            with executor.batch():  # one array
                return [executor.submit(share) for share in shares]
        except (RuntimeError, ValueError, NameError, AssertionError, OSError) as error:
            raise SparsityLabError(
                f"The jobs cannot be submitted to {self.cluster}", why=str(error).strip().split("\n")[0],
                fix="Run where `sbatch` is, and give --slurm the names that submitit knows",
            ) from error  # fmt: skip

    def _look(self, job: Any) -> WorkOutcome:
        """How a job ended; one that was lost leaves cells open, which are submitted again."""
        try:
            found = job.result()
        except self.submitit.core.utils.UncompletedJobError as error:
            self.failures += 1
            if self.failures > self.options.retries:
                raise SparsityLabError(
                    f"The job {job.job_id} was lost, and {self.options.retries} before it",
                    why=str(error).strip().split("\n")[0],
                    fix=f"Records written stay: see {job.paths.folder}, then run the same command again",
                ) from error
            logger.warning("the job %s was lost: its cells are submitted again", job.job_id)
            return WorkOutcome()
        if isinstance(found, SparsityLabError):
            raise found
        return found


def parameters(options: Options) -> dict[str, Any]:
    """Job parameters for submitit; names it knows only as SLURM's get their prefix."""
    own = {
        key if key in GENERIC or key.startswith("slurm_") else f"slurm_{key}": int(word)
        if word.isdigit()
        else word
        for key, word in options.slurm.items()
        if key != "cluster"
    }
    needs: dict[str, Any] = {
        "name": "sparsity-lab", "cpus_per_task": options.task_cpus, "timeout_min": DAY_MIN,
    }  # fmt: skip
    if options.task_gpus:
        needs["gpus_per_node"] = options.task_gpus
    if options.task_memory_gb is not None:
        needs["mem_gb"] = options.task_memory_gb
    return {**needs, "slurm_array_parallelism": options.jobs, **own}
