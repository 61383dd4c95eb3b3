"""`sparsity-lab fit`: laws, rivals, intervals, verdicts and plots from a table of points."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparsity_lab.cli.console.config import save_resolved
from sparsity_lab.cli.console.options import of_fields, refuse_idle
from sparsity_lab.cli.shared_options import FOLDER_HELP, Config
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.settings import AUTO, BOOTSTRAP, DELTA, EVEN, NOISES, OUTPUT, SPARE, TABLE, WHAT, Flag, Seed

if TYPE_CHECKING:
    from sparsity_lab.fitting.data.columns import Columns
    from sparsity_lab.fitting.result import FitResult
    from sparsity_lab.fitting.spec import FitSpec

PUBLISHED = "published"


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """The options of `sparsity-lab fit`."""

    table: Annotated[
        Path | None,
        typer.Argument(
            help="The table.csv of `measure`, or a CSV with series, tokens and activation_ratio.",
            show_default=False,
        ),
    ] = None
    data: Annotated[
        str | None,
        Flag(
            "A bundled table instead, fitted as its publication did, such as routed (see `ls data`).", TABLE
        ),
    ] = None
    law: Annotated[
        str, Flag("Id of a law (see `ls laws`), auto, or a formula in x or in the --inputs.", WHAT)
    ] = AUTO
    inputs: Annotated[
        str | None,
        Flag("Names of a formula's inputs and their columns.", WHAT, metavar="NAME=COLUMN,...", shown="x"),
    ] = None
    ranges: Annotated[
        tuple[str, ...],
        Flag(
            "Search range of a nonlinear coefficient of a formula, or of an exponent of a law. Repeatable.",
            WHAT,
            flags=("--range",),
            metavar="NAME=LOW:HIGH",
            shown="found from the formula and the data",
        ),
    ] = ()
    fix: Annotated[
        tuple[str, ...],
        Flag("Fix a coefficient of a formula at a number. Repeatable.", WHAT, metavar="NAME=NUMBER"),
    ] = ()
    tie: Annotated[
        tuple[str, ...],
        Flag("Make two coefficients of a formula equal. Repeatable.", WHAT, metavar="NAME=NAME"),
    ] = ()
    bound: Annotated[
        tuple[str, ...],
        Flag(
            "Bound a coefficient of a formula from below, from above or both. Repeatable.",
            WHAT,
            metavar="NAME=[LOW]:[HIGH]",
        ),
    ] = ()
    asymptote: Annotated[
        str | None,
        Flag(
            "Coefficient of a formula that is y's limit.",
            WHAT,
            metavar="NAME",
            shown="found from the formula",
        ),
    ] = None
    forward: Annotated[
        str | None,
        Flag(
            "Whether a formula's inputs rise as models grow, or fall as losses do.",
            WHAT,
            metavar="rising|falling",
        ),
    ] = None
    y_range: Annotated[
        str | None,
        Flag("Range to which y of a formula is confined by definition.", WHAT, metavar="[LOW]:[HIGH]"),
    ] = None
    rivals: Annotated[
        str | None, Flag("Laws to compare, separated by commas.", WHAT, shown="the activation-ratio laws")
    ] = None
    drop: Annotated[
        tuple[str, ...],
        Flag(
            "Number of leading points to leave out: N, SERIES=N (repeatable), auto, or published (bundled data).",
            WHAT,
            shown="0; published for --data sparsing-law",
        ),
    ] = ()
    bootstrap: Annotated[int, Flag("Number of bootstrap refits; 0 for none.")] = BOOTSTRAP
    spare: Annotated[
        int, Flag("Fewest points beyond the coefficients of the law; series with fewer are left out.")
    ] = SPARE
    seed: Seed = 0
    output: Annotated[
        Path | None, Flag(FOLDER_HELP, OUTPUT, flags=("--output", "-o"), shown="runs/fit-NAME")
    ] = None
    jobs: Annotated[int, Flag("Worker processes, 0 for one per core (does not affect results).")] = 0
    weighted: Annotated[bool, Flag("Weight points by 1/se^2.")] = False
    x: Annotated[str | None, Flag("Column of x; N,D for a law of two inputs.", TABLE)] = None
    y: Annotated[str | None, Flag("Column of y.", TABLE)] = None
    group: Annotated[
        str | None,
        Flag("Column that distinguishes series; of several inputs, names the run of a row.", TABLE),
    ] = None
    by: Annotated[
        str | None, Flag("Fit a law of its own to each value of this column (several inputs only).", TABLE)
    ] = None
    se: Annotated[str | None, Flag("Column of the standard errors of y.", TABLE)] = None
    exclude: Annotated[str | None, Flag("Column that is true in the rows to leave out.", TABLE)] = None
    holdout: Annotated[
        str | None, Flag("Hold out the rows with the largest values of this column, and predict them.", TABLE)
    ] = None
    robust: Annotated[bool, Flag("Minimize the sum of Huber losses on ln y.")] = False
    delta: Annotated[
        float, Flag("Residual at which the losses of --robust change from square to absolute.")
    ] = DELTA
    log_y: Annotated[bool, Flag("Minimize the sum of squares of ln y.")] = False
    noise: Annotated[
        str,
        Flag("Noise is even, or its variance is a power of the curve.", metavar="even|power", choices=NOISES),
    ] = EVEN
    reach: Annotated[
        tuple[float, ...],
        Flag("Report the x at which y reaches this value; a ratio as a fraction. Repeatable.", WHAT),
    ] = ()
    unit: Annotated[
        tuple[str, ...],
        Flag(
            "Unit of a column: tokens=1e9, params=1e6, activation_ratio=percent, loss=bits. Repeatable.",
            TABLE,
            metavar="COLUMN=UNIT",
            shown="as the column's name says",
        ),
    ] = ()
    lock: Annotated[
        str | None, Flag("Lock these fits for `check`, and state why.", OUTPUT, metavar="REASON")
    ] = None
    follow: Annotated[
        bool,
        Flag("With --lock: the table may be measured again, and only drift beyond noise counts.", OUTPUT),
    ] = False
    plots: Annotated[bool, Flag("Draw figures.", OUTPUT)] = True
    strict: Annotated[bool, Flag("Exit with code 1 if a fit is not identified.", OUTPUT)] = False
    config: Config = None

    def spec(self) -> FitSpec:
        """What to fit to each series, and how."""
        from sparsity_lab.fitting.spec import FitSpec

        settings = self._settings()
        if not settings.get("robust"):
            refuse_idle(self, "delta", because="without --robust", fix="Leave it out, or add --robust")
        return FitSpec(**{name: value for name, value in settings.items() if name in _names(FitSpec)})

    def columns(self) -> Columns:
        """Which columns of the table are read."""
        from sparsity_lab.fitting.data.columns import Columns

        columns = Columns(
            **{name: value for name, value in self._settings().items() if name in _names(Columns)}
        )
        if columns.several and columns.y is None:
            columns = replace(columns, y="loss")
        idle = ("reach",) if columns.several else ("by",)
        inputs = "several inputs" if columns.several else "one input, whose series --group tells apart"
        refuse_idle(self, *idle, because=f"for a law of {inputs}", fix="Leave it out")
        return columns

    def _settings(self) -> dict[str, Any]:
        """Settings of `FitSpec` and `Columns` by name: those asked for, and those of a bundled table's publication."""
        from sparsity_lab.fitting.data.columns import Columns
        from sparsity_lab.fitting.reproduce import published
        from sparsity_lab.fitting.spec import FitSpec

        rivals = None if self.rivals is None else tuple(word.strip() for word in self.rivals.split(","))
        said = {
            "law": self.law_text(), "rivals": rivals, "weighted": self.weighted, "robust": self.robust,
            "delta": self.delta, "log": self.log_y, "noise": self.noise, "draws": self.bootstrap,
            "spare": self.spare, "reach": self.reach, "seed": self.seed, "x": self._inputs(), "y": self.y,
            "group": self.group, "se": self.se, "exclude": self.exclude, "by": self.by,
            "unit": self.unit, "holdout": self.holdout,
        }  # fmt: skip
        usual = {field.name: field.default for field in (*fields(FitSpec), *fields(Columns))}
        asked = {name: value for name, value in said.items() if value != usual[name]}
        return published.as_published(self.data or "", {**asked, **_drops(self.drop)})

    def law_text(self) -> str:
        """The law and all that is said of it."""
        from sparsity_lab.fitting.laws_by_name import LawWords

        said = (self.ranges, self.fix, self.tie, self.bound, self.asymptote, self.forward, self.y_range)
        return LawWords(self.inputs_and_columns()[0], *said).text(self.law)

    def inputs_and_columns(self) -> tuple[tuple[str, ...], str | None]:
        """Names of a formula's inputs, none where they are not given, and the columns of x."""
        from sparsity_lab.fitting.laws_by_name import is_formula

        if self.inputs is None:
            names = tuple((self.x or "").split(","))
            typed = len(names) > 1 and is_formula(self.law) and all(map(str.isidentifier, names))
            return names if typed else (), self.x
        pairs = [pair.partition("=") for pair in self.inputs.split(",")]
        if self.x is not None or not all(name.strip() and column for name, _, column in pairs):
            raise SparsityLabError(
                f"--inputs {self.inputs!r} does not name the columns of x",
                why="--x names them as well" if self.x is not None else "Each input has a name and a column",
                fix="Write --inputs N=params,D=tokens and no --x",
            )
        return tuple(name.strip() for name, _, _ in pairs), ",".join(column for _, _, column in pairs)

    def _inputs(self) -> tuple[str, ...]:
        """The columns of x; one such as `tokens (1,000,000)` is not taken for several."""
        from sparsity_lab.reading.csv_file import read_csv

        columns = self.inputs_and_columns()[1]
        if columns is None:
            return ()
        whole = "," not in columns or (self.table is not None and columns in read_csv(self.table)[0])
        return (columns,) if whole else tuple(columns.split(","))


