"""Search coordinates of a formula's nonlinear coefficients, and where to search where no range is given.

A range is of the coefficient itself, or relative to the data, so that the unit of x does not matter: a rate by the
change that it makes to the argument of its function over the data; a scale, and what is added to an input, by its
place in the logarithm between the smallest (0) and the largest (1) value of what it is compared with; what is taken
from an input by its place between those.
"""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, reduce

import numpy as np

from sparsity_lab.laws import _roles, _structure
from sparsity_lab.laws._formula import Dual, larger, names, number, smaller, walk, where
from sparsity_lab.laws._law import Array, Span
from sparsity_lab.laws._roles import Role
from sparsity_lab.laws._structure import ONE
from sparsity_lab.laws.logspace_power import ALPHA_RANGE as EXPONENT_IN_FUNCTION
from sparsity_lab.laws.logspace_power import FALL_RANGE
from sparsity_lab.laws.loss_power import EXPONENT_RANGE as EXPONENT_OF_SEVERAL
from sparsity_lab.laws.power import ALPHA_RANGE as EXPONENT_OF_ONE
from sparsity_lab.laws.sigmoid import MIDPOINT_RANGE

VALUE, CHANGE, LOG_PLACE, LINEAR_PLACE = "value", "change", "log place", "linear place"
_MEASURES = {
    _roles.RATE: CHANGE, _roles.SCALE: LOG_PLACE, _roles.SHIFT: LOG_PLACE, _roles.PLACE: LINEAR_PLACE,
}  # fmt: skip
LEAST_EXPONENT = EXPONENT_OF_ONE[0]
ANY_SCALE = (1e-3, 1e3)  # of a coefficient that nothing in the formula gives a scale
FAR_SCALE = (-4.0, 5.0)  # places of a scale among several inputs, such as Nc of (Nc/N)^a, far from all N
SMALLEST_SHARE = 1e-6  # of the largest value that a scale is compared with, as the smallest one
OVER_DATA = "over the data"  # behind a range that is relative to them
Edges = tuple[float, float]


@dataclass(frozen=True)
class Coordinate:
    """How a nonlinear coefficient is searched.

    Attributes:
        name: the coefficient. edges: of its range, in what it is measured by.
        measure: VALUE, the coefficient itself; CHANGE, of an argument over the data; LOG_PLACE or LINEAR_PLACE
            between the smallest and the largest value of `against`.
        against, power: as of `Role`.
    """

    name: str
    edges: Edges
    measure: str = VALUE
    against: ast.expr | None = None
    power: int = 1

    @property
    def relative(self) -> bool:
        """Whether it is measured by the data."""
        return self.measure != VALUE

    @property
    def in_ln(self) -> bool:
        """Whether the search runs over the logarithm, of the size where a change of an argument is negative."""
        return self.measure in (VALUE, CHANGE) and (self.edges[0] > 0 or self.sign < 0)

    @property
    def sign(self) -> float:
        """-1 of a negative change, else 1."""
        return -1.0 if self.measure == CHANGE and self.edges[1] < 0 else 1.0

    def box(self) -> Edges:
        """Lower and upper edge of the search."""
        if not self.in_ln:
            return self.edges
        low, high = sorted(math.log(self.sign * edge) for edge in self.edges)
        return low, high

    def value(self, at: Dual, corners: Sequence[Mapping[str, Dual]]) -> Dual:
        """The coefficient at its coordinate.

        Args:
            at: the coordinate, of shape (..., 1).
            corners: values of inputs and of coefficients at every corner of the data.
        """
        measured = at.through("exp") * number(self.sign) if self.in_ln else at
        if self.measure == VALUE:
            return measured
        low, high = self._ends(corners)
        if self.measure == LINEAR_PLACE:
            return low + measured * (high - low)
        if self.measure == CHANGE:
            return _to_power(measured / (high - low), self.power)
        place = low.through("log") + measured * (high.through("log") - low.through("log"))
        return _to_power((-place).through("exp"), self.power)

    def locate(self, value: Array, corners: Sequence[Mapping[str, Dual]]) -> Array:
        """The coordinate of values of the coefficient, both of shape (..., 1)."""
        if self.measure == VALUE:
            return np.log(value) if self.in_ln else value
        low, high = (end.value for end in self._ends(corners))
        if self.measure == LINEAR_PLACE:
            return np.asarray((value - low) / (high - low))
        if self.measure == CHANGE:
            change = value**self.power * (high - low)
            return np.log(self.sign * change) if self.in_ln else np.asarray(change)
        return np.asarray((-self.power * np.log(value) - np.log(low)) / (np.log(high) - np.log(low)))

    def text(self) -> str:
        """The range, as it is written behind a formula."""
        text = range_text(self.name, self.edges)
        return text if self.measure == VALUE else f"{text} {OVER_DATA}"

    def sample(self, generator: np.random.Generator, count: int) -> Array:
        """Values of the coefficient within its range, where the data are not known; shape (count, 1)."""
        low, high = self.box() if self.measure == VALUE else (-2.0, 2.0)
        drawn = generator.uniform(low, high, size=(count, 1))
        return self.sign * np.exp(drawn) if self.in_ln or self.measure == LOG_PLACE else drawn

    def _ends(self, corners: Sequence[Mapping[str, Dual]]) -> tuple[Dual, Dual]:
        """Smallest and largest value over the data of what the coefficient is compared with; never equal."""
        assert self.against is not None
        found = [walk(self.against, corner) for corner in corners]
        if self.measure == LOG_PLACE:
            found = [Dual(np.abs(d.value), {n: np.sign(d.value) * s for n, s in d.by.items()}) for d in found]
        low, high = reduce(smaller, found), reduce(larger, found)
        if self.measure != LOG_PLACE:
            flat = ~(np.isfinite(high.value - low.value) & (high.value > low.value))
            return low, where(flat, low + number(1.0), high)
        high = where(~(np.isfinite(high.value) & (high.value > 0)), number(1.0), high)
        least = high * number(SMALLEST_SHARE)
        low = where(~(low.value > least.value), least, low)
        return where(low.value > 0.999 * high.value, high * number(0.1), low), high


