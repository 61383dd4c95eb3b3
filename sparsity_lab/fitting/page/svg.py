"""A figure made safe, small and fit for light and dark, to stand inline in a page.

Safe: the tree is built anew from a list of allowed elements and attributes, so that a script, a handler, an
outside address or a foreign object in a file never comes into the page. Small: coordinates at a hundredth of a
point, and shapes that figures share (letters above all) once for the whole page. Light and dark: black, white
and the grid's grey become the page's own colours, while the curves keep theirs, which are readable on both. A
figure with coloured cells or an image inside stays on a light card as it is: its letters were chosen for the
colours behind them.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from html import escape
from xml.etree import ElementTree

from sparsity_lab.errors import SparsityLabError

DRAW_ANEW = "Remove the file, or run the command that drew it again"
ELEMENTS = {
    "svg", "g", "defs", "path", "use", "clipPath", "rect", "circle", "ellipse", "line", "polyline", "polygon",
    "text", "tspan", "image", "linearGradient", "radialGradient", "stop",
}  # fmt: skip
ATTRIBUTES = {
    "d", "x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "rx", "ry", "width", "height", "points", "transform",
    "viewBox", "preserveAspectRatio", "opacity", "fill", "stroke", "offset", "gradientUnits", "gradientTransform",
    "clip-path", "clip-rule", "fill-rule", "fill-opacity", "stroke-width", "stroke-opacity", "stroke-dasharray",
    "stroke-linecap", "stroke-linejoin", "stop-color", "stop-opacity", "text-anchor", "font-size", "font-family",
}  # fmt: skip
STYLES = (ATTRIBUTES - {"d", "x", "y", "viewBox", "transform"}) | {
    "stroke-dashoffset", "stroke-miterlimit", "font", "font-weight", "font-style", "image-rendering", "mix-blend-mode",
}  # fmt: skip
PLAIN = re.compile(r"[\w\s#.,%+'()-]*")
LOCAL = re.compile(r"url\(#([\w.-]+)\)")
PICTURE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=\s]+")
COORDINATES = {"d", "points", "x", "y", "width", "height"}
LONG = re.compile(r"-?\d+\.\d{3,}")
COLOURS = {
    "#ffffff": "var(--figure-paper)", "white": "var(--figure-paper)", "#000000": "var(--figure-ink)",
    "black": "var(--figure-ink)", "#b0b0b0": "var(--figure-grid)", "#cccccc": "var(--figure-grid)",
    "#555555": "var(--figure-soft)", "#333333": "var(--figure-soft)",
}  # fmt: skip
CELLS = ("QuadMesh", "AxesImage", "PolyQuadMesh")


@dataclass
class Shapes:
    """Shapes that the figures of one page share, by the hash of what they are."""

    known: dict[str, str] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Size of them all."""
        return sum(map(len, self.known.values()))

    def to_html(self) -> str:
        """A hidden figure that holds them all."""
        if not self.known:
            return ""
        shapes = "".join(self.known[key] for key in sorted(self.known))
        return f'<svg class="shapes" width="0" height="0" aria-hidden="true"><defs>{shapes}</defs></svg>'


def inline(text: str, *, name: str, number: int, label: str, shapes: Shapes) -> str:
    """The `<svg>` element of a figure.

    Args:
        text: of the SVG file. name: of that file, for messages.
        number: of the figure in the page, which keeps its ids apart from others'.
        label: what a screen reader says.
        shapes: takes up the shapes it shares.

    Raises:
        SparsityLabError: no well-formed SVG, or one that declares entities.
    """
    root = _parse(text, name)
    cells = any(_tag(one) == "image" or one.get("id", "").startswith(CELLS) for one in root.iter())
    figure = _Figure(f"f{number}-", shapes, restyled=not cells)
    figure.learn(root)
    inside = "".join(figure.build(child) for child in root)
    size = "".join(f' {key}="{escape(root.get(key, ""))}"' for key in ("width", "height", "viewBox")
                   if PLAIN.fullmatch(root.get(key, "")) and root.get(key))  # fmt: skip
    card = "" if figure.restyled else " light-card"
    return f'<svg class="drawn{card}"{size} role="img" aria-label="{escape(label)}">{inside}</svg>'


