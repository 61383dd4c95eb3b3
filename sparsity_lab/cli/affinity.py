"""`sparsity-lab affinity`: what the sparsity of records is worth in time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sparsity_lab.cli import measure_options as options
from sparsity_lab.cli.console.progress import progress
from sparsity_lab.errors import SparsityLabError

Found = Annotated[
    list[Path], typer.Argument(help="Records of `neurons`, folders of them, or what `neurons` wrote.")
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model", help="Where a model lies, where not as recorded. May be repeated: last names match."
    ),
]
Predictors = Annotated[
    list[Path] | None, typer.Option("--predictors", help="Records of `predict`, or what it wrote.")
]
Cost = Annotated[
    float | None,
    typer.Option(
        "--predictor-cost", help="Weights of an assumed perfect predictor, as a share of the FFN's."
    ),
]
Texts = Annotated[
    list[str] | None,
    typer.Option("--text", metavar="[NAME=]FILE", help="A text of the records, where not as recorded."),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape", metavar="FxD", help="A further shape to time.", show_default="1536x576, 8192x2048"
    ),
]
Ratios = Annotated[
    list[float] | None,
    typer.Option(
        "--ratio", help="A planted activation ratio.", show_default="0.02, 0.05, 0.1, 0.2, 0.4, 0.8"
    ),
]


def command(
    found: Found,
    models: Models = None,
    predictors: Predictors = None,
    predictor_cost: Cost = None,
    bytes_per_weight: Annotated[float, typer.Option(help="2: bfloat16; 0.5: 4 bits.")] = 2.0,
    bytes_per_kv: Annotated[float, typer.Option(help="Of an entry of the KV cache.")] = 2.0,
    context: Annotated[int, typer.Option(help="Tokens in the KV cache.")] = 0,
    measure: Annotated[bool, typer.Option("--measure", help="Also time it, on this machine.")] = False,
    texts: Texts = None,
    pairs: Annotated[int, typer.Option(help="Timed pairs, dense and sparse in turn.")] = 21,
    shapes: Shapes = None,
    ratios: Ratios = None,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.auto,
    architecture_file: options.ArchitectureFile = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the tokens timed and of what is planted.")] = 0,
    output: options.Output = Path("runs/affinity"),
    offline: options.Offline = False,
    config: options.Config = None,
) -> None:
    """Estimate what sparsity is worth when decoding: bytes read and ideal speed-ups, and with --measure real ones.

    Decoding one sequence waits for memory, so time goes with the bytes read. Each number says what it assumes.
    """
    from sparsity_lab.fitting.figures import attempted
    from sparsity_lab.measure.neurons.affinity.run import AffinitySpec, estimate_affinity
    from sparsity_lab.measure.neurons.affinity.spec import Costs, TimingPlan, shape_of_words
    from sparsity_lab.measure.neurons.affinity.timed import Machine
    from sparsity_lab.measure.neurons.spec import texts_of

    usual = TimingPlan()
    if not measure:
        _refuse_idle(
            pairs=pairs != usual.pairs, shape=shapes, ratio=ratios, text=texts, device=device != "auto"
        )
    plan = TimingPlan(
        pairs=pairs,
        shapes=usual.shapes if shapes is None else tuple(shape_of_words(words) for words in shapes),
        ratios=tuple(ratios) if ratios else usual.ratios,
        seed=seed,
    )
    spec = AffinitySpec(
        found=tuple(found), predictors=tuple(predictors or ()), models=tuple(models or ()),
        texts=texts_of(texts or []), plan=plan if measure else None,
        costs=Costs(bytes_per_weight, bytes_per_kv, context, predictor_cost),
        machine=Machine(device, dtype.value, architecture_file),
    )  # fmt: skip
    written = estimate_affinity(spec, output=output, progress=progress())
    with attempted(output / "affinity"):
        from sparsity_lab.fitting.plots.affinity import draw_affinity

        draw_affinity(output)
    for name in written:
        typer.echo((output / f"{name}.md").read_text(encoding="utf-8"))
    typer.echo(f"Written to {output}")


def _refuse_idle(**given: object) -> None:
    """Options of what is timed are refused where nothing is, rather than ignored."""
    for name, value in given.items():
        if value:
            raise SparsityLabError(
                f"--{name} does nothing without --measure", fix="Add --measure, or leave it out"
            )
