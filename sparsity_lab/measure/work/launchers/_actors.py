"""Workers of a Ray cluster, each an actor that takes one group of cells after another.

A Ray task gives its lease back every half second and asks for a new one; after a node's death such requests go to
the dead node until the cluster notices, and for that long (some ten seconds) every worker is idle. An actor
keeps its process, so a death costs the work of the dead alone. A few more actors are asked for than run: they wait
for room, and begin where a node joins.

Ray's own `max_restarts` and `max_task_retries` begin a task again in the actor that it was given to. Where a node is
lost for good there is no room for that actor, and its tasks wait while others have nothing to do. So actors are not
restarted here, and what a dead one was at goes back to the queue of all.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.work.dispatch import Task, WorkOutcome
from sparsity_lab.measure.work.launchers._measurer import Measurer

logger = logging.getLogger(__name__)

SPARE = 8  # actors asked for beyond those that run, and as many again as run
PATIENCE_S = 30.0  # until a cluster without room is reported, and a worker without work let go
QUICK_S = 1.0  # a worker whose last group took less gets the next one while it is at the last but one
STARTS = 10  # lost in a row before it is taken for a fault


@dataclass(frozen=True)
class _Work:
    """A task, and how many workers were lost over it."""

    task: Task
    lost: int = 0


@dataclass(eq=False)
class _Actor:
    """One actor as the driver sees it.

    Attributes:
        handle: Ray's.
        at: what it was given, by the reference of the answer; the first is what it is at.
        since: when it began that, or ran out of work.
        quick: its last group took less than `QUICK_S`.
    """

    handle: Any
    at: dict[Any, _Work] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)
    quick: bool = False

    def wants(self) -> bool:
        """Whether it can be given one more group."""
        return len(self.at) < (2 if self.quick else 1)

    def give(self, work: _Work) -> Any:
        """Hand it a group; the reference of the answer."""
        if not self.at:
            self.since = time.monotonic()
        reference = self.handle.perform.remote(work.task)
        self.at[reference] = work
        return reference

    def take_back(self, reference: Any) -> tuple[_Work, bool]:
        """The group behind an answer, and whether it was the one that the actor was at."""
        first = next(iter(self.at)) == reference
        now = time.monotonic()
        self.quick, self.since = now - self.since < QUICK_S, now
        return self.at.pop(reference), first


class ActorWorkers:
    """The actors of one driver.

    Args:
        ray: the module.
        needs: what an actor takes, as options of Ray.
        threads: of the forward pass.
        retries: how often a task is begun again whose worker died.
    """

    def __init__(self, ray: Any, needs: dict[str, Any], *, threads: int, retries: int) -> None:
        self.ray, self.needs, self.threads, self.retries = ray, needs, threads, retries
        self.remote = ray.remote(Measurer).options(**needs, max_restarts=0, scheduling_strategy="SPREAD")
        self.starting: dict[Any, Any] = {}
        self.actors: list[_Actor] = []
        self.lost_starts, self.told = 0, False

    def perform(self, tasks: Sequence[Task]) -> Iterator[WorkOutcome]:
        """Outcomes as they come; a worker's loss begins its task again.

        Raises:
            SparsityLabError: of the first task that failed, or workers were lost too often.
        """
        left = deque(_Work(task) for task in tasks)
        try:
            while left or self._awaited():
                self._hand_out(left)
                self._recruit(len(left))
                found = [self._heard(one, left) for one in self._wait()]
                self._hand_out(left)
                yield from (one for one in found if one is not None)
        except BaseException:
            self.close()
            raise
        self._recruit(0)

    def close(self) -> None:
        """End all actors, whatever they are at."""
        self._recruit(0)
        while self.actors:
            self._end(self.actors.pop().handle)

    def _awaited(self) -> dict[Any, _Actor]:
        return {reference: actor for actor in self.actors for reference in actor.at}

    def _hand_out(self, left: deque[_Work]) -> None:
        """Give those without work a group, then a second one to those that are quick."""
        for second in (False, True):
            for actor in self.actors:
                if left and actor.wants() and bool(actor.at) == second:
                    actor.give(left.popleft())

    def _recruit(self, wanted: int) -> None:
        """Ask for actors, or let those go that have not begun, and those without work for a while."""
        while len(self.starting) < min(wanted, SPARE + len(self.actors)):
            handle = self.remote.remote(self.threads)
            self.starting[handle.ready.remote()] = handle
        while self.starting and not wanted:
            self._end(self.starting.popitem()[1])
        for actor in list(self.actors):
            if not actor.at and time.monotonic() - actor.since > PATIENCE_S:
                self.actors.remove(actor)
                self._end(actor.handle)

    def _end(self, handle: Any) -> None:
        with suppress(Exception):  # it may be gone, and the cluster with it
            self.ray.kill(handle)

    def _wait(self) -> list[Any]:
        awaited = list(self._awaited())
        done, _ = self.ray.wait([*awaited, *self.starting], num_returns=1, timeout=PATIENCE_S)
        if not done and not awaited and not self.told and not self._has_room():
            self.told = True
            logger.warning("no node of the cluster has %s: waiting for one to join", _said(self.needs))
        return list(done)

    def _has_room(self) -> bool:
        wanted = {"CPU": self.needs["num_cpus"], "GPU": self.needs["num_gpus"]}
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        return any(all(node.get(name, 0) >= need for name, need in wanted.items()) for node in nodes)

    def _heard(self, reference: Any, left: deque[_Work]) -> WorkOutcome | None:
        """An answer: that an actor is running, a group's outcome, or that a worker was lost (None)."""
        if reference in self.starting:
            self._arrived(reference)
            return None
        return self._finished(self._awaited()[reference], reference, left)

    def _arrived(self, reference: Any) -> None:
        handle = self.starting.pop(reference)
        try:
            self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            self._end(handle)
            self.lost_starts += 1
            if self.lost_starts > STARTS:
                raise SparsityLabError(
                    "No worker of the cluster could be started", why=_reason(error),
                    fix="Install the same sparsity-lab[measure,cluster] on every node as here",
                ) from error  # fmt: skip
            return
        self.lost_starts = 0
        self.actors.append(_Actor(handle))

    def _finished(self, actor: _Actor, reference: Any, left: deque[_Work]) -> WorkOutcome | None:
        work, begun = actor.take_back(reference)
        try:
            found = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError:
            raise  # a bug of ours, with its traceback
        except self.ray.exceptions.RayError as error:
            self._lost(actor, _Work(work.task, work.lost + begun), left, error)
            return None
        if isinstance(found, SparsityLabError):
            raise found
        return found

    def _lost(self, actor: _Actor, work: _Work, left: deque[_Work], error: Exception) -> None:
        """Put back what a dead worker had."""
        if work.lost > self.retries:
            raise SparsityLabError(
                "A worker of the cluster was lost, and so were those that began its work again",
                why=_reason(error),
                fix="Records written stay: run the same command again, with more --task-memory or --retries",
            ) from error
        self._end(actor.handle)
        left.extendleft([*actor.at.values(), work])
        if actor in self.actors:
            self.actors.remove(actor)


def _said(needs: dict[str, Any]) -> str:
    words = (("CPU", needs["num_cpus"]), ("GPU", needs["num_gpus"]))
    return ", ".join(f"{count:g} {name}(s)" for name, count in words if count)


def _reason(error: Exception) -> str:
    """What Ray says, its first line; of the traceback of a worker that could not begin the last."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[-1 if getattr(error, 'actor_init_failed', False) else 0].strip()}"
