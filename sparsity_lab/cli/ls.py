"""`sparsity-lab ls`: what can be named on the command line."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer


class Room(str, Enum):
    """The listable rooms."""

    laws = "laws"
    criteria = "criteria"
    architectures = "architectures"
    kernels = "kernels"
    launchers = "launchers"
    loggers = "loggers"
    data = "data"


def command(
    room: Annotated[
        Room, typer.Argument(help=f"One of {', '.join(each.value for each in Room)}.", metavar="ROOM")
    ],
) -> None:
    """List the laws, criteria, architectures, kernels, launchers, loggers or bundled data."""
    from sparsity_lab import registry
    from sparsity_lab.store import bundled

    found = sorted([*bundled.names(), *bundled.texts()]) if room is Room.data else registry.names(room.value)
    typer.echo("\n".join(found))
