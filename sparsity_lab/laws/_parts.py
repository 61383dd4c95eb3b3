"""From a formula and what is said of it to the parts of a law: columns, search coordinates, bounds and limits."""

from __future__ import annotations

import ast
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.laws import _coordinates, _roles, _structure
from sparsity_lab.laws._column import DesignColumn
from sparsity_lab.laws._coordinates import CHANGE, VALUE, Coordinate, Edges
from sparsity_lab.laws._formula import called_by, names, parse
from sparsity_lab.laws._law import ANY, Limits
from sparsity_lab.laws._limits import limit_of, positive_inputs_of, refuse_limit, weights_at_ends
from sparsity_lab.laws._roles import EXPONENT, FREE, Role
from sparsity_lab.laws._terms import Terms

MOST_SEARCHED = 8  # nonlinear coefficients; a grid over more has too many points
WITHOUT_LOGARITHM = "Fit exp(y) by what is within the outer logarithm, with --log-y"


@dataclass(frozen=True)
class FormulaParts:
    """What a formula is made of.

    Attributes:
        tree: the formula, with fixed and tied coefficients in place.
        columns: linear coefficient -> its column. signs: 1, or -1 of a column that is turned, so that an upper bound
            of its coefficient is a lower one. lower: bounds of the turned coefficients.
        logarithms: linear coefficients v that are logarithms of a weight exp(power v) -> power.
        rest: the part without linear coefficients, or None.
        coordinates: nonlinear coefficient -> how it is searched; those that depend on others come behind them.
        exponents: nonlinear coefficients that are exponents of an input, searched in the logarithm.
        found: ranges that were found where none was given. notes: what else a reader of the fit should know.
        asymptote: the linear coefficient that is the limit, or None. limits, far_end: as of `Law`.
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
    notes: tuple[str, ...]
    asymptote: str | None
    limits: Limits
    far_end: str | None
    positive_inputs: tuple[int, ...]


def parts_of(terms: Terms) -> FormulaParts:
    """The parts of a formula.

    Raises:
        SparsityLabError: it cannot be read, or what is said of it cannot be kept.
    """
    tree = _structure.with_natural_logarithms(terms.whole_tree())
    tree = _structure.with_powers(tree, terms.symbols)
    coefficients = names(tree) - set(terms.symbols)
    bounded = {name for name in terms.bounds if not _linear_in(tree, name)}
    linear = _structure.linear_part(tree, coefficients - {*terms.ranges, *terms.relative, *bounded})
    refuse_limit(terms, linear)
    roles = {
        name: _roles.role_of(tree, name, terms.symbols) for name in sorted(coefficients - set(linear.columns))
    }
    if len(roles) > MOST_SEARCHED:
        raise SparsityLabError(
            f"The formula {terms.text!r} is not linear in {len(roles)} coefficients: {', '.join(roles)}",
            why=f"At most {MOST_SEARCHED} are searched",
            fix=WITHOUT_LOGARITHM
            if _is_logarithm(tree)
            else f"Make one a number, such as --fix {min(roles)}=1, or two the same with --tie",
        )
    coordinates = _coordinates_of(terms, roles, linear.columns)
    positive = positive_inputs_of(terms, tree, coordinates)
    weights = weights_at_ends(terms, linear, coordinates, positive)
    # The coefficient of a column that is divided by its size is another one: neither a limit, nor what a bound is of.
    settled = {name for end in weights for name, weight in end.items() if weight} | {terms.limit_name}
    settled |= {
        name for name, edges in terms.bounds.items() if any(edge and math.isfinite(edge) for edge in edges)
    }
    signs, lower = _bounds(terms, linear)
    limits = [limit_of(terms, linear, end, signs) for end in weights]
    named = {label: share for label, share in filter(None, limits)}
    first = next(iter(named), "")
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
        notes=tuple(_notes(terms, tree, roles, given)),
        asymptote=first if first in linear.columns and 1.0 in named[first] else None,
        limits=tuple(named.items()),
        far_end=None if limits[-1] is None else limits[-1][0],
        positive_inputs=positive,
    )


def _notes(terms: Terms, tree: ast.expr, roles: Mapping[str, Role], given: Collection[str]) -> Iterator[str]:
    """What is taken for granted of a formula, and what nothing is known of."""
    if unknown := [name for name, role in roles.items() if role.kind == FREE and name not in given]:
        low, high = _coordinates.ANY_SCALE
        yield f"no role is known for {', '.join(unknown)}, searched from {low:g} to {high:g}"
    if roles and _is_logarithm(tree):
        yield f"nothing within a logarithm is linear: {WITHOUT_LOGARITHM[:1].lower()}{WITHOUT_LOGARITHM[1:]}"
    if any(isinstance(node, ast.Name) and node.id == "e" for node in ast.walk(parse(terms.text))):
        yield "e is the number 2.71828"


def _is_logarithm(tree: ast.expr) -> bool:
    return isinstance(tree, ast.Call) and called_by(tree) == "log"


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
    if coordinate.measure == CHANGE and bounds in ((0.0, math.inf), (-math.inf, 0.0)):
        if bounds[0] <= low and high <= bounds[1]:
            return coordinate
        return _coordinates.of_one_sign(coordinate, 1.0 if bounds[0] == 0.0 else -1.0)
    if coordinate.measure != VALUE:
        if bounds[0] <= 0 and bounds[1] == math.inf and (coordinate.in_ln or coordinate.measure != CHANGE):
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
