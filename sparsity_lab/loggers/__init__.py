"""Optional loggers, one file each: points of a run, shown in TensorBoard or Weights & Biases while it goes on.

    with open_loggers(["tensorboard"], job=Job("measure", output, about=settings)) as loggers:
        loggers.record(record)

A logger can never fail a run. Each works in its own process, which receives points through a pipe. It may raise, crash
or hang; this is reported once, and the run goes on without it. Records, random states and exit status are the same as
without loggers. Its library is imported in that process only, and only if it was asked for; if it is not installed,
the run does not begin.

    tensorboard.py   one folder of event files per series
    wandb.py         one run of Weights & Biases per series, in one group
    _points.py       a record of `measure` as names and values
    _guard.py        our side of a logger: its process, its queue, and how long it is waited for
    _host.py         the logger's side: reads points from the pipe

A logger's module holds `LIBRARY`, the name of the package it needs, and `start(job, say=...) -> Logger`. It is named
by its file, or by the entry point `sparsity_lab.loggers` of another package.

Resuming: a run that is resumed sends all its points again, those of earlier cells or steps included, and they replace
what it had sent. So each point is shown once, and what was lost in between is made up for.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol

from sparsity_lab import extras, registry
from sparsity_lab.loggers._guard import Guard
from sparsity_lab.loggers._job import Job
from sparsity_lab.loggers._points import config_of, label_of, values_of

logger = logging.getLogger(__name__)


class Logger(Protocol):
    """One logger, in its own process; it may raise whatever it likes."""

    def begin(self, series: str, config: Mapping[str, Any]) -> None:
        """A series begins; called once for each, before its points."""
        ...

    def point(self, series: str, values: Mapping[str, float], *, step: int) -> None:
        """Values by name at a step: trained tokens, or the place in the series where these are not known."""
        ...

    def close(self, *, finished: bool) -> None:
        """All points were given; `finished` is false where the run broke off."""
        ...


Start = Callable[..., Logger]


class Loggers:
    """Hands points to the loggers that are left; none of its methods fails or waits, but `close` for a while.

    Args:
        guards: one a logger.
        about: goes into every series' config.
    """

    def __init__(self, guards: Sequence[Guard] = (), *, about: Mapping[str, Any] | None = None) -> None:
        self.guards, self.about = list(guards), dict(about or {})
        self.begun: set[str] = set()
        self.placed: Counter[tuple[str, str]] = Counter()

    def start(self) -> None:
        """Start the loggers' processes; else the first point does."""
        for guard in self.guards:
            guard.start()

    def record(self, record: Mapping[str, Any]) -> None:
        """A point of a record of `sparsity-lab measure`, in its series."""
        if not self.guards:
            return
        try:
            self._record(record)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            logger.warning("A record is not logged, the run goes on: %s: %s", type(error).__name__, error)

    def _record(self, record: Mapping[str, Any]) -> None:
        label = label_of(record)
        self.values(
            str(record["series"]),
            label,
            values_of(record, label),
            step=record.get("trained_tokens"),
            config=config_of(record),
        )

    def values(
        self,
        series: str,
        label: str,
        values: Mapping[str, float],
        *,
        step: int | None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Values by name of a checkpoint of a series.

        Args:
            series: name of its run.
            label: names the curve; where trained tokens are not known, points lie at their place in it.
            values: by name.
            step: trained tokens, or None.
            config: is sent with the series' first point.
        """
        if step is None and self.guards:
            if not self.placed:
                logger.info("trained tokens are not known: logged points stand at their place in the series")
            step = self.placed[series, label]
            self.placed[series, label] += 1
        self.point(series, values, step=int(step or 0), config=config)

    def point(
        self, series: str, values: Mapping[str, float], *, step: int, config: Mapping[str, Any] | None = None
    ) -> None:
        """Values by name at a step of a series; `config` is sent with the first one."""
        if not self.guards:
            return
        if series not in self.begun:
            self.begun.add(series)
            self._send({"series": series, "config": {**self.about, **(config or {})}})
        self._send({"series": series, "values": dict(values), "step": step})

    def close(self, *, finished: bool = True) -> None:
        """Wait until all points are written, for a limited time."""
        for guard in self.guards:
            guard.end(finished=finished)
        for guard in self.guards:
            guard.wait()
        self.guards = []

    def __enter__(self) -> Loggers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(finished=error is None)

    def _send(self, message: Mapping[str, Any]) -> None:
        for guard in self.guards:
            guard.send(message)


NO_LOGGERS = Loggers()


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """Each logger once, after a check that there are such; imports no logger's library.

    Raises:
        SparsityLabError: an unknown name, of which the nearest is named, or a library that is not installed.
    """
    for name in names:
        extras.require(registry.load("loggers", name).LIBRARY, who=f"--log {name}")
    return tuple(dict.fromkeys(names))


def open_loggers(names: Sequence[str], *, job: Job) -> Loggers:
    """Loggers, not yet started.

    Raises:
        SparsityLabError: an unknown name, or a library that is not installed.
    """
    return Loggers([Guard(name, job) for name in check_names(names)], about=job.about)
