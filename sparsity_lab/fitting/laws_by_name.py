"""The law behind a text: an id of the laws' room, or a formula, each with what is said of its coefficients.

What is said comes behind semicolons, in any order, so that a text alone makes a law again:

    A0 - c*x^-alpha; alpha=0.01:10         the range in which alpha is searched
    power; alpha=0.1:2                     the same, of a law of the room
    E + a*N^-al + b*D^-be; inputs N, D     names of the inputs, instead of x
        ; E=1.69 ; be=al                   a coefficient is a number, or another one
        ; a>=0 ; asymptote E               a bound, and which coefficient is the limit
        ; c=0.001:60 over the data         a range relative to the data, as one that was found is written
        ; forward falling ; output 0:1     which way x goes as models grow, and the range of y by its nature
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.laws._coordinates import OVER_DATA, Edges, range_text
from sparsity_lab.laws._expression import Expression
from sparsity_lab.laws._law import ANY, FALLING, RISING, Array, Law, Span
from sparsity_lab.laws._published import Published
from sparsity_lab.laws._terms import ASYMPTOTE, FORWARD, INPUTS, OUTPUT, Terms, ends_text, refuse_symbols
from sparsity_lab.settings import AUTO

FARTHEST = 1e30  # edge of the search range of a formula's coefficient
Value = TypeVar("Value")


@dataclass(frozen=True)
class LawWords:
    """What a command line says of a law besides its name, each as it is typed.

    Attributes:
        inputs: names of the inputs. ranges: `alpha=0.01:10`. fixed: `E=1.69`. ties: `be=al`.
        bounds: `a=0:`, `a=:5` or `a=0:5`. asymptote: the coefficient that is the limit.
        forward: `falling`. output: the range of y, such as `0:1`.
    """

    inputs: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    ties: tuple[str, ...] = ()
    bounds: tuple[str, ...] = ()
    asymptote: str | None = None
    forward: str | None = None
    output: str | None = None

    def text(self, law: str) -> str:
        """The text of a law with all of this, as `load_law` reads it.

        Raises:
            SparsityLabError: a word is not of its form, or nothing can be said of `auto`.
        """
        clauses = [f"{INPUTS} {', '.join(self.inputs)}"] if self.inputs else []
        clauses += [range_text(*_range(word)) for word in self.ranges]
        clauses += ["{}={!r}".format(*_fixed(word)) for word in self.fixed]
        clauses += ["{}={}".format(*_tie(word)) for word in self.ties]
        for word in self.bounds:
            name, (low, high) = _bound(word)
            clauses += [f"{name}>={low!r}"] if low > -math.inf else []
            clauses += [f"{name}<={high!r}"] if high < math.inf else []
        clauses += [f"{ASYMPTOTE} {self.asymptote}"] if self.asymptote is not None else []
        clauses += [f"{FORWARD} {_way(self.forward)}"] if self.forward is not None else []
        clauses += [f"{OUTPUT} {ends_text(_output(self.output))}"] if self.output is not None else []
        if clauses and law == AUTO:
            raise SparsityLabError(
                f"{clauses[0]!r} is said of no law",
                why="The law is auto",
                fix="Name one, or type a formula: --law",
            )
        return "; ".join([law, *clauses])


@dataclass
class _Said:
    """The clauses behind a law, by kind; `words` has them all as they are written."""

    words: list[str]
    symbols: tuple[str, ...] = ()
    limit_name: str | None = None
    ranges: dict[str, Edges] = field(default_factory=dict)
    relative: dict[str, Edges] = field(default_factory=dict)
    fixed: dict[str, float] = field(default_factory=dict)
    ties: dict[str, str] = field(default_factory=dict)
    bounds: dict[str, Edges] = field(default_factory=dict)
    forward: str = RISING
    output_box: Edges = ANY


def is_formula(name: str) -> bool:
    """Whether a text is a formula, rather than the id of a law."""
    return bool(set(name.partition(";")[0]) & set("*^+/(=")) and name != AUTO


def load_law(name: str) -> Law:
    """The law behind an id or a formula, with what is said of it behind semicolons.

    Raises:
        SparsityLabError: there is none, the nearest id is named; or it cannot be what is said of it.
    """
    head, *clauses = (part.strip() for part in name.split(";"))
    said = _read(clauses)
    if is_formula(head):
        given = {key: value for key, value in vars(said).items() if key != "words"}
        return Expression(head, **{**given, "symbols": said.symbols or Expression.symbols})
    law = registry.load("laws", head).LAW
    assert isinstance(law, Law)
    if not said.words:
        return law
    if isinstance(law, Published) and (left := _terms_of(law, said)) is not None:
        return law.with_terms(left, tuple(said.words))
    return _with_ranges(law, said)


def _terms_of(law: Published, said: _Said) -> Terms | None:
    """What is said of the coefficients of a published formula; None where something else is said."""
    given = {name: getattr(said, name) for name in ("ranges", "relative", "fixed", "ties", "bounds")}
    if len(said.words) > sum(len(each) for each in given.values()):
        return None
    return Terms(law.text, symbols=law.symbols, **given)


def _with_ranges(law: Law, said: _Said) -> Law:
    """A law of the room that searches some of its exponents elsewhere.

    Raises:
        SparsityLabError: something else is said of it; the formula to type is named.
    """
    strange = [name for name in said.ranges if name not in law.exponents]
    if strange or len(said.ranges) < len(said.words):
        exponents = ", ".join(law.exponents) or "no coefficient"
        inputs = (
            "" if len(law.inputs) == 1 else f" --inputs {','.join(f'{v.symbol}=COLUMN' for v in law.inputs)}"
        )
        raise SparsityLabError(
            f"The law {law.name} cannot take {'; '.join(said.words)!r}",
            why=f"Of a law by name only the range of an exponent can be said: of {exponents}",
            fix=f'Type its formula: --law "{law.typed}"{inputs}' if law.typed else "Leave it out",
        )
    if unusable := [name for name, (low, _) in said.ranges.items() if low <= 0]:
        raise SparsityLabError(
            f"The range of {unusable[0]} has to be above zero",
            why=f"The law {law.name} searches it in the logarithm",
            fix=f"Write --range {unusable[0]}=0.01:10",
        )
    changed = copy.copy(law)
    # Attributes of this one law; functions of a module, so that it can go to another process.
    vars(changed).update(
        name="; ".join([law.name, *(range_text(name, edges) for name, edges in said.ranges.items())]),
        search_box=partial(_box, law, said.ranges),
    )
    return changed


def _box(law: Law, ranges: Mapping[str, Edges], span: Span) -> Array:
    box = np.array(law.search_box(span))
    for name, edges in ranges.items():
        box[law.exponents[name]] = np.log(edges)
    return box


def _read(clauses: Iterable[str]) -> _Said:
    """The clauses behind a law.

    Raises:
        SparsityLabError: one is of no known form, or there twice.
    """
    said = _Said([clause for clause in clauses if clause])
    for clause in said.words:
        word, _, names = clause.partition(" ")
        if word == INPUTS:
            said.symbols = tuple(name.strip() for name in names.split(","))
            refuse_symbols(said.symbols)
        elif word == ASYMPTOTE:
            said.limit_name = names.strip()
        elif word == FORWARD:
            said.forward = _way(names.strip())
        elif word == OUTPUT:
            said.output_box = _output(names)
        elif ">=" in clause or "<=" in clause:
            _add_bound(said.bounds, clause)
        elif clause.endswith(OVER_DATA):
            _add(said.relative, _range(clause.removesuffix(OVER_DATA)))
        elif ":" in clause:
            _add(said.ranges, _range(clause))
        elif _is_number(clause.partition("=")[2]):
            _add(said.fixed, _fixed(clause))
        elif clause.partition("=")[2].strip().isidentifier():
            _add(said.ties, _tie(clause))
        else:
            _add(said.ranges, _range(clause))
    return said


def _add(kind: dict[str, Value], named: tuple[str, Value]) -> None:
    name, value = named
    if name in kind and kind[name] != value:
        raise SparsityLabError(f"Two things are said of the coefficient {name}", fix="Leave one of them out")
    kind[name] = value


def _add_bound(bounds: dict[str, Edges], clause: str) -> None:
    name, low, edge = clause.partition(">=")
    if not low:
        name, _, edge = clause.partition("<=")
    _, (least, most) = _bound(f"{name}={edge}:" if low else f"{name}=:{edge}")
    old = bounds.get(name.strip(), (-math.inf, math.inf))
    bounds[name.strip()] = max(old[0], least), min(old[1], most)


def _range(text: str) -> tuple[str, Edges]:
    """`alpha=0.01:10` as a name and its edges."""

    def edges(text: str) -> Edges:
        low, _, high = text.partition(":")
        found = float(low), float(high)
        if not -FARTHEST <= found[0] < found[1] <= FARTHEST:
            raise ValueError
        return found

    return _named(
        text, edges, what=f"--range {text!r} is not a range of a coefficient", fix="Write alpha=0.01:10"
    )


def _bound(text: str) -> tuple[str, Edges]:
    """`a=0:`, `a=:5` or `a=0:5` as a name and its bounds."""
    return _named(
        text, _ends, what=f"--bound {text!r} is not a bound of a coefficient", fix="Write a=0:, a=:5 or a=0:5"
    )


def _output(text: str) -> Edges:
    """`0:1`, `0:` or `:1` as the range of y."""
    try:
        return _ends(text)
    except ValueError:
        raise SparsityLabError(f"--y-range {text!r} is no range", fix="Write 0:1, 0: or :1") from None


def _way(text: str) -> str:
    """Which way the inputs go as models grow."""
    if text not in (RISING, FALLING):
        raise SparsityLabError(f"--forward {text!r} is no way", fix=f"Write {RISING} or {FALLING}")
    return text


def _ends(text: str) -> Edges:
    """Both ends of a range, of which one may be missing; ValueError where it is none."""
    low, colon, high = (part.strip() for part in text.partition(":"))
    found = float(low) if low else -math.inf, float(high) if high else math.inf
    if not colon or not found[0] < found[1] or not (low or high) or not _within(low, high):
        raise ValueError
    return found


def _within(*edges: str) -> bool:
    return all(abs(float(edge)) <= FARTHEST for edge in edges if edge)


def _fixed(text: str) -> tuple[str, float]:
    """`E=1.69` as a name and a number."""

    def value(text: str) -> float:
        if not _is_number(text):
            raise ValueError
        return float(text)

    return _named(text, value, what=f"--fix {text!r} makes no coefficient a number", fix="Write E=1.69")


def _tie(text: str) -> tuple[str, str]:
    """`be=al` as a name and the other one that it is."""

    def other(text: str) -> str:
        if not text.strip().isidentifier():
            raise ValueError
        return text.strip()

    return _named(text, other, what=f"--tie {text!r} names no two coefficients", fix="Write be=al")


def _named(text: str, read: Callable[[str], Value], *, what: str, fix: str) -> tuple[str, Value]:
    name, equals, value = text.partition("=")
    try:
        if not equals or not name.strip().isidentifier():
            raise ValueError
        return name.strip(), read(value)
    except ValueError:
        raise SparsityLabError(what, fix=fix) from None


def _is_number(text: str) -> bool:
    try:
        return abs(float(text)) <= FARTHEST
    except ValueError:
        return False
