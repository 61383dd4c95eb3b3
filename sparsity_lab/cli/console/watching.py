"""What the commands that watch neurons under thresholds say of a dry run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sparsity_lab.measure.work.cellwise import Keyed
    from sparsity_lab.measure.work.places import Place
    from sparsity_lab.store.arrays import Kind


def echo_plan(kind: Kind, cells: Sequence[Keyed], *, output: Path) -> None:
    """Print a dry run: every place, how many cells there are, and how many of them have records."""
    from sparsity_lab.measure.work.cellwise import done

    typer.echo(plan_table([cell.place for cell in cells]))
    typer.echo(f"{len(cells)} cell(s), {done(kind, cells, output=output)} of them done already")


def plan_table(places: Sequence[Place]) -> str:
    """What a dry run says of checkpoints, texts and thresholds."""
    from sparsity_lab.store.tables import to_markdown

    rows = [
        {
            "checkpoint": str(place.prepared.checkpoint.source),
            "text": place.text,
            "thresholds of": place.calibration.name,
            "tokens": place.prepared.windows.tokens,
            "windows": place.prepared.windows.count,
            "device": place.prepared.device,
            "dtype": str(place.prepared.dtype).removeprefix("torch."),
        }
        for place in places
    ]
    return to_markdown(rows, list(rows[0]))
