"""Commands of `sparsity-lab density`: what follows from a trend, which rulers there are, and whether intervals hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparsity_lab.cli.console.options import of_fields
from sparsity_lab.cli.console.progress import progress
from sparsity_lab.cli.shared_options import Output
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.settings import TABLE, WHAT, WORLD_KINDS, WORLDS, Flag, Seed

if TYPE_CHECKING:
    from sparsity_lab.fitting.density.options import DensityOptions


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """The options of `sparsity-lab density pairs`."""

    file: Annotated[
        Path | None,
        Flag("CSV with model, source and method.", TABLE, flags=("--pairs",), shown="the bundled one"),
    ] = None
    output: Output = Path("runs/density_pairs")


@of_fields
def pairs(context: typer.Context, options: PairOptions) -> None:
    """Compare compressed models with their sources. Options of `density` go before the word pairs."""
    from sparsity_lab.fitting.density.trend.corollaries import run_pairs
    from sparsity_lab.store.table_columns.density import PAIRS

    settings, seed = _settings(context)
    rows = run_pairs(options.file, output=options.output, options=settings, seed=seed)
    typer.echo(PAIRS.shown(rows))


@dataclass(frozen=True, kw_only=True)
class RulersOptions:
    """The options of `sparsity-lab density rulers`."""

    output: Output = Path("runs/density_rulers")


@of_fields
def rulers(context: typer.Context, options: RulersOptions) -> None:
    """List the rulers that can rate the models, and how far they disagree. Options of `density` go before `rulers`."""
    from sparsity_lab.fitting.density.compare_rulers import run_rulers
    from sparsity_lab.store.table_columns.density import RULER_PAIRS, RULERS

    settings, seed = _settings(context)
    listed, pairs = run_rulers(output=options.output, options=settings, seed=seed, progress=progress())
    typer.echo(RULERS.shown(listed, "ruler steps size_low_b size_high_b models within same_harness tasks"))
    typer.echo(RULER_PAIRS.shown([pair for pair in pairs if pair["one_harness"]]))
    typer.echo(f"{len(pairs)} pairs, those of two harnesses too, are in {options.output / 'ruler_pairs.csv'}")


@dataclass(frozen=True, kw_only=True)
class NeededOptions:
    """The options of `sparsity-lab density needed`."""

    score: Annotated[float, Flag("Mean score, from 0 to 1.", WHAT)]
    dates: Annotated[str, Flag("Dates, separated by commas.", WHAT, shown="half-yearly")] = ""
    output: Output = Path("runs/density_needed")


@of_fields
def needed(context: typer.Context, options: NeededOptions) -> None:
    """Tabulate over time how many parameters a frontier model needs for one score."""
    from sparsity_lab.fitting.density.trend.corollaries import run_needed
    from sparsity_lab.store.table_columns.density import NEEDED

    days = [day_of(word, "--dates") for word in words_of(options.dates) or ()]
    settings, seed = _settings(context)
    rows = run_needed(options.score, dates=days, output=options.output, options=settings, seed=seed)
    typer.echo(NEEDED.shown(rows))


@dataclass(frozen=True, kw_only=True)
class CostOptions:
    """The options of `sparsity-lab density cost`."""

    prices: Annotated[Path, typer.Argument(help="CSV with model, release_date, price and score (0 to 1).")]
    score: Annotated[float, Flag("Score that a model must reach, from 0 to 1.", WHAT)]
    output: Output = Path("runs/density_cost")
    seed: Seed = 0


@of_fields
def cost(options: CostOptions) -> None:
    """Estimate how fast the lowest price of a given score falls."""
    from sparsity_lab.fitting.density.trend.corollaries import price_sentence, run_prices
    from sparsity_lab.store.table_columns.density import PRICES

    trend = run_prices(options.prices, score=options.score, output=options.output, seed=options.seed)
    typer.echo(PRICES.shown(trend.rows))
    typer.echo(price_sentence(trend))


@dataclass(frozen=True, kw_only=True)
class PlantedOptions:
    """The options of `sparsity-lab density planted`."""

    worlds: Annotated[int, Flag("Number of planted worlds.", WHAT)] = WORLDS
    kinds: Annotated[
        str,
        Flag(
            "Kinds of worlds, separated by commas: standard, coarse ruler, few models, 20 families, 10 families, "
            "growth stopped, Weibull ruler, Gompertz ruler, another corpus.",
            WHAT,
        ),
    ] = ",".join(WORLD_KINDS)
    output: Output = Path("runs/density_planted")
    seed: Seed = 0


@of_fields
def planted(options: PlantedOptions) -> None:
    """Count how often the stated intervals hold planted truths."""
    from sparsity_lab.bench.planted import run_planted
    from sparsity_lab.store.table_columns.bench import PLANTED

    rows = run_planted(
        output=options.output, worlds=options.worlds, kinds=words_of(options.kinds) or (), seed=options.seed,
        progress=progress(),
    )  # fmt: skip
    typer.echo(PLANTED.shown(rows))


def _settings(context: typer.Context) -> tuple[DensityOptions, int]:
    """What was given to `density` itself, before the subcommand."""
    return context.obj


def words_of(text: str) -> tuple[str, ...] | None:
    """Words with commas between; None for none."""
    return tuple(word.strip() for word in text.split(",") if word.strip()) or None


def day_of(text: str, flag: str) -> date:
    """An ISO date given with a flag."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SparsityLabError(f"{flag} {text!r} is no date", fix="Write it as 2022-11-30") from None
