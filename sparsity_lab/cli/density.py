"""`sparsity-lab density`: how much capability each parameter carries, against a reference family."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparsity_lab.cli.console.config import Config, save_resolved
from sparsity_lab.cli.console.progress import progress
from sparsity_lab.cli.density_corollaries import Output, Seed, cost, day_of, needed, pairs, planted, words_of

if TYPE_CHECKING:
    from sparsity_lab.fitting.density.options import DensityReport

app = typer.Typer(
    help="Density of models against a ruler, its frontier by release date, and how fast it grows.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Params(str, Enum):
    """Which parameters of a mixture of experts count."""

    total = "total"
    active = "active"


class Embeddings(str, Enum):
    """Whether embeddings count."""

    included = "in"
    excluded = "out"


class DensityForm(str, Enum):
    """Forms of a ruler."""

    auto = "auto"
    one_step = "one-step"
    two_step = "two-step"


class Against(str, Enum):
    """What a one-step ruler's score is fitted against."""

    params = "params"
    flops = "flops"


Tasks = Annotated[str, typer.Option("--tasks", help="Tasks whose mean score is used, with commas between.")]
ParamsChoice = Annotated[
    Params, typer.Option("--params", help="Parameters of a mixture of experts that count.")
]
EmbeddingsChoice = Annotated[Embeddings, typer.Option("--embeddings", help="Whether embeddings count.")]
AgainstChoice = Annotated[Against, typer.Option("--against", help="Size axis: N, or training FLOPs 6ND.")]
RulerChoice = Annotated[
    str,
    typer.Option("--ruler", help="auto, a ruler file, a shipped ruler, or a family with four sizes or more."),
]
TargetsChoice = Annotated[
    str | None,
    typer.Option("--targets", help="Table of models (CSV), folder of lm-eval results, or a bundled table."),
]
ModelsChoice = Annotated[
    Path | None,
    typer.Option(
        "--models",
        help="CSV for lm-eval results: model (name, path or ID@REVISION), family, release_date, params_b (1e9) or "
        "params, tokens (a count), tokens_b (1e9) or train_tokens_t (1e12).",
    ),
]
MetricChoice = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        help="Metric of lm-eval results: acc_norm, or of one task, piqa=acc_norm; may be repeated.",
    ),
]
ChanceChoice = Annotated[
    list[str] | None,
    typer.Option("--chance", help="Score of guessing on a task, as mine=0.25; may be repeated."),
]
D0Choice = Annotated[
    float | None, typer.Option("--d0", help="Training tokens at which a two-step ruler is read.")
]


@app.callback(invoke_without_command=True)
def density(
    context: typer.Context,
    targets: TargetsChoice = None,
    models: ModelsChoice = None,
    metric: MetricChoice = None,
    chance: ChanceChoice = None,
    ruler: RulerChoice = "auto",
    tasks: Tasks = "",
    params: ParamsChoice = Params.total,
    embeddings: EmbeddingsChoice = Embeddings.included,
    against: AgainstChoice = Against.params,
    d0: D0Choice = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Let models without all tasks join the trend.")
    ] = False,
    mixtures: Annotated[
        bool, typer.Option("--mixtures", help="Let mixtures of experts join the trend.")
    ] = False,
    break_at: Annotated[
        str, typer.Option("--break", help="Test for another growth from this date on, as 2022-11-30.")
    ] = "",
    project: Annotated[
        str, typer.Option("--project", help="Dates to project rho_max to, with commas between.")
    ] = "",
    sensitivity: Annotated[
        bool, typer.Option(help="Tabulate how the growth moves with ruler, tasks, models and parameters.")
    ] = True,
    output: Output = Path("runs/density"),
    seed: Seed = 0,
    config: Config = None,
) -> None:
    """Density rho = N^/N of every model: N^ is the size at which the ruler's family reaches its score."""
    from sparsity_lab.fitting.density.options import DensityOptions
    from sparsity_lab.fitting.density.run import run_density
    from sparsity_lab.fitting.density.scores.sizes import SizeConvention

    options = DensityOptions(
        targets=targets,
        models=models,
        metrics=tuple(metric or ()),
        chances=tuple(chance or ()),
        ruler=ruler,
        tasks=words_of(tasks),
        convention=SizeConvention(params is Params.active, embeddings is Embeddings.included, against.value),
        d0_tokens=d0,
        partial=partial,
        mixtures=mixtures,
        break_at=day_of(break_at, "--break") if break_at else None,
        project_to=tuple(day_of(word, "--project") for word in words_of(project) or ()),
        sensitivity=sensitivity,
    )
    context.obj = options, seed
    if context.invoked_subcommand is None:
        report = run_density(output=output, seed=seed, options=options, progress=progress())
        save_resolved(context, output)
        _print_report(report)


