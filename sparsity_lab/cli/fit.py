"""`sparsity-lab fit`: laws, rivals, intervals, verdicts and plots from a table of points."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparsity_lab.cli.console.config import Config, save_resolved
from sparsity_lab.errors import SparsityLabError

if TYPE_CHECKING:
    from sparsity_lab.fitting.data.columns import Columns
    from sparsity_lab.fitting.result import FitResult
    from sparsity_lab.fitting.spec import FitSpec

PUBLISHED, AUTO = "published", "auto"

Table = Annotated[
    Path | None,
    typer.Argument(
        help="measure's table.csv, or a CSV with series, tokens and activation_ratio.", show_default=False
    ),
]
Data = Annotated[
    str | None, typer.Option(help="A bundled table instead: sparsing-law or chinchilla.", show_default=False)
]
LawName = Annotated[str, typer.Option(help="A law's id (sparsity-lab ls laws), auto, or a formula in x.")]
Ranges = Annotated[
    list[str] | None,
    typer.Option("--range", help="Search range of a formula's nonlinear coefficient, NAME=LOW:HIGH."),
]
Rivals = Annotated[
    str | None,
    typer.Option(help="Laws compared, with commas.", show_default="the activation-ratio laws"),
]
Drop = Annotated[
    list[str] | None,
    typer.Option(
        help="Leading points to leave out: N, SERIES=N (repeatable), auto, or published (bundled data).",
        show_default="0; published for --data sparsing-law",
    ),
]
Draws = Annotated[int, typer.Option(min=0, help="Bootstrap refits; 0 for none.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the search grid and the bootstrap.")]
Output = Annotated[Path | None, typer.Option(help="Folder to write to.", show_default="runs/fit-NAME")]
Jobs = Annotated[
    int, typer.Option(min=0, help="Worker processes; 0 for one a core. The numbers do not change.")
]
Weighted = Annotated[bool, typer.Option("--weighted", help="Weight points by 1/se^2.")]
X = Annotated[
    str | None,
    typer.Option(help="Column of x, for any CSV; N,D for a law of two inputs.", show_default=False),
]
Y = Annotated[str | None, typer.Option(help="Column of y, for any CSV.", show_default=False)]
Group = Annotated[
    str | None, typer.Option(help="Column that tells series (or runs) apart.", show_default=False)
]
Se = Annotated[str | None, typer.Option(help="Column of y's standard errors.", show_default=False)]
Exclude = Annotated[
    str | None,
    typer.Option(help="Column that is true in rows to leave out (several inputs).", show_default=False),
]
Robust = Annotated[bool, typer.Option("--robust", help="Sum of Huber losses on ln y (several inputs).")]
Reach = Annotated[
    list[float] | None,
    typer.Option(help="A value of y, a ratio as a fraction: at which x is it reached? Repeatable."),
]
Units = Annotated[
    list[str] | None,
    typer.Option(
        "--unit",
        help="Unit of a column: tokens=1e9, params=1e6, activation_ratio=percent, loss=bits. Repeatable.",
        show_default="as the column's name says",
    ),
]
Lock = Annotated[str | None, typer.Option(metavar="REASON", help="Lock these fits for `check`, and say why.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit 1 where a fit is not identified.")]


def command(
    context: typer.Context,
    table: Table = None,
    data: Data = None,
    law: LawName = AUTO,
    ranges: Ranges = None,
    rivals: Rivals = None,
    drop: Drop = None,
    bootstrap: Draws = 400,
    seed: Seed = 0,
    output: Output = None,
    jobs: Jobs = 0,
    weighted: Weighted = False,
    x: X = None,
    y: Y = None,
    group: Group = None,
    se: Se = None,
    exclude: Exclude = None,
    robust: Robust = False,
    reach: Reach = None,
    unit: Units = None,
    lock: Lock = None,
    strict: Strict = False,
    config: Config = None,
) -> None:
    """Fit activation-ratio laws to every series of a table; write JSON, CSV, Markdown and plots."""
    source = _source(table, data)
    if lock is not None and not lock.strip():
        raise SparsityLabError("--lock needs a reason", fix='Say why these numbers hold: --lock "..."')
    folder = output or Path("runs") / f"fit-{data or Path(source).stem}"
    if _is_several(x, source) or data == "chinchilla":
        if rivals is not None:
            raise SparsityLabError("--rivals does nothing for a law of several inputs", fix="Leave it out")
        doubtful = _several_inputs(source, folder, law=law, x=x, y=y, group=group, exclude=exclude, robust=robust,
                                   draws=bootstrap, seed=seed, lock=lock, unit=unit or [])  # fmt: skip
    else:
        from sparsity_lab.fitting.data.columns import Columns
        from sparsity_lab.fitting.spec import RIVALS, FitSpec

        drops, rule = _drops(drop, data)
        name = "; ".join([law, *(ranges or [])])
        compared = RIVALS if rivals is None else tuple(word.strip() for word in rivals.split(","))
        spec = FitSpec(law=name, rivals=compared, drop=drops, drop_rule=rule, weighted=weighted, draws=bootstrap,
                       reach=tuple(reach or ()), seed=seed)  # fmt: skip
        doubtful = _each_series(
            source,
            folder,
            spec=spec,
            columns=Columns(x, y, group, se, tuple(unit or ())),
            lock=lock,
            jobs=jobs,
        )
    save_resolved(context, folder)
    typer.echo(f"Written to {folder}")
    if strict and doubtful:
        raise typer.Exit(1)


def _is_several(x: str | None, source: Path | str) -> bool:
    """Whether --x names several columns, rather than one such as `tokens (1,000,000)`."""
    from sparsity_lab.reading.csv_file import read_csv

    return "," in (x or "") and not (isinstance(source, Path) and x in read_csv(source)[0])


def _each_series(
    source: Path | str, folder: Path, *, spec: FitSpec, columns: Columns, lock: str | None, jobs: int
) -> bool:
    """Fit a law of one input to each series; whether any is not identified."""
    from sparsity_lab.cli.console.progress import progress
    from sparsity_lab.fitting.fit_table import fit_table
    from sparsity_lab.fitting.judge.verdict import NOT

    results = fit_table(
        source, output=folder, spec=spec, mapping=columns, lock=lock, jobs=jobs, progress=progress()
    )
    for result in results:
        typer.echo(f"{result.series.name}: {_said(result)}")
    return any(result.verdict.word == NOT for result in results)


def _said(result: FitResult) -> str:
    """The verdict in a line; the best rival first where the law cannot describe the points."""
    if not result.describes:
        best = result.comparison.best_by_aicc
        return f"best by AICc is {best}; {result.verdict.word}: {result.verdict.reason}"
    bound = f" ({result.verdict.bound})" if result.verdict.bound else ""
    return f"{result.law.name}, {result.verdict.word}{bound}"


def _several_inputs(
    source: Path | str, folder: Path, *, law: str, x: str | None, y: str | None, group: str | None,
    exclude: str | None, robust: bool, draws: int, seed: int, lock: str | None, unit: list[str],
) -> bool:  # fmt: skip
    """Fit a law of several inputs, whether it is not identified; the bundled Chinchilla points know their columns."""
    from sparsity_lab.cli.console.progress import progress
    from sparsity_lab.fitting.judge.verdict import NOT
    from sparsity_lab.fitting.ladders.runs import LadderColumns
    from sparsity_lab.fitting.ladders.runs_table import LadderSpec, fit_ladder_table

    known = source == "chinchilla"
    result = fit_ladder_table(
        source,
        LadderColumns(
            x=tuple((x or "params,tokens").split(",")),
            y=y or "loss",
            group=group,
            exclude=exclude or ("epoch_excluded" if known else None),
            unit=tuple(unit),
        ),
        LadderSpec(law="loss-power" if law == AUTO else law, huber=robust or known, draws=draws, seed=seed),
        output=folder,
        lock=lock,
        progress=progress(),
    )
    if not result.verdict.describes:
        typer.echo(f"{result.verdict.word}: {result.verdict.reason}")
        return True
    values = ", ".join(f"{name} = {value:.5g}" for name, (value, _, _) in result.coefficients.items())
    bound = f" ({result.verdict.bound})" if result.verdict.bound else ""
    typer.echo(f"{result.law.name}, {result.verdict.word}{bound}: {values}; "
               f"{result.objective_name} = {result.objective:.6g}")  # fmt: skip
    return result.verdict.word == NOT


def _source(table: Path | None, data: str | None) -> Path | str:
    from sparsity_lab.store import bundled

    if (table is None) == (data is None):
        raise SparsityLabError(
            "Name one table",
            why="fit takes a CSV, or a bundled table by --data, not both",
            fix="Write fit TABLE, or fit --data sparsing-law",
        )
    if data is not None:
        bundled.path(data)
        return data
    assert table is not None
    if table.is_dir():
        inside = table / "table.csv"
        raise SparsityLabError(
            f"{table} is a folder, fit takes one table",
            fix=f"Name {inside}" if inside.is_file() else "Name the CSV of points in it",
        )
    return table


def _drops(words: list[str] | None, data: str | None) -> tuple[int | str | dict[str, int], str]:
    """Leading points to drop, and why."""
    from sparsity_lab.fitting.reproduce import published

    if not words:
        words = [PUBLISHED] if data == "sparsing-law" else ["0"]
    if words == [PUBLISHED]:
        return published.drops(), "the number with which the published row reproduces"
    if words == [AUTO]:
        return AUTO, ""
    if len(words) == 1 and "=" not in words[0]:
        return _count(words[0]), "as asked for"
    pairs = [word.rpartition("=") for word in words]
    return {name: _count(count) for name, _, count in pairs}, "as asked for"


def _count(text: str) -> int:
    if not text.isdecimal():
        raise SparsityLabError(
            f"--drop {text!r} is no count of points", fix="Give N, SERIES=N, auto or published"
        )
    return int(text)
