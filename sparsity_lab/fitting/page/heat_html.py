"""Heat maps as HTML: a text whose tokens are colored, a map of layers and tokens, and strips in tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from sparsity_lab.fitting.page.parts.heat import STEPS, means, ratios, step
from sparsity_lab.store.tables import number

ROW_HEIGHT = 10  # of the map, in its own units; tokens are one unit wide


def strip(values: Sequence[float], top: float) -> str:
    """Layers as a strip of colors; the values as its label."""
    if not values:
        return ""
    cells = _cells([[value] for value in values], low=0.0, high=top, height=1)
    label = ", ".join(number(value, 3) for value in values)
    box = f'viewBox="0 0 {len(values)} 1" preserveAspectRatio="none"'
    return f'<svg class="strip" {box} role="img" aria-label="{label}"><title>{label}</title>{cells}</svg>'


def token_heat(data: Mapping[str, Any]) -> str:
    """The text, its layers on request, and the map of all layers."""
    values = means(data)
    low, high = min(values), max(values)
    tokens = "".join(_token(t, text, step(value, low, high))
                     for t, (text, value) in enumerate(zip(data["tokens"], values, strict=True)))  # fmt: skip
    options = "".join(f'<option value="{i}">layer {i}</option>' for i in range(len(data["sizes"])))
    choice = (
        f'<label>Colour by <select disabled><option value="all">all layers</option>{options}</select></label>'
    )
    return (
        f'<div class="heat"><div class="heat-controls">{choice}{_legend(low, high, "low", "high")}</div>'
        f'<div class="tokens" role="listbox" aria-label="Tokens by activation ratio">{tokens}</div>'
        '<div class="layers" aria-live="polite"><p>No token chosen yet.</p></div>'
        f"{_map(data)}</div>"
    )


def _token(position: int, text: str, colour: int) -> str:
    """One token; a line end is shown as a sign before it ends the line."""
    seen = escape(text).replace("\n", "↵\n")
    focus = 0 if position == 0 else -1
    return (
        f'<span class="token h{colour}" role="option" aria-selected="false" tabindex="{focus}">{seen}</span>'
    )


def _legend(low: float, high: float, low_class: str = "", high_class: str = "") -> str:
    colours = "".join(f'<i class="h{i}"></i>' for i in range(STEPS))
    return (
        f'<span class="legend">ratio <span class="{low_class}">{number(low, 3)}</span>{colours}'
        f'<span class="{high_class}">{number(high, 3)}</span></span>'
    )


def _map(data: Mapping[str, Any]) -> str:
    """Layers downward, tokens across; one path a color keeps it small."""
    rows = ratios(data)
    flat = [value for row in rows for value in row]
    low, high = min(flat), max(flat)
    cells = _cells(rows, low=low, high=high, height=ROW_HEIGHT)
    layers = len(data["sizes"])
    box = f'viewBox="0 0 {len(rows)} {ROW_HEIGHT * layers}" preserveAspectRatio="none"'
    label = (
        f"Activation ratio of {layers} layers over {len(rows)} tokens, {number(low, 3)} to {number(high, 3)}"
    )
    return (
        f'<div class="map"><div class="rows"><span>layer 0</span><span>layer {layers - 1}</span></div>'
        f'<svg {box} height="{max(14 * layers, 60)}" role="img" aria-label="{label}">{cells}</svg>'
        f"<span></span><span>tokens, first to last &nbsp; {_legend(low, high)}</span></div>"
    )


def _cells(rows: Sequence[Sequence[float]], *, low: float, high: float, height: int) -> str:
    """Squares of a map, one path a color: values [across][down]."""
    paths: list[list[str]] = [[] for _ in range(STEPS)]
    for across, row in enumerate(rows):
        for down, value in enumerate(row):
            paths[step(value, low, high)].append(f"M{across} {height * down}h1v{height}h-1z")
    return "".join(f'<path class="h{i}" d="{"".join(part)}"/>' for i, part in enumerate(paths) if part)
