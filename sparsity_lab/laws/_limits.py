"""The limits of a formula: what it settles at where its inputs grow without end, and where they go as models grow."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.laws import _structure
from sparsity_lab.laws._coordinates import Coordinate, Edges
from sparsity_lab.laws._formula import Dual, names, number, walk
from sparsity_lab.laws._law import ANY, RISING, Array
from sparsity_lab.laws._terms import Terms

SAMPLES = 32  # of the coefficients, for what holds whatever they are
FAR = 1e150  # where a limit is looked for that is not defined at infinity
ENDLESS = (math.inf, FAR)
SETTLED = 1e-9
NOT_ABOVE_ZERO = (0.0, -1.3)  # inputs at which a formula may have no value


def far_away(tree: ast.expr, known: Mapping[str, Dual], symbols: Sequence[str], places: Edges) -> Array:
    """The value of a tree at an end of its inputs, one of the ends below; NaN where it has none."""
    with np.errstate(all="ignore"):
        value, near = (
            walk(tree, {**known, **dict.fromkeys(symbols, number(place))}).value for place in places
        )
    return np.where(np.isnan(value), near, value)


def far_end_of(forward: str, positive_inputs: Sequence[int]) -> Edges:
    """Where the inputs go as models grow: without end, or down, to zero where a formula begins above it."""
    if forward == RISING:
        return ENDLESS
    return (0.0, 1.0 / FAR) if positive_inputs else (-math.inf, -FAR)


def refuse_limit(terms: Terms, linear: _structure.LinearPart) -> None:
    """Refuse a limit that is not a linear coefficient, or one with an upper bound."""
    name = terms.limit_name
    if name is None:
        return
    if name not in linear.columns or name in linear.logarithms:
        plain = [other for other in linear.columns if other not in linear.logarithms]
        raise SparsityLabError(
            f"The coefficient {name} of the formula {terms.text!r} cannot be its asymptote",
            why="The formula is not linear in it",
            fix=f"Name one of {', '.join(plain)}" if plain else "Leave --asymptote out",
        )
    if terms.bounds.get(name, ANY)[1] < math.inf:
        raise SparsityLabError(
            f"The asymptote {name} cannot have an upper bound",
            fix=f"Leave out --bound {name}, or --asymptote",
        )


def weights_at_ends(
    terms: Terms,
    linear: _structure.LinearPart,
    coordinates: Mapping[str, Coordinate],
    positive_inputs: Sequence[int],
) -> list[dict[str, float | None]]:
    """What each column and the rest (named "") settle at; None where they do not.

    The far end is the last. Where inputs go down as models grow, the end where they grow is another one.
    """
    generator = np.random.default_rng(0)
    known = {name: number(one.sample(generator, SAMPLES)) for name, one in coordinates.items()}
    trees = {**linear.columns, **({} if linear.rest is None else {"": linear.rest})}
    ends = dict.fromkeys((ENDLESS, far_end_of(terms.forward, positive_inputs)))
    return [
        {name: _settled(far_away(tree, known, terms.symbols, end)) for name, tree in trees.items()}
        for end in ([*ends] if terms.limit_name is None else [*ends][-1:])
    ]


def _settled(values: Array) -> float | None:
    first = float(values.flat[0])
    if not math.isfinite(first) or not np.all(np.abs(values - first) <= SETTLED * max(abs(first), SETTLED)):
        return None
    return 0.0 if abs(first) <= SETTLED else first


def limit_of(
    terms: Terms, linear: _structure.LinearPart, weights: Mapping[str, float | None], signs: Sequence[float]
) -> tuple[str, tuple[float, ...]] | None:
    """The limit at an end, with its weights of the columns; None where there is none."""
    turned = [*signs, *([] if linear.rest is None else [1.0])]
    if terms.limit_name is not None:
        weights = {name: float(name == terms.limit_name) for name in weights}
    settled = [weight for weight in weights.values() if weight is not None]
    alone = [name for name, weight in weights.items() if weight]
    if len(settled) < len(weights) or not alone or alone == [""]:
        return None
    share = tuple(weight * sign + 0.0 for weight, sign in zip(settled, turned, strict=True))
    label = " + ".join(_term(name, weight, linear) for name, weight in weights.items() if weight)
    label = label.replace(" + -", " - ")
    return label, share


def _term(name: str, weight: float | None, linear: _structure.LinearPart) -> str:
    """A part of a limit, such as `a`, `2*a`, `exp(b)` or a number."""
    if not name:
        return f"{weight:g}"
    power = linear.logarithms.get(name)
    text = name if power is None else f"exp({_times(power)}{name})"
    return f"{weight:g}*{text}" if weight not in (1.0, -1.0) else text if weight == 1.0 else f"-{text}"


def _times(power: float) -> str:
    """A factor as it is written in front of a name."""
    return {1.0: "", -1.0: "-"}.get(power, f"{power:g}*")


def positive_inputs_of(
    terms: Terms, tree: ast.expr, coordinates: Mapping[str, Coordinate]
) -> tuple[int, ...]:
    """Inputs without which at zero, or below, the formula or its derivatives have no value."""
    generator = np.random.default_rng(0)
    values = {name: generator.uniform(0.3, 2.0, size=(SAMPLES, 1)) for name in coordinates}
    known = {name: Dual(value, {name: np.ones_like(value)}) for name, value in values.items()}
    known |= {name: number(1.0) for name in names(tree) - set(values) - set(terms.symbols)}
    usual = dict.fromkeys(terms.symbols, number(1.7))

    def needs(symbol: str) -> bool:
        with np.errstate(all="ignore"):
            at = [walk(tree, {**known, **usual, symbol: number(place)}) for place in NOT_ABOVE_ZERO]
        return not all(np.all(np.isfinite(array)) for dual in at for array in (dual.value, *dual.by.values()))

    return tuple(i for i, symbol in enumerate(terms.symbols) if needs(symbol))
