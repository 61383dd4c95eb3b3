"""Findings of `check` as a table, JSON, Markdown or GitHub annotations."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from sparsity_lab.fitting.locks.check import PASS, UNSEARCHED, Finding
from sparsity_lab.store.records import prepare_output, write_json, write_text
from sparsity_lab.store.tables import to_csv, to_markdown

COLUMNS = ("status", "series", "lock", "details")


def render(findings: Sequence[Finding], form: str) -> str:
    """The findings as a table, json, markdown or github, without a last line feed."""
    if form == "json":
        return json.dumps(_rows(findings), indent=1, ensure_ascii=False)
    if form == "markdown":
        return to_markdown(_rows(findings), COLUMNS).rstrip("\n")
    lines = [_annotation(one) for one in findings] if form == "github" else [_line(one) for one in findings]
    return "\n".join([*(line for line in lines if line), summary(findings)])


def summary(findings: Sequence[Finding]) -> str:
    """How many locks have which status."""
    counts: dict[str, int] = {}
    for one in findings:
        counts[one.status] = counts.get(one.status, 0) + 1
    locks = sum(count for status, count in counts.items() if status != UNSEARCHED)
    return f"{locks} locks: " + ", ".join(f"{n} {status}" for status, n in sorted(counts.items()))


def write(findings: Sequence[Finding], folder: Path) -> None:
    """Write check.json, check.csv and check.md."""
    prepare_output(folder)
    rows = _rows(findings)
    write_json(folder / "check.json", rows)
    write_text(folder / "check.csv", to_csv(rows, list(COLUMNS)))
    write_text(folder / "check.md", to_markdown(rows, COLUMNS))


def _rows(findings: Sequence[Finding]) -> list[dict[str, str]]:
    return [
        {"status": f.status, "series": f.series, "lock": _shown(f.lock), "details": "; ".join(f.details)}
        for f in findings
    ]


def _line(finding: Finding) -> str:
    head = f"{finding.status:<12} {finding.series:<16} {_shown(finding.lock)}"
    return "\n".join([head, *(f"             {detail}" for detail in finding.details)])


def _annotation(finding: Finding) -> str:
    """A workflow command; a pass needs no annotation."""
    if finding.status == PASS:
        return ""
    text = "; ".join(finding.details).replace("%", "%25").replace("\n", "%0A")
    title = f"{finding.series}: {finding.status}".replace(",", " ").replace(":", "%3A")
    return f"::error file={_shown(finding.lock)},title={title}::{text}"


def _shown(path: str) -> str:
    """The path as seen from the working directory, where it lies below it."""
    relative = os.path.relpath(path)
    return Path(path).as_posix() if relative.startswith("..") else Path(relative).as_posix()
