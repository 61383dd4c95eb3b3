"""The figure of a token heat map: the text colored by how many neurons each token needs, above layers by tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from sparsity_lab.fitting.page.parts.heat import means, ratios
from sparsity_lab.fitting.plots.canvas import style

WIDTH_INCHES = 7.0
LINE_INCHES = 0.17
FONT_SIZE = 7.5
MAP = "Blues"  # one hue, pale to strong
MAP_INCHES = 1.15


def draw_heat(data: Mapping[str, Any], *, output: Path) -> list[Path]:
    """Draw a token heat map into `output/token_heat.png` and `.svg`.

    Args:
        data: what `token_heat.json` holds.
        output: a folder.
    """
    with style.styled(data["tokens"]):
        tokens = [_drawn(token) for token in data["tokens"]]
        places, lines = _places(tokens, WIDTH_INCHES - 0.3)
        height = LINE_INCHES * lines + MAP_INCHES + 0.95
        drawn, (text, layers) = style.figure(2, 1, width=WIDTH_INCHES, height=height)
        grid = text.get_gridspec()
        assert grid is not None
        grid.set_height_ratios([LINE_INCHES * lines, MAP_INCHES])
        shades = colormaps[MAP]
        whole = _text(text, tokens, places, lines=lines, values=means(data), shades=shades)
        every = _layers(layers, ratios(data), shades=shades)
        for axes, scale, label in ((text, whole, "all layers"), (layers, every, "of the layer")):
            bar = drawn.colorbar(_mappable(scale, shades), ax=axes, pad=0.01, aspect=12, shrink=0.95)
            bar.set_label(f"activation ratio\n{label}", fontsize=6.5)
            bar.ax.tick_params(labelsize=6)
            bar.locator = MaxNLocator(4)
            bar.outline.set_linewidth(0.4)
        return style.save(drawn, output / "token_heat")


def _places(tokens: Sequence[str], width_inches: float) -> tuple[list[tuple[float, float, int]], int]:
    """Left end and width of each token in inches, and its line; a line end in the text ends the line."""
    renderer = style.renderer()
    room = width_inches - 0.95  # next to the color bar
    places, x, line = [], 0.0, 0
    widths = [_width(renderer, _shown(token)) for token in tokens]
    for t, (token, wide) in enumerate(zip(tokens, widths, strict=True)):
        if x > 0 and (x + wide > room or (token[:1].isspace() and x + _word(tokens, widths, t) > room)):
            x, line = 0.0, line + 1
        places.append((x, wide, line))
        x += wide
        if "\n" in token:
            x, line = 0.0, line + 1
    return places, line + 1


def _word(tokens: Sequence[str], widths: Sequence[float], first: int) -> float:
    """Width of the word that begins with a token: up to the next one that begins with a space."""
    last = first + 1
    while last < len(tokens) and not tokens[last][:1].isspace():
        last += 1
    return sum(widths[first:last])


def _drawn(token: str) -> str:
    """A token as it is drawn: blanks and line ends around it as they are, for they move it."""
    inner = token.strip()
    if not inner:
        return token or "·"
    start = token.index(inner)
    return token[:start] + style.drawable(inner) + token[start + len(inner) :]


def _shown(token: str) -> str:
    """A token on one line: tabs as spaces, and nothing of what has no shape, such as line ends."""
    return "".join(one for one in token.expandtabs(4) if one.isprintable())


def _width(renderer: Any, token: str) -> float:
    """Inches a shown token takes, the spaces at its ends among them."""
    font = FontProperties(size=FONT_SIZE)
    bars = renderer.get_text_width_height_descent("||", font, ismath=False)[0]
    whole = renderer.get_text_width_height_descent(f"|{token}|", font, ismath=False)[0]
    return float(max(whole - bars, 2.0)) / 100


def _text(
    axes: Axes, tokens: Sequence[str], places: Sequence[tuple[float, float, int]], *, lines: int,
    values: Sequence[float], shades: Colormap,
) -> Normalize:  # fmt: skip
    """The text; each token on its color, letters white where the color is dark."""
    scale, renderer = Normalize(min(values), max(values)), style.renderer()
    for token, (x, wide, line), value in zip(tokens, places, values, strict=True):
        colour = shades(float(scale(value)))
        axes.add_patch(Rectangle((x, line), wide, 0.94, facecolor=colour, edgecolor="none"))
        dark = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] < 0.5
        shown = _shown(token)
        lead = shown[: len(shown) - len(shown.lstrip())]
        shift = _width(renderer, lead) if lead else 0.0
        axes.text(x + shift, line + 0.5, shown.strip(), fontsize=FONT_SIZE, va="center", parse_math=False,
                  color="white" if dark else "#101010")  # fmt: skip
    axes.set_xlim(0, max(x + wide for x, wide, _ in places))
    axes.set_ylim(lines, 0)
    axes.set_axis_off()
    return scale


def _layers(axes: Axes, rows: Sequence[Sequence[float]], *, shades: Colormap) -> Normalize:
    """Layers downward, tokens across."""
    values = np.array(rows).T
    scale = Normalize(float(values.min()), float(values.max()))
    layers, tokens = values.shape
    edges = np.arange(tokens + 1) - 0.5, np.arange(layers + 1) - 0.5  # a layer's tick is at its middle
    axes.pcolormesh(*edges, values, cmap=shades, norm=scale, linewidth=0, rasterized=True)
    axes.set_ylim(layers - 0.5, -0.5)
    axes.grid(visible=False)
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("token")
    axes.set_ylabel("layer")
    return scale


def _mappable(scale: Normalize, shades: Colormap) -> Any:
    from matplotlib.cm import ScalarMappable

    return ScalarMappable(norm=scale, cmap=shades)
