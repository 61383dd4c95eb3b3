"""From a formula and what is said of it to the parts of a law: columns, search coordinates, bounds and limits."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.laws import _coordinates, _roles, _structure
from sparsity_lab.laws._column import DesignColumn
from sparsity_lab.laws._coordinates import VALUE, Coordinate, Edges
from sparsity_lab.laws._formula import Dual, names, number, walk
from sparsity_lab.laws._law import ANY, Array, Limits
from sparsity_lab.laws._roles import EXPONENT, Role
from sparsity_lab.laws._terms import Terms

MOST_SEARCHED = 4  # nonlinear coefficients; a grid over more has too many points
SAMPLES = 32  # of the coefficients, for what holds whatever they are
FAR = 1e150  # where a limit is looked for that is not defined at infinity
SETTLED = 1e-9
NOT_ABOVE_ZERO = (0.0, -1.3)  # inputs at which a formula may have no value


@dataclass(frozen=True)
class FormulaParts:
    """What a formula is made of.

    Attributes:
        tree: the formula, with fixed and tied coefficients in place.
        columns: linear coefficient -> its column. signs: 1, or -1 of a column that is turned, so that an upper bound
            of its coefficient is a lower one. lower: bounds of the turned coefficients.
        logarithms: linear coefficients that are logarithms of a weight -> 1, or -1 of its inverse.
        rest: the part without linear coefficients, or None.
        coordinates: nonlinear coefficient -> how it is searched; those that depend on others come behind them.
        exponents: nonlinear coefficients that are exponents of an input, searched in the logarithm.
        found: ranges that were found where none was given.
        asymptote: the linear coefficient that is the limit, or None. limits: as of `Law.limits`.
        positive_inputs: indices of inputs that must be above zero.
    """

    tree: ast.expr
    columns: Mapping[str, DesignColumn]
    signs: tuple[float, ...]
    lower: tuple[float, ...]
    logarithms: Mapping[str, float]
    rest: DesignColumn | None
    coordinates: Mapping[str, Coordinate]
    exponents: tuple[str, ...]
    found: tuple[str, ...]
    asymptote: str | None
    limits: Limits
    positive_inputs: tuple[int, ...]


def parts_of(terms: Terms) -> FormulaParts:
    """The parts of a formula.

    Raises:
        SparsityLabError: it cannot be read, or what is said of it cannot be kept.
    """
    tree = terms.whole_tree()
    coefficients = names(tree) - set(terms.symbols)
    bounded = {name for name in terms.bounds if not _linear_in(tree, name)}
    linear = _structure.linear_part(tree, coefficients - {*terms.ranges, *terms.relative, *bounded})
    _refuse_limit(terms, linear)
    roles = {
        name: _roles.role_of(tree, name, terms.symbols) for name in sorted(coefficients - set(linear.columns))
    }
    if len(roles) > MOST_SEARCHED:
        raise SparsityLabError(
            f"The formula {terms.text!r} is not linear in {len(roles)} coefficients: {', '.join(roles)}",
            why=f"At most {MOST_SEARCHED} are searched",
            fix=f"Make one a number, such as --fix {min(roles)}=1, or two the same with --tie",
        )
    coordinates = _coordinates_of(terms, roles, linear.columns)
    weights = _at_infinity(terms, linear, coordinates)
    # The coefficient of a column that is divided by its size is another one: neither a limit, nor what a bound is of.
    settled = {name for name, weight in weights.items() if weight} | {terms.limit_name}
    settled |= {
        name for name, edges in terms.bounds.items() if any(edge and math.isfinite(edge) for edge in edges)
    }
    signs, lower = _bounds(terms, linear)
    asymptote, limits = _limits(terms, linear, weights, signs)
    given = {*terms.ranges, *terms.relative}
    return FormulaParts(
        tree=tree,
        columns={
            name: DesignColumn(column, terms.symbols, scaled=name not in settled)
            for name, column in linear.columns.items()
        },
        signs=signs,
        lower=lower,
        logarithms=linear.logarithms,
        rest=None if linear.rest is None else DesignColumn(linear.rest, terms.symbols, scaled=False),
        coordinates=coordinates,
        exponents=tuple(
            name
            for name, role in roles.items()
            if role.kind == EXPONENT and role.bare and coordinates[name].in_ln
        ),
        found=tuple(coordinates[name].text() for name in roles if name not in given),
        asymptote=asymptote,
        limits=limits,
        positive_inputs=_positive_inputs(terms, tree, coordinates),
    )


def at_infinity(tree: ast.expr, known: Mapping[str, Dual], symbols: Sequence[str]) -> Array:
    """The value of a tree where its inputs grow without end; NaN where it has none."""
    with np.errstate(all="ignore"):
        value, far = (
            walk(tree, {**known, **dict.fromkeys(symbols, number(place))}).value for place in (math.inf, FAR)
        )
    return np.where(np.isnan(value), far, value)


def _linear_in(tree: ast.expr, name: str) -> bool:
    linear = _structure.linear_part(tree, [name])
    return name in linear.columns and name not in linear.logarithms


def _coordinates_of(
    terms: Terms, roles: Mapping[str, Role], linear: Mapping[str, ast.expr]
) -> dict[str, Coordinate]:
    """How each nonlinear coefficient is searched, those that depend on others behind them."""
    against = _coordinates.compared_with(roles, linear)
    several, made = len(terms.symbols) > 1, {}
    for name, role in roles.items():
        usual = _coordinates.usual(role, name, several=several, against=against[name])
        if name in terms.relative:
            if usual.measure == VALUE:
                raise SparsityLabError(
                    f"The coefficient {name} of the formula {terms.text!r} has no range over the data",
                    fix=f"Give its own range, such as --range {_coordinates.range_text(name, usual.edges)}",
                )
            usual = _coordinates.replaced(usual, terms.relative[name])
        elif name in terms.ranges:
            usual = Coordinate(name, terms.ranges[name])
        if name in terms.bounds:
            usual = _within(usual, terms.bounds[name], given=name in terms.ranges)
        made[name] = usual
    depend = [
        name for name, one in made.items() if one.against is not None and names(one.against) & set(roles)
    ]
    return {name: made[name] for name in sorted(made, key=lambda name: (name in depend, name))}


def _within(coordinate: Coordinate, bounds: Edges, *, given: bool) -> Coordinate:
    """The coordinate with its range cut to the bounds.

    Raises:
        SparsityLabError: nothing is left, or the range is relative to the data and the bounds cut it.
    """
    (low, high), name = coordinate.edges, coordinate.name
    if math.isfinite(bounds[0]) and math.isfinite(bounds[1]) and not given:
        return Coordinate(name, bounds)
    if coordinate.measure != VALUE:
        if bounds[0] <= 0 and bounds[1] == math.inf and (coordinate.in_ln or coordinate.measure != "change"):
            return coordinate
        raise SparsityLabError(
            f"The bound of {name} needs a range of {name} as well",
            why="Its range follows from the data, and the bound may lie anywhere in it",
            fix=f"Give both ends: --bound {name}=LOW:HIGH",
        )
    cut = max(low, bounds[0]), min(high, bounds[1])
    if low < 0 < high and not given and 0.0 in bounds:  # one sign is left of an exponent of either
        least = _coordinates.LEAST_EXPONENT
        cut = (least, cut[1]) if bounds[0] == 0 else (cut[0], -least)
    if not cut[0] < cut[1]:
        raise SparsityLabError(
            f"Between the bounds of {name} there is nothing of its range, {low:g} to {high:g}",
            fix=f"Change --bound {name}, or give a --range within it",
        )
    return Coordinate(name, cut)


def _bounds(terms: Terms, linear: _structure.LinearPart) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Signs of the columns, and the lower bounds of their coefficients with these signs."""
    signs, lower = [], []
    for name in linear.columns:
        low, high = terms.bounds.get(name, ANY)
        if math.isfinite(low) and math.isfinite(high):
            raise SparsityLabError(
                f"The coefficient {name} has bounds on both sides, and the formula {terms.text!r} is linear in it",
                why="A linear coefficient is solved with a bound on one side",
                fix=f"Leave one side open, or search it: --range {_coordinates.range_text(name, (low, high))}",
            )
        signs.append(-1.0 if math.isfinite(high) else 1.0)
        lower.append(0.0 if name in linear.logarithms else -high if math.isfinite(high) else low)
    # The part without any linear coefficient is a column of its own with a weight of one.
    return tuple(signs), tuple(lower) if linear.rest is None else (*lower, 0.0)