@of_fields
def command(options: FitOptions) -> None:
    """Fit laws to every series of a table, or one of several inputs to its runs; write JSON, CSV, Markdown, plots."""
    from sparsity_lab.cli.console.progress import progress
    from sparsity_lab.fitting.fit_table import fit_table
    from sparsity_lab.fitting.judge.verdict import NOT

    source = _source(options.table, options.data)
    if options.lock is None:
        refuse_idle(options, "follow", because="without --lock", fix="Leave it out, or say why with --lock")
    elif not options.lock.strip():
        raise SparsityLabError("--lock needs a reason", fix='Say why these numbers hold: --lock "..."')
    folder = options.output or Path("runs") / f"fit-{options.data or Path(source).stem}"
    results = fit_table(
        source, output=folder, spec=options.spec(), mapping=options.columns(), lock=options.lock,
        follow=options.follow, plots=options.plots, jobs=options.jobs, progress=progress(),
    )  # fmt: skip
    for result in results:
        typer.echo(f"{result.name}: {_sentence(result)}")
    save_resolved(options, folder)
    typer.echo(f"Written to {folder}")
    if options.strict and any(result.verdict.word == NOT for result in results):
        raise typer.Exit(1)


def _sentence(result: FitResult) -> str:
    """The verdict in a line; the best rival first where the law cannot describe the points."""
    from sparsity_lab.fitting.report.text import derived_number

    if not result.describes:
        best = result.comparison.best_by_aicc
        return f"best by AICc is {best}; {result.verdict.word}: {result.verdict.reason}"
    words = (
        f"{result.law.name}, {result.verdict.word}{f' ({bound})' if (bound := result.verdict.bound) else ''}"
    )
    words += "".join(f"; {name} {derived_number(result, name)}" for name in result.derived)
    if result.series.inputs == 1:
        return words
    values = ", ".join(f"{name} = {value:.5g}" for name, value in result.values.items())
    return f"{words}: {values}; {result.objective} = {result.solution.objective:.6g}"


