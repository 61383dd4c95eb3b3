"""`sparsity-lab report`: one page of everything a folder holds, or its tables as Markdown or LaTeX."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class ReportForm(str, Enum):
    """What to write."""

    html = "html"
    md = "md"
    tex = "tex"


def command(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="What measure, fit, study, density, eval or heat wrote.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File or folder to write to.",
            show_default="DIR/report.html, tables.md or .tex",
        ),
    ] = None,
    form: Annotated[
        ReportForm,
        typer.Option("--format", help="html: one page. md, tex: its tables, in LaTeX with booktabs."),
    ] = ReportForm.html,
) -> None:
    """Report everything under DIR on one self-contained page that opens without a network.

    Records with their provenance, fits with their honesty sheets, every table sortable, every figure inside.
    Exits 1 where a file could not be read; the page names it.
    """
    from sparsity_lab.fitting.page.write import write_report

    written = write_report(folder, output=output, form=form.value)
    typer.echo(f"Written to {written.path} ({written.bytes:,} bytes, {written.records} records)")
    if written.unread:
        typer.echo(f"{len(written.unread)} file(s) could not be read; the report names them")
        raise typer.Exit(1)