def _refuse_limit(terms: Terms, linear: _structure.LinearPart) -> None:
    """Refuse a limit that is no linear coefficient, or one with an upper bound."""
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


def _at_infinity(
    terms: Terms, linear: _structure.LinearPart, coordinates: Mapping[str, Coordinate]
) -> dict[str, float | None]:
    """What each column and the rest (named "") settle at where the inputs grow without end; None where they do not."""
    generator = np.random.default_rng(0)
    known = {name: number(one.sample(generator, SAMPLES)) for name, one in coordinates.items()}
    trees = {**linear.columns, **({} if linear.rest is None else {"": linear.rest})}
    return {name: _settled(at_infinity(tree, known, terms.symbols)) for name, tree in trees.items()}


def _settled(values: Array) -> float | None:
    first = float(values.flat[0])
    if not math.isfinite(first) or not np.all(np.abs(values - first) <= SETTLED * max(abs(first), SETTLED)):
        return None
    return 0.0 if abs(first) <= SETTLED else first


def _limits(
    terms: Terms, linear: _structure.LinearPart, weights: Mapping[str, float | None], signs: Sequence[float]
) -> tuple[str | None, Limits]:
    """The coefficient that is the limit, and the limit by its weights of the columns."""
    turned = [*signs, *([] if linear.rest is None else [1.0])]
    if terms.limit_name is not None:
        weights = {name: float(name == terms.limit_name) for name in weights}
    settled = [weight for weight in weights.values() if weight is not None]
    alone = [name for name, weight in weights.items() if weight]
    if len(settled) < len(weights) or not alone or alone == [""]:
        return None, ()
    share = tuple(weight * sign + 0.0 for weight, sign in zip(settled, turned, strict=True))
    label = " + ".join(_term(name, weight, linear) for name, weight in weights.items() if weight)
    return label if label in linear.columns and 1.0 in share else None, ((label, share),)


def _term(name: str, weight: float | None, linear: _structure.LinearPart) -> str:
    """A part of a limit, such as `a`, `2*a`, `exp(b)` or a number."""
    if not name:
        return f"{weight:g}"
    sign = linear.logarithms.get(name)
    text = name if sign is None else f"exp({name})" if sign > 0 else f"exp(-{name})"
    return text if weight == 1.0 else f"{weight:g}*{text}"


def _positive_inputs(terms: Terms, tree: ast.expr, coordinates: Mapping[str, Coordinate]) -> tuple[int, ...]:
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