def of_one_sign(coordinate: Coordinate, sign: float) -> Coordinate:
    """A change of an argument over the data that is positive, or negative."""
    low, high = FALL_RANGE
    return replace(coordinate, edges=(low, high) if sign > 0 else (-high, -low))


def replaced(coordinate: Coordinate, edges: Edges) -> Coordinate:
    """The same coordinate over another range."""
    return replace(coordinate, edges=edges)


def range_text(name: str, edges: Edges) -> str:
    """A range as it is written: `alpha=0.01:10.0`."""
    return f"{name}={edges[0]!r}:{edges[1]!r}"


@lru_cache(maxsize=256)
def corners_of(span: Span, symbols: tuple[str, ...]) -> list[dict[str, Dual]]:
    """The inputs at every corner of the data; shared and not to be changed."""
    ends = [(number(low), number(high)) for low, high in zip(span.low, span.high, strict=True)]
    return [dict(zip(symbols, corner, strict=True)) for corner in itertools.product(*ends)]


def usual(role: Role, name: str, *, several: bool, against: ast.expr | None) -> Coordinate:
    """Where a coefficient without a range is searched.

    Args:
        role: what it does. name: the coefficient. several: whether the formula has several inputs.
        against: `role.against` without linear coefficients, or None where it depends on what depends on the data.
    """
    if role.kind == _roles.EXPONENT:
        low, high = EXPONENT_OF_SEVERAL if several else EXPONENT_OF_ONE
        if role.in_function:
            low, high = EXPONENT_IN_FUNCTION
        return Coordinate(name, (-high, high) if role.either_sign else (low, high))
    if role.kind == _roles.OFFSET:
        return Coordinate(name, (-FALL_RANGE[1], FALL_RANGE[1]))
    if role.kind == _roles.FREE or against is None:
        return Coordinate(name, ANY_SCALE)
    edges = FAR_SCALE if several and role.kind == _roles.SCALE else MIDPOINT_RANGE
    if role.kind == _roles.RATE:
        edges = (-FALL_RANGE[1], FALL_RANGE[1]) if role.either_sign else FALL_RANGE
    power = -1 if role.kind == _roles.SHIFT else role.power
    return Coordinate(name, edges, _MEASURES[role.kind], against, power)


def compared_with(roles: Mapping[str, Role], linear: Collection[str]) -> dict[str, ast.expr | None]:
    """What each coefficient is compared with, linear ones taken as 1; None where that would run in a circle."""
    trees = {
        name: None
        if role.against is None
        else _structure.with_names(role.against, dict.fromkeys(linear, ONE))
        for name, role in roles.items()
    }
    others = {name: set() if tree is None else names(tree) & set(roles) for name, tree in trees.items()}
    free = {name for name, needed in others.items() if not needed}
    return {name: tree if others[name] <= free else None for name, tree in trees.items()}


def _to_power(value: Dual, power: int) -> Dual:
    return value if power > 0 else number(1.0) / value
