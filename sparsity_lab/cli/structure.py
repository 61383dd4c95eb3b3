"""`sparsity-lab structure`: how neurons hang together under a record's thresholds."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from sparsity_lab.cli import measure_options as options
from sparsity_lab.cli.console.progress import progress
from sparsity_lab.cli.console.watching import Texts, Thresholds, echo_plan
from sparsity_lab.cli.measure_words import revisions_of, windows_at_once


class Basis(str, Enum):
    """What neurons are grouped by."""

    coactivation = "coactivation"
    input_weights = "input-weights"


Clusters = Annotated[int, typer.Option("--clusters", min=2, help="Experts of equal size in each layer.")]
By = Annotated[Basis, typer.Option("--by", help="Group neurons by how they fire, or by their input weights.")]
Routed = Annotated[int, typer.Option("--routed", min=1, help="Best clusters a token goes to, for the cache.")]
CacheRatio = Annotated[float, typer.Option("--cache-ratio", help="Clusters the cache holds, over --routed.")]
Draws = Annotated[int, typer.Option("--draws", help="Random partitions to beat; p is at least 1/(1 + R).")]
Permutations = Annotated[int, typer.Option("--permutations", help="Of the texts' labels over stretches.")]
MostNeurons = Annotated[
    int, typer.Option("--most-neurons", help="Of a layer with more, a seeded sample stands for it.")
]


def command(
    models: options.Models,
    thresholds: Thresholds,
    texts: Texts,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of each text.")] = 65536,
    window: options.Window = None,
    bos: options.Bos = True,
    clusters: Clusters = 16,
    by: By = Basis.coactivation,
    routed: Routed = 4,
    cache_ratio: CacheRatio = 2.0,
    draws: Draws = 199,
    permutations: Permutations = 4999,
    most_neurons: MostNeurons = 2048,
    revisions: options.Revisions = None,
    tokenizer: options.Tokenizer = None,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.auto,
    batch_size: options.BatchSize = "auto",
    architecture_file: options.ArchitectureFile = None,
    limit: options.Limit = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all that is drawn.")] = 0,
    output: options.Output = Path("runs/structure"),
    offline: options.Offline = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
) -> None:
    """Find which neurons fire together, group them into experts, and ask what the groups are worth.

    The first half of each text finds, the second judges. Several texts: which neurons prefer one. Several
    checkpoints of a run: where patterns settle. A mixture of experts: how steadily it routes.
    """
    from sparsity_lab.measure.neurons.spec import NeuronSpec, texts_of
    from sparsity_lab.measure.neurons.structure.spec import StructureSettings, StructureSpec
    from sparsity_lab.measure.spec import expand

    watch = NeuronSpec(
        texts=texts_of(texts), tokens=tokens, window=window, bos=bos, device=device, dtype=dtype.value,
        batch_size=windows_at_once(batch_size), written_tokens=0, seed=seed, architecture_file=architecture_file,
    )  # fmt: skip
    settings = StructureSettings(
        clusters=clusters, by=by.value, routed=routed, cache_ratio=cache_ratio, draws=draws,
        permutations=permutations, most_neurons=most_neurons,
    )  # fmt: skip
    spec = StructureSpec(watch, settings)
    checkpoints = expand(models, revisions=revisions_of(revisions), tokenizer=tokenizer)[:limit]
    if dry_run:
        from sparsity_lab.measure.neurons.structure.record import KIND
        from sparsity_lab.measure.neurons.structure.run import plan_cells

        echo_plan(KIND, plan_cells(spec, checkpoints, thresholds=thresholds), output=output)
        return
    from sparsity_lab.fitting.figures import attempted
    from sparsity_lab.measure.neurons.structure.run import examine_checkpoints

    examine_checkpoints(spec, checkpoints, thresholds=thresholds, output=output, progress=progress())
    with attempted(output / "clusters"):
        from sparsity_lab.fitting.plots.structure import draw_structure

        draw_structure(output)
    for name in ("clusters", "routing", "specialised", "settled"):
        if (output / f"{name}.md").exists():
            typer.echo((output / f"{name}.md").read_text(encoding="utf-8"))
    typer.echo(f"Written to {output}")
