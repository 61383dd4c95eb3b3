"""`sparsity-lab check`: fails the build when a locked coefficient or prediction drifts."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from sparsity_lab.errors import SparsityLabError


class CheckForm(str, Enum):
    """How findings are printed."""

    table = "table"
    json = "json"
    markdown = "markdown"
    github = "github"


def command(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[LOCK]...",
            help="Locks, or folders with locks/*.toml below them.",
            show_default="results",
        ),
    ] = None,
    since: Annotated[
        Path | None, typer.Option(help="Ask whether this table's newer points lie in the locked laws' bands.")
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Refit and write the locks anew; refused under CI=true.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why the locks change; needed by --update.")] = None,
    form: Annotated[CheckForm, typer.Option("--format", help="How to print the findings.")] = CheckForm.table,
    unit: Annotated[
        list[str] | None,
        typer.Option(
            help="Unit of a column of the table of --since: tokens=1e9. Repeatable.", show_default=False
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write check.json, .csv and .md here too.")] = None,
) -> None:
    """Refit every locked input and compare: pass, drift, stale, missing or unidentified.

    Exits 0 when all pass, 1 on any finding, 2 on a mistake such as a lock that cannot be read.
    """
    from sparsity_lab.cli.console.progress import progress
    from sparsity_lab.fitting.locks import check, check_report

    chosen = paths or [Path("results")]
    if unit and since is None:
        raise SparsityLabError(
            "--unit does nothing without --since", fix="Leave it out, or name the newer table"
        )
    _refuse_idle(update=update, since=since, output=output, reason=reason)
    if update:
        _update(chosen, reason)
        return
    findings = (
        check.check(chosen, progress=progress())
        if since is None
        else check.since(chosen, since, unit=unit or ())
    )
    typer.echo(check_report.render(findings, form.value))
    if output is not None:
        check_report.write(findings, output)
    if any(finding.status != check.PASS for finding in findings):
        raise typer.Exit(1)


def _refuse_idle(*, update: bool, since: Path | None, output: Path | None, reason: str | None) -> None:
    """Options that would do nothing are refused."""
    idle = {"--since": since, "--output": output} if update else {"--reason": reason}
    for flag, value in idle.items():
        if value is not None:
            raise SparsityLabError(
                f"{flag} does nothing {'with' if update else 'without'} --update", fix=f"Leave {flag} out"
            )


def _update(paths: list[Path], reason: str | None) -> None:
    """Write locks anew and print what changes."""
    from sparsity_lab.fitting.locks import check, toml

    if os.environ.get("CI", "").lower() in {"true", "1"}:
        raise SparsityLabError(
            "check --update is refused under CI=true",
            why="A guard that rewrites its own locks guards nothing",
            fix="Update the locks on a machine of yours and commit them",
        )
    if not reason:
        raise SparsityLabError("check --update needs --reason", fix='Say why: --reason "..."')
    for path in toml.find(paths).paths:
        old, new = check.update(path, reason=reason)
        typer.echo("\n".join([str(path), *(f"  {line}" for line in check.differences(old, new))]))
