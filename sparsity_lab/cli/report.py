"""`sparsity-lab report`: one page of everything a folder holds, or its tables as Markdown or LaTeX."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sparsity_lab.cli.console.options import of_fields
from sparsity_lab.labels import counted
from sparsity_lab.settings import OUTPUT, Flag


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """The options of `sparsity-lab report`."""

    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Folder written by measure, fit, study, density, eval or heat."),
    ]
    output: Annotated[
        Path | None,
        Flag(
            "File for the report, or a folder for it; created if missing.",
            OUTPUT,
            flags=("--output", "-o"),
            shown="DIR/report.html, tables.md or .tex",
        ),
    ] = None
    form: Annotated[
        str,
        Flag(
            "html for one page; md or tex for its tables, in LaTeX with booktabs.",
            OUTPUT,
            flags=("--format",),
            choices=("html", "md", "tex"),
        ),
    ] = "html"


@of_fields
def command(options: ReportOptions) -> None:
    """Report everything under DIR on one self-contained page that opens without a network.

    The page shows records with their provenance and fits with their honesty sheets. Every table is sortable and every
    figure is embedded. The exit code is 1 if a file could not be read; the page names it.
    """
    from sparsity_lab.fitting.page.write import write_report

    written = write_report(options.folder, output=options.output, form=options.form)
    records = f"{written.records} record{'' if written.records == 1 else 's'}"
    typer.echo(f"Written to {written.path} ({written.bytes:,} bytes, {records})")
    if written.unread:
        typer.echo(f"{counted(len(written.unread), 'file')} could not be read; the report names them")
        raise typer.Exit(1)
