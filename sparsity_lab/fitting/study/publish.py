"""Copies what a study leaves to be committed: report, tables, locks and main figures, but no checkpoint or record.

The copy keeps the study's layout, so that every lock finds its table. Sheets of single fits stay behind: they
are many and are drawn anew by the commands the study prints.
"""

from __future__ import annotations

from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.records import prepare_output, write_bytes, write_text

KEPT = (
    "study.json", "plots/*.png", "measure/*/table.csv", "measure/*/table.md", "compare/*",
    "fit/*/fits.csv", "fit/*/fits.json", "fit/*/families.*", "fit/*/provenance.json", "fit/*/locks/*.toml",
    "fit/*/plots/all.png", "width-depth/fits.*", "width-depth/locks/*.toml", "width-depth/plots/all.png",
    "loss/*/fits.*", "loss/*/locks/*.toml",
)  # fmt: skip


def publish(study: Path, folder: Path) -> int:
    """Copy a finished study's results; README.md is the report. Returns how many files there are.

    Raises:
        SparsityLabError: there is no report yet, or the folder cannot be written.
    """
    report = study / "report.md"
    if not report.exists():
        raise SparsityLabError(f"There is no {report}", fix="Run the study to its end first")
    prepare_output(folder)
    found = sorted(path for pattern in KEPT for path in study.glob(pattern) if path.is_file())
    for path in found:
        write_bytes(folder / path.relative_to(study), path.read_bytes())
    write_text(folder / "README.md", report.read_text(encoding="utf-8"))
    return len(found) + 1
