"""The parts of a report about density, lm-eval scores, neurons and everything else that is a table or a figure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.page import prose
from sparsity_lab.fitting.page.blocks import (
    Block,
    Facts,
    Figure,
    Fold,
    Heading,
    Prose,
    Section,
    Table,
    table,
    without_constants,
)
from sparsity_lab.fitting.page.cells import interval, read_csv, shown, whole
from sparsity_lab.fitting.page.collect import Found
from sparsity_lab.fitting.page.parts.measured import holds

MOST_ROWS = 1000
HEAT = "token_heat"  # its table and figure are of the same numbers as the part about tokens
OWN_FOLDERS = ("density.json", "neurons.json", "structure.json", "predictors.json", "affinity.json")
SHORT = 12  # rows of a table that stands open


def written(found: Found) -> list[Section]:
    """Reports other commands wrote for readers: the study's, the demo's, what runs say together."""
    sections = []
    for path in found.texts:
        text = _text(found, path)
        if text is None:
            continue
        blocks = prose.blocks(text, folder=path.parent)
        first = blocks[0] if blocks and isinstance(blocks[0], Heading) else None
        title = first.text if first else path.stem
        place = f" ({found.place(path.parent)})" if path.name == "families.md" else ""
        named = _named(blocks[1:] if first else blocks)
        sections.append(Section(title + place, tuple(named)))
    return sections


def density(found: Found) -> list[Section]:
    """Density studies: ruler, trend, every model."""
    return [
        Section("Density" if path.parent == found.root else f"Density ({found.relative(path.parent)})",
                (*_density(value), *folder_blocks(found, path.parent)))
        for path, value in found.named("density.json") if isinstance(value, dict)
    ]  # fmt: skip


def scores(found: Found) -> list[Section]:
    """lm-eval scores, dense and under thresholds."""
    sections = []
    for path, value in found.named("eval.json"):
        rows = value.get("rows") if isinstance(value, dict) else None
        if rows:
            blocks: tuple[Block, ...] = (table("Scores", rows, source=found.relative(path)),)
            origin = _origin(value.get("provenance"))
            sections.append(Section(f"Evaluation ({found.place(path.parent)})", (*blocks, *origin)))
    return sections


def neurons(found: Found) -> list[Section]:
    """What the neurons do: the command's own tables and figures."""
    return [
        Section(f"Neurons ({found.place(path.parent)})", (*blocks, *origin_of(value)))
        for path, value in found.named("neurons.json")
        if (blocks := folder_blocks(found, path.parent))
    ]


def rest(found: Found, shown_figures: set[Path], *, shown_tables: Collection[Path] = ()) -> list[Section]:
    """Tables and figures of all folders that no other part shows."""
    told = {path.parent for name in OWN_FOLDERS for path, _ in found.named(name)}
    quiet = {path.parent for name in ("fits.json", "eval.json") for path, _ in found.named(name)}
    csvs = [one for one in found.csvs if one.parent not in told | quiet and not _is_shown(found, one)]
    csvs = [one for one in csvs if one.stem != HEAT and one not in shown_tables]
    figures = [o for o in found.figures if o not in shown_figures and o.parent not in told and o.stem != HEAT]
    blocks: list[Block] = []
    for folder in sorted({one.parent for one in (*csvs, *figures)}):
        own = list(_blocks(found, csvs, figures, folder))
        blocks += [Heading(found.place(folder)), *own] if own else []
    return [Section("More tables and figures", tuple(blocks))] if blocks else []


def folder_blocks(found: Found, folder: Path) -> list[Block]:
    """Figures, then tables of one folder and those inside it."""
    inside = [one for one in found.csvs if folder in one.parents and one.stem != HEAT]
    pictures = [one for one in found.figures if folder in one.parents and one.stem != HEAT]
    return list(_blocks(found, inside, pictures, None))


