"""The first part of a report: what there is, what was found, and what could not be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sparsity_lab.fitting.page.blocks import Block, Facts, Heading, Section, table
from sparsity_lab.fitting.page.cells import whole
from sparsity_lab.fitting.page.collect import Contents
from sparsity_lab.fitting.page.parts import fits
from sparsity_lab.fitting.page.parts.measured import failed_rows, name_of
from sparsity_lab.fitting.page.parts.others import trend

WATCHED = {"Neurons": "neurons.json", "Structure": "structure.json", "Predictors": "predictors.json",
           "Decoding": "affinity.json"}  # fmt: skip
MOST_NAMED = 10  # folders left out
VERDICTS = ("identified", "weakly identified", "not identified")


def section(contents: Contents) -> Section:
    """The summary."""
    pairs = [
        *_measured(contents.records.values()),
        *_fitted(contents),
        *_density(contents),
        *_scored(contents),
        *_watched(contents),
    ]
    if failed := failed_rows(contents):
        count = _count({name_of(row) for row in failed}, "checkpoint")
        pairs.append(("Failed", f"{count}, with the reasons under Measured"))
    if contents.left_out:
        pairs.append(("Folders left out", _left_out(contents)))
    blocks: list[Block] = [Facts(tuple(pairs))] if pairs else []
    if contents.records:
        blocks.append(_by_quantity(list(contents.records.values())))
    if contents.unread:
        rows = [{"file": contents.relative(path), "why": why} for path, why in dict.fromkeys(contents.unread)]
        blocks += [Heading("Files that could not be read"), table("Files left out of this report", rows)]
    return Section("Summary", tuple(blocks))


def _left_out(contents: Contents) -> str:
    """The folders that were not read on purpose, the first of them with the reason."""
    named = [f"{contents.relative(entry.path)} ({entry.why})" for entry in contents.left_out[:MOST_NAMED]]
    more = len(contents.left_out) - len(named)
    return "; ".join([*named, *([f"{more} more"] if more else [])])


def _measured(records: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    rows = list(records)
    if not rows:
        return []
    ratios = [row["activation_ratio"] for row in rows if row.get("activation_ratio") is not None]
    flags = Counter(flag for row in rows for flag in row.get("flags") or [])
    flagged = ", ".join(f"{count} {flag}" for flag, count in sorted(flags.items())) or "none"
    models, series = ({str(row.get(key)) for row in rows} for key in ("model", "series"))
    count = f"{len(rows)} records of {len(models)} checkpoints in {len(series)} series"
    return [
        ("Measured", count),
        ("Activation ratios", f"{whole(min(ratios), 4)} to {whole(max(ratios), 4)}" if ratios else "none"),
        ("Flags", flagged),
    ]


def _by_quantity(records: list[Mapping[str, Any]]) -> Block:
    """Range of the ratios by criterion and rule: they are different quantities."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in records:
        groups.setdefault((str(row.get("criterion")), str(row.get("rule"))), []).append(row)
    rows = [_range(key, group) for key, group in sorted(groups.items())]
    return table("Measured, by criterion and rule", rows)


def _range(key: tuple[str, str], group: list[Mapping[str, Any]]) -> dict[str, Any]:
    ratios = [row["activation_ratio"] for row in group]
    return {
        "criterion": key[0], "rule": key[1], "records": len(group), "lowest ratio": min(ratios),
        "highest ratio": max(ratios), "flagged": sum(bool(row.get("flags")) for row in group),
    }  # fmt: skip


def _fitted(contents: Contents) -> list[tuple[str, str]]:
    entries = fits.entries(contents)
    if not entries:
        return []
    counts = Counter(str(entry.get("verdict")) for entry in entries)
    words = [*VERDICTS, *sorted(set(counts) - set(VERDICTS))]
    return [
        ("Fits", f"{len(entries)}: " + ", ".join(f"{counts[word]} {word}" for word in words if counts[word]))
    ]


def _density(contents: Contents) -> list[tuple[str, str]]:
    return [("Density", trend(value)) for _, value in contents.named("density.json")]


def _scored(contents: Contents) -> list[tuple[str, str]]:
    return [
        ("Evaluated", f"{len(value['rows'])} settings ({contents.place(path.parent)})")
        for path, value in contents.named("eval.json")
        if value.get("rows")
    ]


def _watched(contents: Contents) -> list[tuple[str, str]]:
    """Checkpoints and texts whose neurons were watched, by command."""
    facts = []
    for title, name in WATCHED.items():
        parts = []
        for path, value in contents.named(name):
            rows = value.get("rows") or value.get("affinity") or []
            models, texts = ({str(row.get(key)) for row in rows} for key in ("name", "text"))
            if rows:
                count = f"{_count(models, 'checkpoint')} on {_count(texts, 'text')}"
                parts.append(f"{count} ({contents.place(path.parent)})")
        facts += [(title, "; ".join(parts))] if parts else []
    return facts


def _count(names: set[str], kind: str) -> str:
    return f"{len(names)} {kind}{'' if len(names) == 1 else 's'}"
