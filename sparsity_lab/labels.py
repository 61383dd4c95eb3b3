"""Names and counts for readers: the shortest that tell places apart, the form in which a figure shows any name."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from pathlib import PurePath

WIDEST = 48  # columns of a name that a figure shows whole
CUT = "\N{HORIZONTAL ELLIPSIS}"
NO_NAME = "(no name)"
_BLANK = "\N{OPEN BOX}"
_ESCAPES = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}
_HASH_DIGITS = 4


def counted(number: int, noun: str) -> str:
    """A number of things, as `1 row` and `2 rows`; of nouns whose plural has an s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def shortest(paths: Iterable[PurePath], *, taken: Collection[str] = ()) -> dict[PurePath, str]:
    """For each path, its last parts: as few as no other path ends in.

    Args:
        paths: absolute, or all seen from one place; a path may come twice.
        taken: names that belong to something else.
    """
    distinct = list(dict.fromkeys(paths))
    return {path: _shortest(path, [other for other in distinct if other != path], taken) for path in distinct}


def called(model: str, revision: str | None, *, series: str, on_hub: bool) -> str:
    """A checkpoint's name in tables: ID@REVISION on the Hub, else its series, and its own name where that differs."""
    if on_hub:
        return model if revision is None else f"{model}@{revision}"
    name = PurePath(model).name
    return series if name == PurePath(series).name else f"{series}/{name}"


def shown(
    names: Iterable[str], *, widest: int = WIDEST, is_drawn: Callable[[str], bool] = str.isprintable
) -> dict[str, str]:
    """For each name, one line that shows it: characters that cannot be drawn are spelled out, long names are cut.

    A name is cut in its middle. Names that would look alike get some digits of a hash of the whole name there, so
    that distinct names stay distinct.

    Args:
        names: any texts.
        widest: columns of a line; wide characters take two.
        is_drawn: whether a visible character can be drawn.
    """
    distinct = list(dict.fromkeys(names))
    units = {name: _units(name, is_drawn) for name in distinct}
    lines = {name: _cut(units[name], widest) for name in distinct}
    often = Counter(lines.values())
    return {
        name: line if often[line] == 1 else _cut(units[name], widest, mark=f"{CUT}{_digest(name)}{CUT}")
        for name, line in lines.items()
    }


def spelled(text: str, *, is_drawn: Callable[[str], bool]) -> str:
    """A text whose characters that cannot be drawn are spelled out."""
    return "".join(_units(text, is_drawn)) if text else ""


def _units(name: str, is_drawn: Callable[[str], bool]) -> list[str]:
    """The characters of a name, each as it is or spelled out."""
    if not name:
        return [NO_NAME]
    if name.isspace():
        return [_BLANK if one == " " else _spelled(one) for one in name]
    return [one if one.isprintable() and is_drawn(one) else _spelled(one) for one in name]


def _spelled(character: str) -> str:
    code = ord(character)
    return _ESCAPES.get(character) or (f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


def _cut(units: list[str], widest: int, *, mark: str = "") -> str:
    """All of a name, or of a long one both ends; with a mark always that between the halves."""
    whole = "".join(units)
    if not mark and _width(whole) <= widest:
        return whole
    mark = mark or CUT
    room = widest - len(mark)
    head = _first(units, (room + 1) // 2)
    tail = _first(units[len(head) :][::-1], room // 2)[::-1]
    return "".join([*head, mark, *tail])


def _first(units: list[str], room: int) -> list[str]:
    """The first of them that fit, one at least."""
    taken = 0
    for count, unit in enumerate(units):
        taken += _width(unit)
        if taken > room:
            return units[: max(count, 1)]
    return units


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]


def _shortest(path: PurePath, others: list[PurePath], taken: Collection[str]) -> str:
    for count in range(1, len(path.parts) + 1):
        tail = path.parts[-count:]
        name = PurePath(*tail).as_posix()
        if name not in taken and not any(other.parts[-count:] == tail for other in others):
            return name
    return str(path)