@app.command("ruler")
def build(
    inputs: Annotated[
        str,
        typer.Argument(
            help="Ladder or table of models (CSV), folder of lm-eval results, or a bundled table."
        ),
    ],
    name: Annotated[str, typer.Option("--name", help="Name of the ruler and of its file.")],
    form: Annotated[
        DensityForm, typer.Option("--form", help="Two steps need losses and training tokens.")
    ] = DensityForm.auto,
    family: Annotated[str | None, typer.Option("--family", help="Family of the reference models.")] = None,
    tasks: Tasks = "",
    models: ModelsChoice = None,
    metric: MetricChoice = None,
    chance: ChanceChoice = None,
    params: ParamsChoice = Params.total,
    embeddings: EmbeddingsChoice = Embeddings.included,
    against: AgainstChoice = Against.params,
    d0: Annotated[
        float, typer.Option("--d0", help="Training tokens at which a two-step ruler is read.")
    ] = 1e12,
    harness: Annotated[str, typer.Option("--harness", help="How the scores were made.")] = "not stated",
    source: Annotated[str, typer.Option("--source", help="Where the figures come from.")] = "",
    output: Output = Path("runs/rulers"),
    seed: Seed = 0,
) -> None:
    """Build a ruler file from reference models."""
    from sparsity_lab.fitting.density.rulers.build import RulerOptions, build_ruler
    from sparsity_lab.fitting.density.scores.sizes import SizeConvention
    from sparsity_lab.store import bundled

    path = bundled.path(inputs) if not Path(inputs).exists() and inputs in bundled.names() else Path(inputs)
    options = RulerOptions(
        name=name,
        form=form.value,
        family=family,
        tasks=words_of(tasks),
        models=models,
        metrics=tuple(metric or ()),
        chances=tuple(chance or ()),
        convention=SizeConvention(params is Params.active, embeddings is Embeddings.included, against.value),
        d0_tokens=d0,
        harness=harness,
        source=source or inputs,
    )
    built = build_ruler(path, output=output, options=options, seed=seed, progress=progress())
    found = built.ruler
    typer.echo(f"{found.form} ruler {found.name}: {', '.join(found.tasks)}; {found.params}")
    typer.echo(f"Written to {output}: {', '.join(file.name for file in built.files)}")


@app.command()
def predict(
    ladder: Annotated[
        Path | None, typer.Option("--ladder", help="Ladder (CSV); by default the OLMo ladder.")
    ] = None,
    target: Annotated[str, typer.Option("--target", help="Run to predict from the others.")] = "13B-5T",
    artificial_point: Annotated[
        bool, typer.Option(help="The recipe's artificial point: a perfect score at zero loss.")
    ] = True,
    chance: ChanceChoice = None,
    output: Output = Path("runs/predictions"),
    seed: Seed = 0,
) -> None:
    """Predict a large run from small ones: the published recipe, and our own choice with intervals."""
    from sparsity_lab.fitting.density.rulers.predictions import COLUMNS, run_predictions
    from sparsity_lab.store.tables import to_markdown

    found = run_predictions(
        output=output, ladder=ladder, target=target, artificial_point=artificial_point,
        chances=tuple(chance or ()), seed=seed, progress=progress(),
    )  # fmt: skip
    typer.echo(to_markdown(found.rows, COLUMNS))
    if found.largest_gap is not None:
        typer.echo(f"Largest gap between the recipe and the published predictions: {found.largest_gap:.6f}")
    typer.echo(
        f"{found.held} of {len(found.rows)} actual scores lie in the 95 % intervals of our own choice."
    )


for _command in (pairs, needed, cost, planted):
    app.command()(_command)


def _print_report(report: DensityReport) -> None:
    from sparsity_lab.fitting.density.report import closing_sentences, table_rows
    from sparsity_lab.store.tables import to_markdown

    columns = ["model", "released", "size_b", "score", "rho", "rho_low", "rho_high", "flags"]
    typer.echo(to_markdown(table_rows(report), columns))
    for sentence in closing_sentences(report):
        typer.echo(sentence)
    typer.echo(f"Written to {report.output}: {', '.join(path.name for path in report.files)}")
