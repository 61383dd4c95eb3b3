"""`sparsity-lab affinity`: what the sparsity of records is worth in time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sparsity_lab.cli.console.options import fill, of_fields, refuse_idle
from sparsity_lab.cli.console.progress import progress
from sparsity_lab.cli.shared_options import OfflineOptions, Output, TextsOptions
from sparsity_lab.settings import HOW, SHAPES, WHAT, CostSettings, Flag, ModelSettings, TimingSettings


@dataclass(frozen=True, kw_only=True)
class AffinityOptions(CostSettings, TimingSettings, ModelSettings, TextsOptions, OfflineOptions):
    """The options of `sparsity-lab affinity`."""

    found: Annotated[
        list[Path], typer.Argument(help="Records of `neurons`, folders of them, or what `neurons` wrote.")
    ]
    models: Annotated[
        tuple[str, ...],
        Flag(
            "New location of a model that was moved; the last part of its name must match. Repeatable.",
            WHAT,
            flags=("--model",),
        ),
    ] = ()
    predictors: Annotated[
        tuple[Path, ...], Flag("Records of `predict`, or the folder that it wrote. Repeatable.", WHAT)
    ] = ()
    measure: Annotated[bool, Flag("Also time sparse against dense products on this machine.", WHAT)] = False
    shapes: Annotated[
        tuple[str, ...],
        Flag(
            "An additional shape to time. Repeatable.",
            HOW,
            flags=("--shape",),
            metavar="FxD",
            shown=", ".join(f"{F}x{d}" for F, d in SHAPES),
        ),
    ] = ()
    output: Output = Path("runs/affinity")


@of_fields
def command(options: AffinityOptions) -> None:
    """Estimate what sparsity is worth when decoding: bytes read and ideal speed-ups, and with --measure real ones.

    Use --text or --dataset for a text that has moved since its record was made, with the name that the record gives it.
    Decoding a single sequence is bound by memory bandwidth, so its time is proportional to the bytes read. Each number
    states what it assumes.
    """
    from sparsity_lab.fitting.figures import attempted
    from sparsity_lab.measure.neurons.affinity.run import AffinitySpec, estimate_affinity
    from sparsity_lab.measure.neurons.affinity.spec import Costs, TimingPlan, shape_of_words
    from sparsity_lab.measure.sources.named import texts_of

    if not options.measure:
        refuse_idle(
            options, "pairs", "shapes", "ratios", "texts", "datasets", "device",
            because="without --measure", fix="Add --measure, or leave it out",
        )  # fmt: skip
    shapes, output = tuple(map(shape_of_words, options.shapes)) or SHAPES, options.output
    spec = AffinitySpec(
        found=tuple(options.found), predictors=options.predictors, models=options.models,
        texts=texts_of(options.texts, options.datasets),
        plan=fill(TimingPlan, options, shapes=shapes) if options.measure else None,
        costs=fill(Costs, options), machine=fill(ModelSettings, options),
    )  # fmt: skip
    written = estimate_affinity(spec, output=output, progress=progress())
    with attempted(output / "affinity"):
        from sparsity_lab.fitting.plots.affinity import draw_affinity

        draw_affinity(output)
    for name in written:
        typer.echo((output / f"{name}.md").read_text(encoding="utf-8"))
    typer.echo(f"Written to {output}")
