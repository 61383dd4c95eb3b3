"""The parts of a report about studies, what several runs say together, and reports that commands wrote as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sparsity_lab.fitting.page.blocks import Block, Fold, Section, Verbatim, table
from sparsity_lab.fitting.page.collect import Contents
from sparsity_lab.fitting.page.layout import figure, fold, rows_of

TABLES = {  # of a study's compare/: its title, and how to read it
    "summary": ("In short", "Counts of runs or comparisons whose 95 % interval decides."),
    "directions": ("Which way with data", "Slopes per factor e of tokens, with 95 % intervals."),
    "segments": ("Both rules, stretch by stretch", "Stretches are in tokens per parameter."),
    "equal_loss": ("All activations at equal loss", "At the lowest loss that all runs of one shape reached."),
    "versus": ("Pairs of activations at equal loss", "The second activation less the first, 95 % intervals."),
    "shapes": ("Against the width-depth ratio", "At the tokens that all shapes have seen."),
    "sizes": ("Values and limits, size by size", "Values at the tokens per parameter that all sizes have."),
    "against_size": ("Slopes against ln N", "Of values, and of limits that the data bound."),
}
FEW = 12  # rows and columns of a table that is shown without being opened
CAPTIONS = {
    "all_runs": "All runs under every rule",
    "two_rules": "The two rules along training",
    "width_depth": "Activation ratio against the width-depth ratio",
}
SCALE = ("activation", "runs", "a", "s", "low", "high", "p_value", "finding")
PAIR = ("parameters", "first", "second", "difference", "low", "high", "ratio")


def sections(contents: Contents) -> list[Section]:
    """Each study with its figures and tables, and its report as it was written."""
    studies = {path.parent: value for path, value in contents.named("study.json")}
    return [
        Section(name_of(study) or f"Study ({contents.place(folder)})", inside)
        for folder, study in studies.items()
        if (inside := (*_compared(contents, folder), *_written(contents, folder)))
    ]


def reports(contents: Contents) -> list[Section]:
    """Each report that a command other than `study` wrote, as it was written."""
    studies = {path.parent for path, _ in contents.named("study.json")}
    others = dict.fromkeys(path.parent for path in contents.texts if path.parent not in studies)
    return [
        Section(f"Report ({contents.place(folder)})", inside)
        for folder in others
        if (inside := tuple(_written(contents, folder)))
    ]


def tables(contents: Contents) -> list[Path]:
    """The tables that the sections of studies show."""
    paths = (
        path.parent / "compare" / f"{name}.csv" for path, _ in contents.named("study.json") for name in TABLES
    )
    return [path for path in paths if path in contents.csvs]


def name_of(study: Mapping[str, Any] | None) -> str | None:
    """A study's name by its study.json, or None."""
    ladder = study.get("ladder") if study else None
    return f"Study {ladder['name']}" if isinstance(ladder, dict) and "name" in ladder else None


def _compared(contents: Contents, folder: Path) -> Iterator[Block]:
    """Figures of a study, and what it compared."""
    for path in contents.figures:
        if path.parent == folder / "plots" and path.stem in CAPTIONS:
            yield figure(contents, path, CAPTIONS[path.stem])
    for name, (title, note) in TABLES.items():
        path = folder / "compare" / f"{name}.csv"
        if rows := rows_of(path) if path in contents.csvs else []:
            whole = table(title, rows, note=note, source=contents.relative(path))
            yield whole if max(len(rows), len(whole.columns)) <= FEW else fold(whole)


def _written(contents: Contents, folder: Path) -> Iterator[Block]:
    """Texts of a folder, each behind a line: what they say in tables and figures is on the page as well."""
    for path in contents.texts:
        if path.parent == folder and (text := _text(contents, path)):
            yield Fold(f"{path.name}, as it was written", (Verbatim(text),))


def _text(contents: Contents, path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        contents.unread.append((path, str(error)))
        return None


def families(contents: Contents) -> list[Section]:
    """What the runs of a table say together, quantity by quantity."""
    parts = []
    for path, value in contents.named("families.json"):
        for family in value.get("quantities", [value]):
            if inside := tuple(_family(family)):
                words = " ".join(family.get("quantity", []))
                title = f"What the runs say together{': ' if words else ''}{words}"
                parts.append(Section(f"{title} ({contents.place(path.parent)})", inside))
    return parts


def _family(family: Mapping[str, Any]) -> Iterator[Block]:
    if family["against_scale"]:
        note = "A0 = a + s ln N over limits bounded on both sides; N in parameters/1e9."
        yield table("Limits against parameters", family["against_scale"], SCALE, note=note)
    if family["width_depth"]:
        yield table("Limits against the width-depth ratio", [family["width_depth"]])
    if family["convergence"]:
        note = (
            "Change of the activation ratio per doubling of data, by the law; empty where there are no data."
        )
        rows = list(map(_speed, family["convergence"]))
        used = [name for name in rows[0] if any(row[name] is not None for row in rows)]
        yield table("Convergence", rows, used, note=note)
    if family["activations"]:
        yield table("Activations at equal parameters", family["activations"], PAIR, note="Second less first.")


def _speed(speed: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "series": speed["series"],
        **{f"at {mark:g} tokens per parameter": change for mark, change in speed["per_doubling"]},
        "tokens per parameter at the end": speed["end_tokens_per_parameter"],
        "left to the limit": speed["remaining"],
    }
