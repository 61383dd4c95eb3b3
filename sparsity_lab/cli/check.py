"""`sparsity-lab check`: fails the build when a locked coefficient or prediction drifts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sparsity_lab.cli.console.options import of_fields, refuse_idle
from sparsity_lab.cli.shared_options import FOLDER_HELP
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.settings import OUTPUT, TABLE, WHAT, Flag


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """The options of `sparsity-lab check`."""

    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[LOCK]...",
            help="Locks, or folders with locks/*.toml below them.",
            show_default="results",
        ),
    ] = None
    since: Annotated[
        Path | None,
        Flag("Check whether this table's newer points lie in the bands of the locked laws.", WHAT),
    ] = None
    update: Annotated[bool, Flag("Refit and rewrite the locks; refused under CI=true.", WHAT)] = False
    reason: Annotated[
        str | None, Flag("Why the locks change; required by --update.", WHAT, metavar="REASON")
    ] = None
    unit: Annotated[
        tuple[str, ...],
        Flag(
            "Unit of a column of the table of --since, such as tokens=1e9. Repeatable.",
            TABLE,
            metavar="COLUMN=UNIT",
        ),
    ] = ()
    form: Annotated[
        str,
        Flag(
            "How to print the findings.",
            OUTPUT,
            flags=("--format",),
            choices=("table", "json", "markdown", "github"),
        ),
    ] = "table"
    output: Annotated[
        Path | None, Flag(f"{FOLDER_HELP} Left out, they are only printed.", OUTPUT, flags=("--output", "-o"))
    ] = None


@of_fields
def command(options: CheckOptions) -> None:
    """Refit every locked input and compare: pass, drift, stale, missing or unidentified.

    The exit code is 0 when all pass, 1 on any finding, and 2 on an error such as a lock that cannot be read.
    """
    from sparsity_lab.cli.console.progress import progress
    from sparsity_lab.fitting.locks import check, check_report
    from sparsity_lab.fitting.locks.since import since as newer

    paths, since = options.paths or [Path("results")], options.since
    if since is None:
        refuse_idle(options, "unit", because="without --since", fix="Leave it out, or name the newer table")
    if options.update:
        refuse_idle(options, "since", "output", because="with --update", fix="Leave it out")
        _update(paths, options.reason)
        return
    refuse_idle(options, "reason", because="without --update", fix="Leave it out")
    findings = (
        check.check(paths, progress=progress()) if since is None else newer(paths, since, unit=options.unit)
    )
    typer.echo(check_report.render(findings, options.form))
    if options.output is not None:
        check_report.write(findings, options.output)
    if any(finding.status != check.PASS for finding in findings):
        raise typer.Exit(1)


def _update(paths: list[Path], reason: str | None) -> None:
    """Refit the locks, rewrite them and print what changes."""
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
