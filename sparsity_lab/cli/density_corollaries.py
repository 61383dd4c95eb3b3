"""Commands of `sparsity-lab density`: what follows from a trend, and whether its intervals hold."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparsity_lab.cli.console.progress import progress
from sparsity_lab.errors import SparsityLabError

if TYPE_CHECKING:
    from sparsity_lab.fitting.density.options import DensityOptions

Output = Annotated[Path, typer.Option("--output", "-o", help="Where to write; made if it is not there.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of all resampling.")]


def pairs(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Option("--pairs", help="CSV with model, source, method; by default the bundled one."),
    ] = None,
    output: Output = Path("runs/density_pairs"),
) -> None:
    """Compressed models against their sources; options of `density` go before the word pairs."""
    from sparsity_lab.fitting.density.trend.corollaries import COMPARED_COLUMNS, run_pairs

    _print_rows(
        run_pairs(file, output=output, options=_options(context)[0], seed=_options(context)[1]),
        COMPARED_COLUMNS,
    )


def needed(
    context: typer.Context,
    score: Annotated[float, typer.Option("--score", min=0, max=1, help="Mean score, 0 to 1.")],
    dates: Annotated[
        str, typer.Option("--dates", help="Dates with commas between; by default half-yearly.")
    ] = "",
    output: Output = Path("runs/density_needed"),
) -> None:
    """Parameters a frontier model needs for one score over time."""
    from sparsity_lab.fitting.density.trend.corollaries import NEEDED_COLUMNS, run_needed

    days = [day_of(word, "--dates") for word in words_of(dates) or ()]
    options, seed = _options(context)
    _print_rows(run_needed(score, dates=days, output=output, options=options, seed=seed), NEEDED_COLUMNS)


def cost(
    prices: Annotated[Path, typer.Argument(help="CSV with model, release_date, price, score (0 to 1).")],
    score: Annotated[float, typer.Option("--score", min=0, max=1, help="Score a model must reach, 0 to 1.")],
    output: Output = Path("runs/density_cost"),
    seed: Seed = 0,
) -> None:
    """How fast the cheapest price of a given score falls."""
    from sparsity_lab.fitting.density.trend.corollaries import PRICE_COLUMNS, price_sentence, run_prices

    found = run_prices(prices, score=score, output=output, seed=seed)
    _print_rows(found.rows, PRICE_COLUMNS)
    typer.echo(price_sentence(found))


def planted(
    worlds: Annotated[int, typer.Option("--worlds", min=20, help="How many planted worlds.")] = 200,
    kinds: Annotated[
        str,
        typer.Option(
            "--kinds", help="Kinds of worlds with commas between: standard, coarse ruler, few models."
        ),
    ] = "standard",
    output: Output = Path("runs/density_planted"),
    seed: Seed = 0,
) -> None:
    """Count how often the stated intervals hold planted truths."""
    from sparsity_lab.bench.planted import COLUMNS, run_planted

    report = run_planted(
        output=output, worlds=worlds, kinds=words_of(kinds) or (), seed=seed, progress=progress()
    )
    _print_rows(report.rows, COLUMNS)


def _print_rows(rows: object, columns: dict[str, str]) -> None:
    from sparsity_lab.store.tables import to_markdown

    typer.echo(to_markdown(rows, columns))  # type: ignore[arg-type]


def _options(context: typer.Context) -> tuple[DensityOptions, int]:
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
