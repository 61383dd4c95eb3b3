"""The Markdown this package writes, as blocks: headings, paragraphs, lists, tables and pictures; no other."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from sparsity_lab.fitting.page.blocks import Block, Column, Figure, Heading, Prose, Table
from sparsity_lab.fitting.page.cells import NUMBER

PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
LINK = re.compile(r"\[([^\]]+)\]\([^)\s]+\)")
CELL = re.compile(r"(?<!\\)\|")


def blocks(text: str, *, folder: Path) -> list[Block]:
    """Blocks of a Markdown text; pictures are looked for beside it, the vector one before the other."""
    return [block for part in _parts(text) for block in _block(part, folder)]


def _parts(text: str) -> Iterator[list[str]]:
    """Runs of lines of one kind, without the empty lines between them."""
    part: list[str] = []
    kind = ""
    for line in [*text.splitlines(), ""]:
        found = _kind(line, before=kind)
        if part and (found != kind or kind == "heading"):
            yield part
            part = []
        kind = found
        if kind:
            part.append(line)


def _kind(line: str, *, before: str) -> str:
    if not line.strip():
        return ""
    for start, kind in (("#", "heading"), ("|", "table"), ("![", "picture")):
        if line.startswith(start):
            return kind
    if re.match(r"\s*- ", line):
        return "list"
    return "code" if line.startswith("    ") and before != "list" else before if before == "list" else "text"


def _block(lines: Sequence[str], folder: Path) -> list[Block]:
    kind = _kind(lines[0], before="")
    if kind == "heading":
        return [Heading(lines[0].lstrip("# "))]
    if kind == "table":
        return [_table(lines)]
    if kind == "picture":
        return [one for line in lines for one in _pictures(line, folder)]
    if kind == "list":
        return [Prose(tuple(_items(lines)), listed=True)]
    return [Prose((_linked(" ".join(line.strip() for line in lines)),))]


def _items(lines: Sequence[str]) -> list[str]:
    """Items of a list, each with the lines that go on with it."""
    found: list[str] = []
    for line in lines:
        if re.match(r"\s*- ", line) or not found:
            found.append(_linked(line.strip().removeprefix("- ")))
        else:
            found[-1] += " " + _linked(line.strip())
    return found


def _linked(text: str) -> str:
    """Links as the name of what they lead to: a page that may be moved keeps no addresses."""
    return LINK.sub(lambda found: f"`{found[1]}`", text)


def _pictures(line: str, folder: Path) -> Iterator[Figure]:
    for caption, target in PICTURE.findall(line):
        path = folder / target
        inside = Path(os.path.realpath(folder)) in Path(os.path.realpath(path)).parents
        for one in (path.with_suffix(".svg"), path):
            if inside and one.is_file():
                yield Figure(one, caption)
                break


def _table(lines: Sequence[str]) -> Table:
    cells = [[cell.strip().replace("\\|", "|") for cell in CELL.split(line.strip())[1:-1]] for line in lines]
    head, body = cells[0], [row for row in cells[1:] if not all(re.fullmatch(r":?-+:?", c) for c in row)]
    columns = tuple(Column(str(i), name) for i, name in enumerate(head))
    rows = tuple({str(i): _value(cell) for i, cell in enumerate(row)} for row in body)
    return Table("", columns, rows)


def _value(cell: str) -> object:
    """A cell as a number where it is one, so that it sorts as one."""
    bare = cell.replace(",", "") if re.fullmatch(r"-?\d{1,3}(,\d{3})+", cell) else cell
    if not NUMBER.fullmatch(bare):
        return cell or None
    return int(bare) if re.fullmatch(r"-?\d+", bare) else float(bare)