def figures_of(sections: Iterable[Section]) -> set[Path]:
    """The files of all figures that sections show."""
    return {path for section in sections for path in _figures(section.blocks)}


def _figures(blocks: Iterable[Block]) -> Iterable[Path]:
    for block in blocks:
        if isinstance(block, Figure):
            yield block.path
        elif isinstance(block, Fold):
            yield from _figures(block.blocks)


def _is_shown(found: Found, csv: Path) -> bool:
    try:
        return holds(found, csv)
    except SparsityLabError:
        return False  # said where the table is read


def _text(found: Found, path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found.unread.append((path, str(error)))
        return None


def _named(blocks: Iterable[Block]) -> list[Block]:
    """Tables of a text under the last heading before them, so that they can be cited alone."""
    named: list[Block] = []
    last = ""
    for block in blocks:
        if isinstance(block, Heading):
            last = block.text
        named.append(replace(block, title=last, titled_above=True) if isinstance(block, Table) else block)
    return named


def _blocks(
    found: Found, csvs: Iterable[Path], figures: Iterable[Path], folder: Path | None
) -> Iterable[Block]:
    for path in figures:
        if folder in (None, path.parent):
            yield Figure(path, f"{path.stem.replace('_', ' ')} ({found.relative(path)})")
    for path in csvs:
        if folder in (None, path.parent) and (one := _table(found, path)) is not None:
            yield one if len(one.rows) <= SHORT else Fold(one.title, (one,), badge=f"{len(one.rows)} rows")


def _table(found: Found, path: Path) -> Table | None:
    """A CSV as a table; a very long one by its first rows, which is said."""
    try:
        header, rows = read_csv(path)
    except SparsityLabError as error:
        found.unread.append((path, error.why or error.what))
        return None
    note = (
        f"The first {MOST_ROWS:,} of {len(rows):,} rows; all are in the file."
        if len(rows) > MOST_ROWS
        else ""
    )
    title = path.stem.replace("_", " ").replace("-", " ")
    made = table(title, rows[:MOST_ROWS], header, note=note, source=found.relative(path))
    return without_constants(made) if header else None


def _density(value: Mapping[str, Any]) -> list[Block]:
    ruler = value.get("ruler") or {}
    facts = [("Ruler", f"{ruler.get('name')}, {ruler.get('form')}"), ("Why this ruler", ruler.get("why")),
             ("Tasks", ", ".join(value.get("tasks") or [])), ("Parameters", value.get("params")),
             ("Scores", ruler.get("harness")), ("Source", ruler.get("source")),
             ("Interval level", value.get("interval_level")), ("Seed", value.get("seed"))]  # fmt: skip
    pairs = tuple((name, shown(one)) for name, one in facts if one not in (None, ""))
    return [Prose((trend(value),)), Facts(pairs), *_origin(value.get("provenance"))]


def trend(value: Mapping[str, Any]) -> str:
    """The frontier's growth in one sentence."""
    one = value.get("trend")
    if not isinstance(one, Mapping):
        return str(value.get("trend_note") or "No trend over time.")
    ends = f"95 % {whole(one.get('doubling_days_low'), 3)} to {whole(one.get('doubling_days_high'), 3)}"
    growth = interval(one.get("A_per_day"), one.get("A_low"), one.get("A_high"))
    return (
        f"The frontier's density doubles every {whole(one.get('doubling_days'), 3)} days ({ends}); "
        f"ln rho_max = A t + B, A {growth} per day, over {len(one.get('frontier') or [])} frontier models "
        f"of {one.get('models')}."
    )


def origin_of(value: object) -> list[Block]:
    """The provenance of a document, behind a line."""
    return _origin(value.get("provenance")) if isinstance(value, Mapping) else []


def _origin(own: object) -> list[Block]:
    if not isinstance(own, Mapping):
        return []
    pairs = tuple((str(key), shown(value)) for key, value in own.items())
    return [Fold("Provenance", (Facts(pairs),))]
