"""`sparsity-lab bench train`: the Trainer against a plain PyTorch loop of the same model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sparsity_lab.cli.console.options import of_fields
from sparsity_lab.cli.shared_options import Output
from sparsity_lab.settings import WHAT, Flag, Seed


@dataclass(frozen=True, kw_only=True)
class TrainBenchOptions:
    """The options of `sparsity-lab bench train`."""

    config: Annotated[str, typer.Argument(help="YAML file of a ladder, or the name of a bundled config.")] = (
        "demo"
    )
    run: Annotated[tuple[str, ...], Flag("Time only this run of the ladder. Repeatable.", WHAT)] = ()
    pairs: Annotated[int, Flag("Timed steps of each, in turn.")] = 60
    apart: Annotated[bool, Flag("Run the loop in a process of its own, as a user would write it.")] = False
    output: Output = Path("runs/bench-train")
    seed: Seed = 0


@of_fields
def command(options: TrainBenchOptions) -> None:
    """Time training with the Trainer and with a plain loop, alternating one step of each."""
    from sparsity_lab.bench.train import bench_ladder
    from sparsity_lab.cli.console.progress import progress
    from sparsity_lab.ladder.config.ladder_config import load_config

    ladder = load_config(options.config).with_seed(options.seed)
    bench_ladder(
        ladder, names=list(options.run), pairs=options.pairs, output=options.output, apart=options.apart,
        progress=progress(),
    )  # fmt: skip
    typer.echo((options.output / "bench-train.md").read_text(encoding="utf-8"), nl=False)
