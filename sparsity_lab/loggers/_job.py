"""The run whose points are logged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Job:
    """What a logger knows about the run.

    Attributes:
        kind: the command.
        folder: the run's output; loggers write below it.
        about: settings, as JSON takes them.
        offline: never touch the network.
    """

    kind: str
    folder: Path
    about: Mapping[str, Any] = field(default_factory=dict)
    offline: bool = False
