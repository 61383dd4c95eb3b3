"""The parts of a report about density, lm-eval scores, neurons and everything else that is a table or a figure."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.page.blocks import Block, Facts, Figure, Fold, Heading, Section, table
from sparsity_lab.fitting.page.cells import shown, whole
from sparsity_lab.fitting.page.collect import Contents
from sparsity_lab.fitting.page.layout import HEAT, command_sections, figure, provenance_of, tables_of
from sparsity_lab.fitting.page.parts.measured import holds
from sparsity_lab.store.tables import interval, is_number

WHOLE_FOLDERS = ("density.json", "neurons.json", "structure.json", "predictors.json", "affinity.json")
WHOLE_TABLES = (*WHOLE_FOLDERS, "fits.json", "eval.json")


def density(contents: Contents) -> list[Section]:
    """Density studies: ruler, trend, every model."""
    return command_sections(contents, "Density", "density.json", _density)


def neurons(contents: Contents) -> list[Section]:
    """What the neurons do: the command's own tables and figures."""
    return command_sections(contents, "Neurons", "neurons.json", lambda folder, value: ((), ()))


def scores(contents: Contents) -> list[Section]:
    """lm-eval scores, dense and under thresholds."""
    return [
        Section(f"Evaluation ({contents.place(path.parent)})",
                (table("Scores", value["rows"], source=contents.relative(path)),
                 *provenance_of(value.get("provenance"))))
        for path, value in contents.named("eval.json") if value.get("rows")
    ]  # fmt: skip


def rest(contents: Contents, sections: Iterable[Section], *, shown_tables: Collection[Path]) -> list[Section]:
    """Tables and figures of all folders that no other part shows; `sections` are those of the other parts."""
    shown_figures = figures_of(sections)
    figures = [path for path in _left(contents, contents.figures, WHOLE_FOLDERS) if path not in shown_figures]
    csvs = [
        path
        for path in _left(contents, contents.csvs, WHOLE_TABLES)
        if path not in shown_tables and not _is_shown(contents, path)
    ]
    blocks: list[Block] = []
    for folder in sorted({path.parent for path in (*csvs, *figures)}):
        pictures = [figure(contents, path) for path in figures if path.parent == folder]
        inside = [*pictures, *tables_of(contents, [path for path in csvs if path.parent == folder])]
        blocks += [Heading(contents.place(folder)), *inside] if inside else []
    return [Section("More tables and figures", tuple(blocks))] if blocks else []


def _left(contents: Contents, paths: Iterable[Path], documents: Sequence[str]) -> list[Path]:
    """The paths that lie in no folder which a part shows whole, as those of some documents are."""
    whole_folders = {path.parent for name in documents for path, _ in contents.named(name)}
    return [path for path in paths if path.parent not in whole_folders and path.stem != HEAT]


def figures_of(sections: Iterable[Section]) -> set[Path]:
    """The files of all figures that sections show."""
    return {path for section in sections for path in _figures(section.blocks)}


def _figures(blocks: Iterable[Block]) -> Iterator[Path]:
    for block in blocks:
        if isinstance(block, Figure):
            yield block.path
        elif isinstance(block, Fold):
            yield from _figures(block.blocks)


def _is_shown(contents: Contents, csv: Path) -> bool:
    try:
        return holds(contents, csv)
    except SparsityLabError:
        return False  # said where the table is read


def _density(folder: Path, value: Mapping[str, Any]) -> tuple[list[str], list[Block]]:
    ruler = value.get("ruler") or {}
    facts = [("Ruler", f"{ruler.get('name')}, {ruler.get('form')}"), ("Why this ruler", ruler.get("why")),
             ("Tasks", ", ".join(value.get("tasks") or [])), ("Parameters", value.get("params")),
             ("Scores", ruler.get("harness")), ("Source", ruler.get("source")),
             ("Interval level", value.get("interval_level")), ("Seed", value.get("seed"))]  # fmt: skip
    return [trend(value)], [
        Facts(tuple((name, shown(fact)) for name, fact in facts if fact not in (None, "")))
    ]


def trend(value: Mapping[str, Any]) -> str:
    """The frontier's growth in one sentence."""
    line = value.get("trend")
    if not isinstance(line, Mapping):
        return str(value.get("trend_note") or "No trend over time.")
    low, high = (
        "open" if line.get(key) is None else whole(line[key], 3)
        for key in ("doubling_days_low", "doubling_days_high")
    )
    growth = interval(line.get("A_corrected"), line.get("A_low"), line.get("A_high"))
    days, uncorrected = _corrected_days(line), line.get("doubling_days")
    doubles = f"doubles every {whole(days, 3)} days" if days else "does not grow"
    return (
        f"The frontier's density {doubles} (95 % {low} to {high}), corrected for the bias of records; "
        f"ln rho_max = A t + B, A {growth} per day, over {len(line.get('frontier') or [])} frontier models "
        f"of {line.get('models')}. Uncorrected, by least squares over the frontier: "
        f"{whole(uncorrected, 3) + ' days' if uncorrected else 'no growth'}{_published(line)}."
    )


def _corrected_days(line: Mapping[str, Any]) -> float | None:
    """ln 2 over the corrected growth, as every density.json has it; None where there is no growth."""
    growth = line.get("A_corrected")
    return math.log(2) / growth if is_number(growth) and growth > 0 else None


def _published(line: Mapping[str, Any]) -> str:
    found = [whole(entry["doubling_days"], 3) for entry in line.get("published") or []]
    return f"; published: {' to '.join(found)} days" if found else ""
