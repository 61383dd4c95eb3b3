"""A report as one HTML page that needs no network: every text escaped, every figure an image, one script of ours.

Figures are `<img>` elements with `data:` addresses. In an image a browser runs no script of an SVG and fetches nothing
for it, whoever wrote the file; the page's policy allows images from `data:` alone.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from string import Template
from typing import Any

from sparsity_lab.fitting.page import heat_html
from sparsity_lab.fitting.page.blocks import (
    MANY_COLUMNS,
    Block,
    Facts,
    Figure,
    Fold,
    Heading,
    Prose,
    Report,
    Table,
    TokenHeat,
    Verbatim,
)
from sparsity_lab.fitting.page.cells import shown
from sparsity_lab.store.columns import Column
from sparsity_lab.store.records import RECORD_KEYS
from sparsity_lab.store.tables import is_number
from sparsity_lab.store.whole_files import encoded

logger = logging.getLogger(__name__)
HERE = Path(__file__).parent
PAGE_BYTES = 9_500_000  # figures beyond it are named instead of shown
IMAGES = {".svg": "image/svg+xml", ".png": "image/png"}
ONE_LINE = 34  # letters of a cell that is not broken


def page(report: Report) -> str:
    """The page; figures take what room everything else leaves."""
    bare = _rendered(report, _Page(room_bytes=0))
    return _rendered(report, _Page(room_bytes=max(PAGE_BYTES - len(encoded(bare)), 0)))


def _rendered(report: Report, renderer: _Page) -> str:
    numbered = list(enumerate(report.sections, start=1))
    body = "".join(renderer.section(i, section.title, section.blocks) for i, section in numbered)
    style, script = ((HERE / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    links = (f'<li><a href="#s{i}">{escape(section.title)}</a></li>' for i, section in numbered)
    data = {
        "records": report.records,
        "keys": RECORD_KEYS,
        "heats": [_heat_data(heat) for heat in renderer.heats],
    }
    return Template((HERE / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape(report.title),
        subtitle=escape(report.subtitle),
        contents="".join(links),
        body=body,
        footer=escape(renderer.farewell()),
        data=json_in_html(data),
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def json_in_html(value: object) -> str:
    """JSON that is safe inside a script element: no character of it can end the element or open a comment."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    marks = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
    return re.sub("[<>&\u2028\u2029]", lambda mark: marks[mark[0]], text)


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(encoded(text)).digest()).decode()


def _heat_data(heat: TokenHeat) -> dict[str, Any]:
    data = heat.data
    return {key: data[key] for key in ("tokens", "sizes", "active")} | {"loss": data["loss_sparse_nats"]}


def _marked(text: str) -> str:
    """Escaped text with `**bold**` and backquotes made visible."""
    clean = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escape(text))
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", clean)


class _Page:
    """Renders blocks and keeps what they share: the room left for figures, those left out, token heat maps."""

    def __init__(self, *, room_bytes: int) -> None:
        self.room_bytes = room_bytes
        self.heats: list[TokenHeat] = []
        self.left_out: list[str] = []

    def section(self, number: int, title: str, blocks: Sequence[Block]) -> str:
        """A chapter under its anchor."""
        return f'<section id="s{number}"><h2>{escape(title)}</h2>{self.blocks(blocks)}</section>'

    def blocks(self, blocks: Sequence[Block]) -> str:
        """Blocks one after another; consecutive figures are placed side by side where there is room."""
        parts = []
        for is_figure, group in groupby(blocks, key=lambda block: isinstance(block, Figure)):
            inside = "".join(self.block(block) for block in group)
            parts.append(f'<div class="pictures">{inside}</div>' if is_figure else inside)
        return "".join(parts)

    def block(self, block: Block) -> str:
        """Any block."""
        if isinstance(block, Table):
            return table(block)
        if isinstance(block, Figure):
            return self.figure(block)
        if isinstance(block, Fold):
            return self.fold(block)
        if isinstance(block, TokenHeat):
            self.heats.append(block)
            return heat_html.token_heat(block.data)
        return _text(block)

    def fold(self, fold: Fold) -> str:
        """Blocks behind a line."""
        kind = re.sub(r"[^a-z]", "", fold.badge.split(" ")[0]) if fold.badge else ""
        badge = f'<span class="badge {kind}">{escape(fold.badge)}</span>' if fold.badge else ""
        state = " open" if fold.open else ""
        head = f"<summary>{escape(fold.title)}{badge}</summary>"
        return f"<details{state}>{head}{self.blocks(fold.blocks)}</details>"

    def figure(self, figure: Figure) -> str:
        """A figure with its caption; one that is too large for the page, or cannot be read, is named instead."""
        if not self.room_bytes:
            return ""
        try:
            image = _image(figure)
        except OSError as error:
            logger.warning("figure %s left out: %s", figure.path, error)
            return f'<p class="note">The figure {escape(figure.path.name)} could not be read.</p>'
        if len(image) > self.room_bytes:
            self.left_out.append(figure.path.name)
            return (
                f'<p class="note">{escape(figure.caption)}: see the file, the page would grow too large.</p>'
            )
        self.room_bytes -= len(image)
        return f'<figure class="picture">{image}<figcaption>{escape(figure.caption)}</figcaption></figure>'

    def farewell(self) -> str:
        """The last line: what was left out for its size."""
        if not self.left_out:
            return "Made by sparsity-lab report. This page needs no network."
        return f"Left out for their size: {len(self.left_out)} figures, among them {self.left_out[0]}."