def _source(table: Path | None, data: str | None) -> Path | str:
    from sparsity_lab.fitting.reproduce import published
    from sparsity_lab.store import bundled

    if (table is None) == (data is None):
        raise SparsityLabError(
            "Name one table",
            why="fit takes a CSV, or a bundled table by --data, not both",
            fix="Write fit TABLE, or fit --data sparsing-law",
        )
    if data is not None:
        return published.points_of(data)
    assert table is not None
    if bundled.table(table) != table:
        return str(table)
    if table.is_dir():
        inside = table / "table.csv"
        raise SparsityLabError(
            f"{table} is a folder, fit takes one table",
            fix=f"Name {inside}" if inside.is_file() else "Name the CSV of points in it",
        )
    return table


def _drops(words: tuple[str, ...]) -> dict[str, Any]:
    """Leading points to drop, and why, as settings; none where nothing is said of them."""
    from sparsity_lab.fitting.reproduce import published

    if not words:
        return {}
    if words == (PUBLISHED,):
        return {"drop": published.drops(), "drop_rule": published.DROP_RULE}
    if words == (AUTO,):
        return {"drop": AUTO}
    if len(words) == 1 and "=" not in words[0]:
        return {"drop": _count(words[0])}
    pairs = [word.rpartition("=") for word in words]
    return {"drop": {name: _count(count) for name, _, count in pairs}}


def _names(of: type) -> set[str]:
    return {field.name for field in fields(of)}


def _count(text: str) -> int:
    if not text.isdecimal():
        raise SparsityLabError(
            f"--drop {text!r} is not a number of points", fix="Give N, SERIES=N, auto or published"
        )
    return int(text)
