"""Copies what a study leaves to be committed: report, tables, locks and main figures, but no checkpoint or record.

The copy keeps the study's layout, so that every lock finds its table. Sheets of single fits stay behind: they
are many and can be drawn again by the commands the study prints.
"""

from __future__ import annotations

from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.store.records import prepare_output, write_bytes, write_text

KEPT = (
    "study.json", "plots/*.png", "measure/*/table.csv", "measure/*/table.md", "compare/*",
    "fit/*/fits.csv", "fit/*/fits.json", "fit/*/families.*", "fit/*/provenance.json", "fit/*/locks/*",
    "fit/*/plots/all.png", "width-depth/fits.*", "width-depth/locks/*", "width-depth/plots/all.png",
    "loss/*/fits.*", "loss/*/locks/*",
)  # fmt: skip


def publish(study: Path, folder: Path) -> int:
    """Copy a finished study's results; README.md is the report. Returns how many files there are.

    What an earlier publication of a study left in the folder and this one does not have is removed: its locks would
    guard fits that are gone.

    Raises:
        SparsityLabError: there is no report yet, or the folder cannot be written.
    """
    report = study / "report.md"
    if not report.exists():
        raise SparsityLabError(f"There is no {report}", fix="Run the study to its end first")
    prepare_output(folder)
    names = _kept(study)
    left = _kept(folder) - names if (folder / "study.json").exists() else set()
    for name in sorted(names):
        write_bytes(folder / name, (study / name).read_bytes())
    write_text(folder / "README.md", report.read_text(encoding="utf-8"))
    for name in left:
        (folder / name).unlink()
    return len(names) + 1


def _kept(folder: Path) -> set[Path]:
    """Files below a folder that a publication is made of."""
    return {path.relative_to(folder) for pattern in KEPT for path in folder.glob(pattern) if path.is_file()}