def _image(figure: Figure) -> str:
    """A figure's file as an image of the page; its caption is what a screen reader says."""
    data = base64.b64encode(figure.path.read_bytes()).decode()
    source = f"data:{IMAGES[figure.path.suffix]};base64,{data}"
    return f'<img class="drawn" alt="{escape(figure.caption)}" src="{source}">'


def _text(block: Heading | Facts | Prose | Verbatim) -> str:
    if isinstance(block, Verbatim):
        return f'<pre class="scroll" tabindex="0">{escape(block.text)}</pre>'
    if isinstance(block, Heading):
        return f"<h3>{_marked(block.text)}</h3>"
    if isinstance(block, Facts):
        pairs = (f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in block.pairs)
        return f'<dl class="facts">{"".join(pairs)}</dl>'
    if block.listed:
        return f"<ul>{''.join(f'<li>{_marked(text)}</li>' for text in block.texts)}</ul>"
    return "".join(f"<p>{_marked(text)}</p>" for text in block.texts)


def table(block: Table) -> str:
    """A table; the page's script makes it sortable."""
    numeric = [_is_numeric(block, column) for column in block.columns]
    wide = " wide" if len(block.columns) >= MANY_COLUMNS else ""
    columns = list(zip(block.columns, numeric, strict=True))
    head = "".join(f'<th scope="col"{_n(n)}>{escape(c.heading)}</th>' for c, n in columns)
    top = {c.key: _largest(block, c) for c in block.columns if c.format == "strip"}
    rows = "".join(f"<tr>{''.join(_cell(row, c, n, top) for c, n in columns)}</tr>" for row in block.rows)
    caption = f"<figcaption>{_marked(block.title)}</figcaption>"
    note = f'<p class="note">{_marked(block.notes)}</p>' if block.notes else ""
    region = f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(block.title or "table")}">'
    body = f'<table class="sortable"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<figure class="table{wide}">{caption}{region}{body}</div>{note}</figure>'


def _n(numeric: bool) -> str:
    return ' class="n"' if numeric else ""


def _is_numeric(block: Table, column: Column) -> bool:
    values = [row.get(column.key) for row in block.rows]
    filled = [value for value in values if value is not None]
    return column.format in ("value", "ratio") and bool(filled) and all(is_number(value) for value in filled)


def _largest(block: Table, column: Column) -> float:
    return max((value for row in block.rows for value in row.get(column.key) or []), default=0.0)


def _cell(row: Mapping[str, Any], column: Column, numeric: bool, top: Mapping[str, float]) -> str:
    value = row.get(column.key)
    if column.format == "strip":
        mean = f' data-v="{sum(value) / len(value)!r}"' if value else ""
        return f"<td{mean}>{heat_html.strip(value or [], top[column.key])}</td>"
    text = shown(value, column.format)
    exact = f' data-v="{value!r}"' if is_number(value) and repr(value) != text else ""
    whole = f' title="{escape(value)}"' if isinstance(value, str) and text != value else ""
    record = f' data-record="{escape(str(row.get("content_key")))}"' if column.format == "record" else ""
    kind = _n(numeric) or (' class="w"' if len(text) > ONE_LINE else "")
    return f"<td{kind}{exact}{whole}{record}>{_marked(text)}</td>"
