"""`sparsity-lab density`: how much capability each parameter carries, against a reference family."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparsity_lab.cli.console.config import save_resolved
from sparsity_lab.cli.console.options import PanelCommand, PanelGroup, of_fields
from sparsity_lab.cli.console.progress import progress
from sparsity_lab.cli.density_corollaries import cost, day_of, needed, pairs, planted, rulers, words_of
from sparsity_lab.cli.shared_options import Config, Output
from sparsity_lab.settings import AUTO, D0_TOKENS, HARNESS, TABLE, WHAT, Flag, Seed

if TYPE_CHECKING:
    from sparsity_lab.fitting.density.options import DensityReport

app = typer.Typer(
    help="Density of models against a ruler, its frontier by release date, and how fast it grows.",
    context_settings={"help_option_names": ["-h", "--help"]},
    cls=PanelGroup,
)

Chance = Annotated[
    tuple[str, ...], Flag("Score of guessing on a task. Repeatable.", TABLE, metavar="TASK=SCORE")
]
D0 = "Number of training tokens at which a two-step ruler is read."


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """Options of the commands that read models and their scores."""

    tasks: Annotated[str, Flag("Tasks whose mean score is used, separated by commas.", WHAT)] = ""
    models: Annotated[
        Path | None,
        Flag(
            "CSV about the models of lm-eval results or of a table of scores: model (name, path or ID@REVISION), "
            "family, release_date, params_b (1e9) or params, and tokens (a count), tokens_b (1e9) or train_tokens_t "
            "(1e12).",
            TABLE,
        ),
    ] = None
    metric: Annotated[
        tuple[str, ...],
        Flag("Metric of lm-eval results: acc_norm, or for one task piqa=acc_norm. Repeatable.", TABLE),
    ] = ()
    chance: Chance = ()
    params: Annotated[
        str, Flag("Which parameters of a mixture of experts count.", WHAT, choices=("total", "active"))
    ] = "total"
    embeddings: Annotated[str, Flag("Whether embeddings count.", WHAT, choices=("in", "out"))] = "in"
    against: Annotated[
        str, Flag("Size axis: parameters N, or training FLOPs 6ND.", WHAT, choices=("params", "flops"))
    ] = "params"
    seed: Seed = 0

    def shared(self) -> dict[str, Any]:
        """What `DensityOptions` and `RulerOptions` both take."""
        from sparsity_lab.fitting.density.scores.sizes import SizeConvention

        convention = SizeConvention(self.params == "active", self.embeddings == "in", self.against)
        return {
            "tasks": words_of(self.tasks), "models": self.models, "metrics": self.metric, "chances": self.chance,
            "convention": convention,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DensityCommandOptions(ScoreOptions):
    """The options of `sparsity-lab density`."""

    targets: Annotated[
        str | None,
        Flag("Table of models or scores (CSV), folder of lm-eval results, or a bundled table.", TABLE),
    ] = None
    harness: Annotated[
        str,
        Flag(
            "Harness whose scores are read, of a table that states it; alone, of the bundled scores. Separated by "
            "commas, models of the later ones are moved onto the first by those that both scored.",
            TABLE,
        ),
    ] = ""
    ruler: Annotated[
        str, Flag("A ruler file, a shipped ruler, a family with four sizes or more, or auto.", WHAT)
    ] = AUTO
    d0: Annotated[float | None, Flag(D0, WHAT, shown="the ruler's")] = None
    partial: Annotated[bool, Flag("Let models without all tasks join the trend.", WHAT)] = False
    mixtures: Annotated[bool, Flag("Let mixtures of experts join the trend.", WHAT)] = False
    extrapolated: Annotated[bool, Flag("Let models outside the ruler's sizes join the trend.", WHAT)] = False
    references: Annotated[bool, Flag("Let the ruler's own models join the trend.", WHAT)] = False
    break_at: Annotated[
        str,
        Flag(
            "Test for a different growth from this date on.", WHAT, flags=("--break",), metavar="YYYY-MM-DD"
        ),
    ] = ""
    project: Annotated[str, Flag("Dates to project rho_max to, separated by commas.", WHAT)] = ""
    sensitivity: Annotated[
        bool, Flag("Tabulate how the growth depends on ruler, tasks, models and parameters.", WHAT)
    ] = True
    hindcast: Annotated[
        bool, Flag("Forecast the densest model of each quarter from the quarters before it.", WHAT)
    ] = True
    output: Output = Path("runs/density")
    config: Config = None


@app.callback(invoke_without_command=True)
@of_fields
def density(context: typer.Context, options: DensityCommandOptions) -> None:
    """Density rho = N^/N of every model: N^ is the size at which the ruler's family reaches its score."""
    from sparsity_lab.fitting.density.options import DensityOptions
    from sparsity_lab.fitting.density.report import run_density

    settings = DensityOptions(
        **options.shared(), targets=options.targets, harness=words_of(options.harness) or (), ruler=options.ruler,
        d0_tokens=options.d0, partial=options.partial, mixtures=options.mixtures,
        extrapolated=options.extrapolated, references=options.references, sensitivity=options.sensitivity,
        hindcast=options.hindcast,
        break_at=day_of(options.break_at, "--break") if options.break_at else None,
        project_to=tuple(day_of(word, "--project") for word in words_of(options.project) or ()),
    )  # fmt: skip
    context.obj = settings, options.seed
    if context.invoked_subcommand is None:
        report, files = run_density(
            output=options.output, seed=options.seed, options=settings, progress=progress()
        )
        save_resolved(options, options.output)
        _print_report(report)
        typer.echo(f"Written to {options.output}: {', '.join(path.name for path in files)}")


