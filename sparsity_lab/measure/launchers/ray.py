"""On a Ray cluster: one that runs already, or one on this machine that starts and stops with us.

Each group of cells is a task with its needs in cores, GPUs and memory. Ray begins a task again where its worker or
node died, and hands tasks to nodes that join later. Cells whose claim a lost machine left behind are handed out
anew when the claim has run out.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.cells import Bench
from sparsity_lab.measure.launchers import Options
from sparsity_lab.measure.tasks import Crew, Group, Outcome, Task, perform_with

logger = logging.getLogger(__name__)

OPTIONS = ("jobs", "address", "task_cpus", "task_gpus", "task_memory_gb", "retries")
# What workers elsewhere must have of our environment; no token is among it, for a cluster shows it to its users.
PASSED_ON = ("HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
PATIENCE_S = 30.0


@contextmanager
def crew(options: Options) -> Iterator[Crew]:
    """The tasks of a cluster.

    Raises:
        SparsityLabError: Ray is not installed, or there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    try:
        import ray
    except ImportError as error:
        raise SparsityLabError(
            "--launcher ray needs Ray", fix="Install it: pip install 'sparsity-lab[measure,cluster]'"
        ) from error
    ours = not ray.is_initialized()
    if ours:
        _join(ray, options)
    try:
        yield Cluster(ray, options)
    finally:
        if ours:
            ray.shutdown()


def _join(ray: Any, options: Options) -> None:
    told = logging.getLogger("sparsity_lab").level < logging.ERROR
    common = {"logging_level": logging.ERROR, "log_to_driver": told, "runtime_env": _environment()}
    if options.address is None:
        cores, gpus = options.jobs * options.task_cpus, options.jobs * options.task_gpus
        ray.init(address="local", num_cpus=cores, num_gpus=gpus, include_dashboard=False, **common)
        return
    try:
        ray.init(address=options.address, **common)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise SparsityLabError(
            f"There is no Ray cluster at the address {options.address}",
            why=str(error).strip().split("\n")[0],
            fix="Start one with `ray start --head`, or leave --address out for one on this machine",
        ) from error


def _environment() -> dict[str, Any]:
    """What every worker's environment is to hold."""
    named = {key: os.environ[key] for key in PASSED_ON if key in os.environ}
    return {"env_vars": named} if named else {}


class Cluster:
    """Tasks on a cluster.

    Args:
        ray: the module.
        options: the needs of a task.
    """

    def __init__(self, ray: Any, options: Options) -> None:
        self.ray, self.device = ray, options.device()
        self.needs = {"CPU": options.task_cpus, "GPU": options.task_gpus}
        memory = options.task_memory_gb
        self.remote = ray.remote(perform_with).options(
            num_cpus=options.task_cpus,
            num_gpus=options.task_gpus,
            memory=None if memory is None else int(memory * 1e9),
            max_retries=options.retries,
            scheduling_strategy="SPREAD",
            name="measure",
        )
        self.threads, self.told = options.task_cpus, False

    def perform(self, bench: Bench, groups: Sequence[Group]) -> Iterator[Outcome]:
        """See `tasks.Crew`."""
        running = [self.remote.remote(Task.of(bench, group), threads=self.threads) for group in groups]
        try:
            while running:
                done, running = self._wait(running)
                for one in done:
                    yield self._result(one)
        except BaseException:
            for one in running:
                self.ray.cancel(one)
            raise

    def _wait(self, running: list[Any]) -> tuple[list[Any], list[Any]]:
        done, left = self.ray.wait(running, num_returns=1, timeout=PATIENCE_S)
        if not done and not self.told and not self._has_room():
            self.told = True
            logger.warning("no node of the cluster has %s: waiting for one to join", self.needs)
        return done, left

    def _has_room(self) -> bool:
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        return any(all(node.get(name, 0) >= need for name, need in self.needs.items()) for node in nodes)

    def _result(self, reference: Any) -> Outcome:
        try:
            found = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError:
            raise  # a bug of ours, with its traceback
        except self.ray.exceptions.RayError as error:
            raise SparsityLabError(
                "A worker of the cluster was lost, and so were those that began its work again",
                why=f"{type(error).__name__}: {str(error).strip().splitlines()[0]}",
                fix="Records written stay: run the same command again, with more --task-memory or --retries",
            ) from error
        if isinstance(found, SparsityLabError):
            raise found
        return found