def _parse(text: str, name: str) -> ElementTree.Element:
    if "<!ENTITY" in text:
        raise SparsityLabError(f"The figure {name} declares entities, which no figure needs", fix=DRAW_ANEW)
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise SparsityLabError(
            f"The figure {name} is no well-formed SVG", why=str(error), fix=DRAW_ANEW
        ) from error
    if _tag(root) != "svg":
        raise SparsityLabError(f"The figure {name} is no SVG", fix=DRAW_ANEW)
    return root


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


class _Figure:
    """Builds one figure anew."""

    def __init__(self, prefix: str, shapes: Shapes, *, restyled: bool) -> None:
        self.prefix, self.shapes, self.restyled = prefix, shapes, restyled
        self.names: dict[str, str] = {}

    def learn(self, root: ElementTree.Element) -> None:
        """New names for all ids: a hash of the shape for shapes in defs, a prefix for the rest."""
        shared = [one for defs in root.iter() if _tag(defs) == "defs" for one in defs if _tag(one) == "path"]
        for one in root.iter():
            if known := one.get("id"):
                self.names[known] = self.prefix + re.sub(r"[^\w.-]", "_", known)
        for one in shared:
            attributes = self._attributes(one, skip={"id"})
            key = "s" + hashlib.sha256(attributes.encode()).hexdigest()[:12]
            self.names[one.get("id", "")] = key
            self.shapes.known.setdefault(key, f'<path id="{key}"{attributes}/>')
        self.used = self._references(root)

    def build(self, element: ElementTree.Element, *, in_defs: bool = False) -> str:
        """An element and all inside it, or nothing where it is none of those allowed."""
        tag = _tag(element)
        if tag not in ELEMENTS or (in_defs and tag == "path"):
            return ""
        inside = "".join(self.build(child, in_defs=tag == "defs") for child in element)
        inside = escape((element.text or "").strip()) + inside if tag in ("text", "tspan") else inside
        if tag in ("g", "defs") and not inside:
            return ""
        attributes = self._attributes(element)
        if tag == "g" and not attributes:
            return inside
        return f"<{tag}{attributes}>{inside}</{tag}>" if inside else f"<{tag}{attributes}/>"

    def _references(self, root: ElementTree.Element) -> set[str]:
        values = [value for one in root.iter() for value in one.attrib.values()]
        return {value[1:] for value in values if value.startswith("#")} | {
            name for value in values for name in LOCAL.findall(value)
        }

    def _attributes(self, element: ElementTree.Element, skip: set[str] | None = None) -> str:
        found = []
        for full, value in element.attrib.items():
            name = full.rpartition("}")[2]
            if skip and name in skip:
                continue
            if (clean := self._value(name, value)) is not None:
                found.append(f' {name}="{escape(clean)}"')
        return "".join(found)

    def _value(self, name: str, value: str) -> str | None:
        """A value that may stand in the page, or None."""
        if name == "id":
            return self.names[value] if value in self.used else None
        if name == "href":
            return self._address(value)
        if name == "style":
            return self._style(value) or None
        if name not in ATTRIBUTES:
            return None
        if name in ("fill", "stroke", "clip-path", "stop-color"):
            return self._paint(value)
        value = re.sub(r"\s+", " ", value).strip() if PLAIN.fullmatch(value) else ""
        return (LONG.sub(_rounded, value) if name in COORDINATES else value) or None

    def _address(self, value: str) -> str | None:
        if value.startswith("#"):
            return f"#{self.names[value[1:]]}" if value[1:] in self.names else None
        return value if PICTURE.fullmatch(value) else None

    def _style(self, text: str) -> str:
        pairs = (part.split(":", 1) for part in text.split(";") if ":" in part)
        clean = ((key.strip(), self._paint(value.strip())) for key, value in pairs if key.strip() in STYLES)
        return ";".join(f"{key}:{value}" for key, value in clean if value is not None)

    def _paint(self, value: str) -> str | None:
        if inside := LOCAL.fullmatch(value):
            return f"url(#{self.names[inside[1]]})" if inside[1] in self.names else None
        if not PLAIN.fullmatch(value) or "url" in value.lower():
            return None
        return COLOURS.get(value.lower(), value) if self.restyled else value


def _rounded(found: re.Match[str]) -> str:
    return f"{float(found[0]):.2f}".rstrip("0").rstrip(".")
