"""The range of every number of a config, each declared once: at the field of its dataclass, as an annotation.

    seed: Annotated[int, Range(0, 2**32 - 1)]

`sections.build` refuses a value outside of it by the key's name; `refuse_outside` does so for a spec made in Python.
An upper end is far beyond what anybody trains: it stops slips of the pen, infinity among them, before work begins.
"""

from __future__ import annotations

import types
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ranges import MOST_SEED
from sparsity_lab.ranges import Range as Range

_hints: dict[type, dict[str, Any]] = {}
WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}


Seed = Annotated[int, Range(0, MOST_SEED)]
Tokens = Annotated[int, Range(1, 10**15)]
Bytes = Annotated[int, Range(1, 10**15)]
Windows = Annotated[int, Range(1, 2**24)]
WindowTokens = Annotated[int, Range(2, 2**24)]
Positions = Annotated[int, Range(1, 2**24)]
Vocabulary = Annotated[int, Range(1, 2**24)]
Width = Annotated[int, Range(1, 2**20)]
Neurons = Annotated[int, Range(1, 2**24)]
Layers = Annotated[int, Range(1, 10_000)]
Heads = Annotated[int, Range(1, 2**16)]
Checkpoints = Annotated[int, Range(1, 10_000)]
Steps = Annotated[int, Range(1, 10**12)]
WarmupSteps = Annotated[int, Range(0, 10**12)]
Draws = Annotated[int, Range(0, 1_000_000)]
Points = Annotated[int, Range(0, 10_000)]
Rate = Annotated[float, Range(0, 1_000, above=True)]
Multiple = Annotated[float, Range(0, 10**9, above=True)]
Epochs = Annotated[float, Range(0, 10**6, above=True)]
Share = Annotated[float, Range(0, 1, above=True, below=True)]
Increase = Annotated[float, Range(0, 1, above=True, below=True, note="as a fraction: 0.01 stands for 1 %")]
ShareOrNone = Annotated[float, Range(0, 1, below=True)]
ShareOrAll = Annotated[float, Range(0, 1)]
HeldOutShare = Annotated[float, Range(0, 0.5, above=True, below=True)]
Decay = Annotated[float, Range(0, 100)]
Norm = Annotated[float, Range(0, 10**6, above=True)]
Edge = Annotated[float, Range(0, 10**12)]


def plain(hint: Any) -> tuple[Any, Range | None]:
    """(type, range) of an annotation of one value, both out of `X | None` and `tuple[X, ...]` as well."""
    if get_origin(hint) in (Union, types.UnionType):
        return plain(next(part for part in get_args(hint) if part is not type(None)))
    if get_origin(hint) is tuple:
        return plain(get_args(hint)[0])
    if get_origin(hint) is Annotated:
        kind, *notes = get_args(hint)
        return kind, next((note for note in notes if isinstance(note, Range)), None)
    return hint, None


def hints(kind: type) -> dict[str, Any]:
    """The annotations of a dataclass by field, ranges among them."""
    if kind not in _hints:
        _hints[kind] = get_type_hints(kind, include_extras=True)
    return _hints[kind]


def refuse_outside(spec: object) -> None:
    """Refuse a dataclass with a number outside the range its field declares.

    Raises:
        SparsityLabError: there is one; names the field and the range.
    """
    for name, hint in hints(type(spec)).items():
        kind, allowed = plain(hint)
        value = getattr(spec, name)
        for number in value if isinstance(value, tuple) else (value,):
            if allowed is not None and number is not None and number not in allowed:
                raise outside(name, number, kind, allowed)


def outside(
    where: str, value: object, kind: type, allowed: Range | None, *, fix: str = ""
) -> SparsityLabError:
    """The refusal of a value that is not what its key takes."""
    must = f"It must be {WORDS[kind]}" + (f" {allowed}" if allowed is not None else "")
    section, _, key = where.rpartition(".")
    under = f" under {section}" if section else ""
    return SparsityLabError(f"`{where}` is {value!r}"[:200], why=must, fix=fix or f"Correct `{key}`{under}")
