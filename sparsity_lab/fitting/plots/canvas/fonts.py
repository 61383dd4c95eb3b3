"""Which fonts draw a text: the one that comes with matplotlib, and of this machine's what it lacks."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache

import matplotlib
from matplotlib import font_manager

logger = logging.getLogger(__name__)

USUAL = "DejaVu Sans"
PLACEHOLDERS = ("Last Resort", "Adobe Blank", "Unicode BMP Fallback")  # a box for every character
MOST_FAMILIES = 5
# From this version on letters are joined and lines run from right to left where a script asks for it.
SHAPES_TEXT = (3, 11)
RIGHT_TO_LEFT = ("R", "AL", "AN")


def families(texts: Iterable[str]) -> list[str]:
    """The usual family, and others of this machine that have what it lacks for these texts."""
    missing = {sign for text in texts for sign in text if sign.isprintable()} - set(
        map(chr, _characters(USUAL))
    )
    chosen = [USUAL]
    candidates = _candidates() if any(map(can_be_shaped, missing)) else ()
    while missing and len(chosen) < MOST_FAMILIES:
        best = max(candidates, key=lambda family: _count(family, missing), default=None)
        if best is None or not _count(best, missing):
            break
        chosen.append(best)
        missing = {sign for sign in missing if ord(sign) not in _characters(best)}
    return chosen


def is_drawn(character: str, chosen: Sequence[str]) -> bool:
    """Whether one of these families has a character, and matplotlib can set its script."""
    return can_be_shaped(character) and any(ord(character) in _characters(family) for family in chosen)


def is_usual(character: str) -> bool:
    """Whether a character can be set next to mathematics, which are set in the usual font, from left to right."""
    return ord(character) in _characters(USUAL) and unicodedata.bidirectional(character) not in RIGHT_TO_LEFT


def can_be_shaped(character: str) -> bool:
    """Whether this matplotlib sets the character's script as it is written."""
    if matplotlib.__version_info__[:2] >= SHAPES_TEXT:
        return True
    return unicodedata.bidirectional(character) not in RIGHT_TO_LEFT


def _count(family: str, characters: Iterable[str]) -> int:
    has = _characters(family)
    return sum(ord(one) in has for one in characters)


@cache
def _candidates() -> tuple[str, ...]:
    """Families of this machine, in the order of their names, so that the choice does not hang on that of a folder."""
    return tuple(sorted(name for name in _regular() if not name.startswith((USUAL, *PLACEHOLDERS))))


@cache
def _regular() -> dict[str, str]:
    """Families that have an upright font of normal weight, each with its file."""
    return {
        entry.name: entry.fname
        for entry in font_manager.fontManager.ttflist
        if entry.style == "normal" and entry.weight in (400, "normal", "regular")
    }


@cache
def _characters(family: str) -> frozenset[int]:
    """Code points that a family's regular font has outlines for; none where it cannot be read."""
    try:
        font = font_manager.get_font(_regular()[family])
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except Exception as error:  # a damaged font file; FreeType's errors have no common class
        logger.debug("the font %s is not used: %s", family, error)
        return frozenset()
