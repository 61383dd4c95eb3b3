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
        Room, typer.Argument(help=f"One of {', '.join(each.value for each in Room)}.", metavar="WHAT")
    ],
) -> None:
    """List the laws, criteria, architectures, kernels, launchers, loggers or bundled data, each with what it is."""
    from sparsity_lab import registry

    entries = _data() if room is Room.data else {
        name: registry.summary(room.value, name) for name in registry.names(room.value)
    }  # fmt: skip
    width = max(map(len, entries))
    for name, what in entries.items():
        typer.echo(f"{name.ljust(width)}  {what}".rstrip())


def _data() -> dict[str, str]:
    """Bundled tables, published fits of them, and texts."""
    from sparsity_lab.fitting.reproduce import published
    from sparsity_lab.store import bundled

    tables = {
        name: f"fit --data: {table.source.partition(':')[0]}" for name, table in published.tables().items()
    }
    return dict(sorted({**dict.fromkeys([*bundled.names(), *bundled.texts()], ""), **tables}.items()))
