"""On a Ray cluster: one that runs already, or one on this machine that starts and stops with us.

Each worker has its needs in cores, GPUs and memory and takes one checkpoint's cells after another. If a
worker dies, alone or with its node, another repeats its cells; nodes that join get workers. Cells whose claim was left
behind by a lost machine are assigned again once the claim has expired.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sparsity_lab import extras
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.work.cells import Desk
from sparsity_lab.measure.work.dispatch import Crew, Group, Task, WorkOutcome
from sparsity_lab.measure.work.launchers import Options
from sparsity_lab.measure.work.launchers._actors import ActorWorkers
from sparsity_lab.measure.work.launchers._address import hindrance

OPTIONS = ("jobs", "address", "task_cpus", "task_gpus", "task_memory_gb", "retries")
# What workers elsewhere must have of our environment; no token is among it, for a cluster shows it to its users.
PASSED_ON = ("HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")


@contextmanager
def crew(options: Options) -> Iterator[Crew]:
    """The workers of a cluster.

    Raises:
        SparsityLabError: Ray is not installed, or there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    extras.require(*extras.LAUNCHERS["ray"], who="--launcher ray")
    import ray

    ours = not ray.is_initialized()
    if ours:
        _join(ray, options)
    cluster = Cluster(ray, options)
    try:
        yield cluster
    finally:
        cluster.close()
        if ours:
            ray.shutdown()


def _join(ray: Any, options: Options) -> None:
    told = logging.getLogger("sparsity_lab").level < logging.ERROR
    common = {"logging_level": logging.ERROR, "log_to_driver": told, "runtime_env": _environment()}
    if options.address is None:
        cores, gpus = options.jobs * options.task_cpus, options.jobs * options.task_gpus
        ray.init(address="local", num_cpus=cores, num_gpus=gpus, include_dashboard=False, **common)
        return
    if (why := hindrance(options.address)) is not None:
        raise _no_cluster(options.address, why)
    try:
        ray.init(address=options.address, **common)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _no_cluster(options.address, str(error).strip().split("\n")[0]) from error


def _no_cluster(address: str, why: str) -> SparsityLabError:
    return SparsityLabError(
        f"There is no Ray cluster at the address {address}",
        why=why,
        fix="Start one with `ray start --head`, set RAY_AUTH_MODE=token where it asks for a token, or leave "
        "--address out for one on this machine",
    )


def _environment() -> dict[str, Any]:
    """What every worker's environment is to hold."""
    named = {key: os.environ[key] for key in PASSED_ON if key in os.environ}
    return {"env_vars": named} if named else {}


class Cluster:
    """Workers of a cluster.

    Args:
        ray: the module.
        options: the needs of a worker.
    """

    def __init__(self, ray: Any, options: Options) -> None:
        memory = options.task_memory_gb
        needs = {
            "num_cpus": options.task_cpus,
            "num_gpus": options.task_gpus,
            "memory": None if memory is None else int(memory * 1e9),
        }
        self.device, self.alone = options.device(), False
        self.workers = ActorWorkers(ray, needs, threads=options.task_cpus, retries=options.retries)

    def perform(self, desk: Desk, groups: Sequence[Group]) -> Iterator[WorkOutcome]:
        """See `dispatch.Crew`."""
        yield from self.workers.perform([Task.of(desk, group) for group in groups])

    def close(self) -> None:
        """End the workers."""
        self.workers.close()
