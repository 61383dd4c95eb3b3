"""The shortest names that tell places apart."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import PurePath


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


def _shortest(path: PurePath, others: list[PurePath], taken: Collection[str]) -> str:
    for count in range(1, len(path.parts) + 1):
        tail = path.parts[-count:]
        name = PurePath(*tail).as_posix()
        if name not in taken and not any(other.parts[-count:] == tail for other in others):
            return name
    return str(path)