@dataclass(frozen=True, kw_only=True)
class RulerCommandOptions(ScoreOptions):
    """The options of `sparsity-lab density ruler`."""

    inputs: Annotated[
        str,
        typer.Argument(
            help="Ladder or table of models (CSV), folder of lm-eval results, or a bundled table."
        ),
    ]
    name: Annotated[str, Flag("Name of the ruler and of its file.", WHAT)]
    form: Annotated[
        str,
        Flag(
            "One step, or two, which need losses and training tokens.",
            WHAT,
            choices=(AUTO, "one-step", "two-step"),
        ),
    ] = AUTO
    family: Annotated[str | None, Flag("Family of the reference models.", WHAT)] = None
    d0: Annotated[float, Flag(D0, WHAT)] = D0_TOKENS
    loss: Annotated[
        tuple[str, ...],
        Flag(
            "For lm-eval results: task whose loss on the right answer goes with another task's score. Repeatable.",
            TABLE,
            metavar="TASK=TASK",
        ),
    ] = ()
    harness: Annotated[
        str,
        Flag("Harness that produced the scores; in a table with several harnesses, the one to read.", TABLE),
    ] = HARNESS
    source: Annotated[str, Flag("Where the figures come from.", TABLE)] = ""
    output: Output = Path("runs/rulers")


@app.command("ruler", cls=PanelCommand)
@of_fields
def build(options: RulerCommandOptions) -> None:
    """Build a ruler file from reference models."""
    from sparsity_lab.fitting.density.rulers.build import RulerOptions, build_ruler
    from sparsity_lab.store import bundled

    path = bundled.table(options.inputs)
    settings = RulerOptions(
        **options.shared(), name=options.name, form=options.form, family=options.family, d0_tokens=options.d0,
        losses=options.loss, harness=options.harness, source=options.source or options.inputs,
    )  # fmt: skip
    built = build_ruler(path, output=options.output, options=settings, seed=options.seed, progress=progress())
    ruler = built.ruler
    typer.echo(f"{ruler.form} ruler {ruler.name}: {', '.join(ruler.tasks)}; {ruler.params}")
    typer.echo(f"Written to {options.output}: {', '.join(file.name for file in built.files)}")


@dataclass(frozen=True, kw_only=True)
class PredictionOptions:
    """The options of `sparsity-lab density predict`."""

    ladder: Annotated[Path | None, Flag("Ladder (CSV).", TABLE, shown="the OLMo ladder")] = None
    target: Annotated[
        str,
        Flag(
            "Runs to predict, each from the others, separated by commas.",
            WHAT,
            shown="those whose role is target",
        ),
    ] = ""
    artificial_point: Annotated[
        bool, Flag("Include the recipe's artificial point: a perfect score at zero loss.", WHAT)
    ] = True
    chance: Chance = ()
    output: Output = Path("runs/predictions")
    seed: Seed = 0


@app.command(cls=PanelCommand)
@of_fields
def predict(options: PredictionOptions) -> None:
    """Predict large runs from small ones: the published recipe, and our own choice with intervals."""
    from sparsity_lab.fitting.density.rulers.predictions import PredictedRuns, run_predictions
    from sparsity_lab.store.table_columns.density import PREDICTIONS

    targets = words_of(options.target) or ()
    runs = PredictedRuns(options.ladder, targets, options.artificial_point, options.chance)
    predictions = run_predictions(output=options.output, runs=runs, seed=options.seed, progress=progress())
    typer.echo(PREDICTIONS.shown(predictions.rows))
    if predictions.largest_gap is not None:
        typer.echo(
            f"Largest gap between the recipe and the published predictions: {predictions.largest_gap:.6f}"
        )
    typer.echo(
        f"{predictions.held} of {len(predictions.rows)} actual scores lie in the 95 % intervals of our own choice."
    )


for _command in (rulers, pairs, needed, cost, planted):
    app.command(cls=PanelCommand)(_command)


def _print_report(report: DensityReport) -> None:
    from sparsity_lab.fitting.density.paragraph import closing_sentences, paragraph
    from sparsity_lab.fitting.density.report import table_rows
    from sparsity_lab.store.tables import to_markdown

    columns = ["model", "released", "size_b", "score", "rho", "rho_low", "rho_high"]
    if report.others:
        columns += ["rho_low_others", "rho_high_others"]
    columns += ["frontier", "flags"]
    typer.echo(f"{paragraph(report)}\n")
    typer.echo(to_markdown(table_rows(report), columns))
    for sentence in closing_sentences(report):
        typer.echo(sentence)
