"""`sparsity-lab bench train`: the Trainer against a plain PyTorch loop of the same model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    config: Annotated[
        str, typer.Argument(help="YAML file of a ladder, or a bundled config by name.")
    ] = "demo",
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path(
        "runs/bench-train"
    ),
    run: Annotated[
        list[str] | None, typer.Option(help="Only these runs of the ladder; may be given again.")
    ] = None,
    pairs: Annotated[int, typer.Option(min=2, help="Timed steps of each, taken in turns.")] = 60,
    apart: Annotated[
        bool, typer.Option("--apart", help="The loop in a process of its own, as one would write it.")
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Seed of data, weights and of the bootstrap.")
    ] = 0,
) -> None:
    """Time training under the Trainer and under a plain loop, a step of each in turns."""
    from sparsity_lab.bench.train import bench_ladder
    from sparsity_lab.cli.console.progress import progress
    from sparsity_lab.ladder.config.ladder_config import load_config

    ladder = load_config(config).with_seed(seed)
    bench_ladder(ladder, names=run or [], pairs=pairs, output=output, apart=apart, progress=progress())
    typer.echo((output / "bench-train.md").read_text(encoding="utf-8"), nl=False)
