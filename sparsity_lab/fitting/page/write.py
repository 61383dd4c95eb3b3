"""From a folder to a report: reads what other commands wrote there and writes one file."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from sparsity_lab import __version__
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.page import export, html
from sparsity_lab.fitting.page.blocks import Report
from sparsity_lab.fitting.page.collect import Contents, find
from sparsity_lab.fitting.page.parts import (
    affinity,
    criteria,
    fits,
    heat,
    measured,
    others,
    predictors,
    structure,
    study,
    summary,
    transfer,
)
from sparsity_lab.store.records import no_empty_folders, prepare_output, write_text

logger = logging.getLogger(__name__)
# What the sections of a page raise over a file that is in another shape than a command writes it.
MISSHAPEN = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError)
NAMES = {"html": "report.html", "md": "tables.md", "tex": "tables.tex"}


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        path: of the file. records: how many it holds. unread: files that could not be read.
        bytes: size of the file.
    """

    path: Path
    records: int
    unread: tuple[tuple[Path, str], ...]
    bytes: int


def write_report(folder: Path, *, output: Path | None = None, form: str = "html") -> Written:
    """Report everything a folder holds.

    Args:
        folder: what `--output` of measure, fit, study or another command was, or a folder of such.
        output: a file with the format's ending, or a folder; `folder` itself where left out.
        form: `html` for one page, `md` or `tex` for its tables.

    Raises:
        SparsityLabError: no such folder, nothing in it, an unknown format, or the file cannot be written.
    """
    if form not in NAMES:
        raise SparsityLabError(f"There is no format {form!r}", fix=f"Use one of {', '.join(NAMES)}")
    contents = find(folder)
    path = goal(folder, output=output, form=form)
    with no_empty_folders(path.parent):
        prepare_output(path.parent)
        contents, text = _rendered(contents, form)
        write_text(path, text)
    unread = tuple(dict.fromkeys(contents.unread))
    return Written(path, len(contents.records), unread, path.stat().st_size)


def _rendered(contents: Contents, form: str) -> tuple[Contents, str]:
    """The text of a report, and what it is of: files in a shape that no command writes are left out and named."""
    try:
        return contents, _text(contents, form)
    except MISSHAPEN:
        faults = {path: why for path in contents.files() if (why := _fault(contents.of([path]), form))}
        if not faults:
            raise
        kept = contents.of([path for path in contents.files() if path not in faults])
        for path, why in faults.items():
            logger.warning("%s left out: %s", path, why)
            kept.unread.append((path, why))
        return kept, _text(kept, form)


def _fault(contents: Contents, form: str) -> str | None:
    """Why a report cannot be made of some files, or None."""
    try:
        _text(contents, form)
    except MISSHAPEN as error:
        return f"it is not in the shape in which a command writes it ({type(error).__name__}: {error})"[:200]
    return None


def _text(contents: Contents, form: str) -> str:
    writers = {"html": html.page, "md": export.markdown, "tex": export.latex}
    return writers[form](report_of(contents))


def goal(folder: Path, *, output: Path | None, form: str) -> Path:
    """Where the report goes.

    Raises:
        SparsityLabError: a file name with the ending of another format.
    """
    if output is None:
        return folder / NAMES[form]
    endings = {f".{ending}" for ending in NAMES} | {".htm", ".markdown"}
    if output.suffix in endings and not output.is_dir():
        if output.suffix.removeprefix(".")[:3] != form[:3] and not (
            form == "md" and output.suffix == ".markdown"
        ):
            raise SparsityLabError(
                f"--output {output} does not end like --format {form}", fix=f"Name it .{form}"
            )
        return output
    return output / NAMES[form]


def report_of(contents: Contents) -> Report:
    """The report of what was found, part by part."""
    parts = [
        *study.sections(contents), measured.section(contents), *criteria.sections(contents),
        *transfer.sections(contents), fits.section(contents), *study.families(contents),
        *others.density(contents), *others.scores(contents),
        *others.neurons(contents), *structure.sections(contents), *predictors.sections(contents),
        *affinity.sections(contents), heat.section(contents), *study.reports(contents),
    ]  # fmt: skip
    sections = [section for section in parts if section is not None]
    shown_tables = [*criteria.tables(contents), *transfer.tables(contents), *study.tables(contents)]
    sections += others.rest(contents, sections, shown_tables=shown_tables)
    # The summary comes first and is made last: by then it is known which files could not be read.
    name = contents.root.resolve().name
    when = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return Report(
        title=study.name_of(contents.documents.get(contents.root / "study.json")) or name,
        subtitle=f"{_kinds(contents)} under {name}; sparsity-lab {__version__}, {when}",
        sections=(summary.section(contents), *sections),
        records=contents.records,
    )


def _kinds(contents: Contents) -> str:
    """What there is, counted."""
    counts = Counter(
        {
            "records": len(contents.records),
            "fits": len(fits.entries(contents)),
            "figures": len(contents.figures),
        }
    )
    return (
        ", ".join(f"{count} {kind[: -1 if count == 1 else None]}" for kind, count in counts.items() if count)
        or "Tables"
    )
