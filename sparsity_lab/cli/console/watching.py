"""What the commands that watch neurons under thresholds say of a dry run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sparsity_lab.measure.work.cells import Cell
    from sparsity_lab.store.arrays import Kind, Sealed


def echo_plan(kind: Kind, cells: Sequence[Cell[Sealed]], *, output: Path) -> None:
    """Print a dry run: every cell, how many there are, and how many of them have records."""
    from sparsity_lab.measure.work.places import calibration_of, prepared_of
    from sparsity_lab.store.tables import to_markdown

    rows = [
        {
            "checkpoint": str(cell.checkpoint.source),
            "text": cell.recipe.label,
            "thresholds of": calibration_of(cell).name,
            "tokens": prepared_of(cell).windows.tokens,
            "windows": prepared_of(cell).windows.count,
            "device": cell.prepared.device,
            "dtype": str(cell.prepared.dtype).removeprefix("torch."),
        }
        for cell in cells
    ]
    typer.echo(to_markdown(rows, list(rows[0])))
    done = sum(cell.find(output / kind.folder) is not None for cell in cells)
    typer.echo(f"{len(cells)} cell(s), {done} of them done already")
