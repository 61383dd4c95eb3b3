"""What a law is: a closed-form curve whose linear and nonlinear coefficients are kept apart.

Every law here can be written y = sum_j beta_j phi_j(x; theta). The optimizer searches theta (one or two
dimensionless coordinates) and solves beta in closed form; so a law supplies its columns phi, their
derivatives, and the way from (theta, beta) to the coefficients the papers print and back. The columns are
scaled by the span of the data: tokens and tokens/1e9 then give the same fit, digit for digit in theta.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Coefficients = Mapping[str, float]
ANY = (-math.inf, math.inf)
POSITIVE = (0.0, math.inf)
AS_IN_TABLE = "as in the table"  # the unit of what a table does not name
Limits = tuple[tuple[str, tuple[float, ...]], ...]
# How a coefficient of the paper depends on what is solved for: the search coordinates alone, a sum of the linear
# coefficients with weights of the coordinates, or the logarithm of such a sum.
NONLINEAR, LINEAR, LOG_LINEAR = "nonlinear", "linear", "log-linear"
# Which way a law's input goes from the first and smallest models of a study to its last and largest.
RISING, FALLING = "rising", "falling"


@dataclass(frozen=True)
class Variable:
    """A quantity on an axis, with its unit said aloud.

    Attributes:
        studied: smallest and largest value in studies of its kind, above zero; says nothing of what is allowed.
    """

    symbol: str
    meaning: str
    unit: str
    studied: tuple[float, float] = (0.8, 250.0)


@dataclass(frozen=True)
class Parameter:
    """A coefficient as the paper prints it.

    Attributes:
        box: the physically possible range; an optimum outside it is a finding, not an error.
        like_output: the coefficient has the unit and the physical range of y (an asymptote).
        kind: NONLINEAR, LINEAR or LOG_LINEAR.
        power: of a LOG_LINEAR coefficient v: exp(power v) is what is linear.
    """

    name: str
    unit: str
    meaning: str
    box: tuple[float, float] = ANY
    like_output: bool = False
    kind: str = NONLINEAR
    power: float = 1.0


@dataclass(frozen=True)
class Derived:
    """A number that one coefficient gives: `numerator` over it, such as the doubling time from a growth rate.

    It is in the unit of x, and has no value where the coefficient is not above zero.
    """

    name: str
    meaning: str
    of: str
    numerator: float

    def value(self, coefficient: float) -> float:
        """The number for a value of the coefficient; NaN where there is none."""
        return self.numerator / coefficient if coefficient > 0 else math.nan


@dataclass(frozen=True)
class Span:
    """Smallest and largest input of the points a fit uses, per input; scales the search coordinates."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, x: Array) -> Span:
        """The span of inputs of shape (n,) or (n, inputs)."""
        table = x.reshape(len(x), -1)
        return cls(tuple(map(float, table.min(axis=0))), tuple(map(float, table.max(axis=0))))

    def width(self) -> float:
        """Largest less smallest value of the first input, 1 where they are equal."""
        return self.high[0] - self.low[0] or 1.0


class Law(ABC):
    """One closed-form law; a file of this folder makes one as `LAW`.

    Attributes:
        name: the file's id.
        formula: plain text. latex: for papers, or empty. source: paper and equation.
        inputs, output: what x and y are, with units.
        parameters: coefficients in the order the paper prints them.
        linear_lower: lower bounds of beta; an upper bound is never needed.
        asymptote: name of the parameter that is y's limit, or None. asymptote_column: its column.
        output_box: the range that y can have by its nature, whatever the table.
        forward: RISING, or FALLING where the largest models have the smallest input (a loss).
        exponents: parameter name -> search coordinate that is its logarithm.
        scales: nonlinear coefficients above zero that are not exponents, such as the size at which a curve turns.
        offset_columns: (column, value) of columns whose coefficient is a fixed number and not a parameter.
        positive_inputs: indices of the inputs that must be above zero.
        derived: numbers that follow from one coefficient each.
        typed: the law as a formula that can be typed (`_expression`), its input x or the symbols of its inputs; empty
            where there is none.
        note: what was found where nothing was said, or empty.
    """

    name: ClassVar[str]
    formula: ClassVar[str]
    latex: ClassVar[str]
    source: ClassVar[str]
    inputs: ClassVar[tuple[Variable, ...]]
    output: ClassVar[Variable]
    parameters: tuple[Parameter, ...]
    linear_lower: tuple[float, ...]
    asymptote: str | None = None
    asymptote_column: int | None = None
    output_box: tuple[float, float] = ANY
    forward: str = RISING
    exponents: Mapping[str, int] = {}
    scales: tuple[str, ...] = ()
    offset_columns: tuple[tuple[int, float], ...] = ()
    positive_inputs: tuple[int, ...] = ()
    derived: tuple[Derived, ...] = ()
    typed: str = ""
    note: str = ""

    @abstractmethod
    def search_box(self, span: Span) -> Array:
        """Lower and upper edge of each search coordinate, shape (q, 2); q may be 0."""

    @abstractmethod
    def design(self, theta: Array, x: Array, span: Span) -> Array:
        """Columns phi_j at coordinates theta (..., q), shape (..., n, p)."""

    @abstractmethod
    def design_gradient(self, theta: Array, x: Array, span: Span) -> Array:
        """Derivatives of the columns by each coordinate, shape (..., q, n, p)."""

    @abstractmethod
    def assemble(self, theta: Array, linear: Array, span: Span) -> dict[str, Array]:
        """The paper's coefficients, each of shape (...), from theta (..., q) and beta (..., p).

        NaN where the paper's form has none.
        """

    @abstractmethod
    def locate(self, coefficients: Coefficients, span: Span) -> Array:
        """Search coordinates (..., q) of given coefficients, each of shape (...); the inverse of `assemble`."""

    @abstractmethod
    def predict(self, coefficients: Coefficients, x: Array) -> Array:
        """y at x, by the paper's formula; shape (n,)."""

    @abstractmethod
    def slope(self, coefficients: Coefficients, x: Array) -> Array:
        """dy/dx of the first input; shape (n,)."""

    @abstractmethod
    def invert(self, coefficients: Coefficients, y: float) -> float:
        """The x at which the law takes the value y; infinity where it never does, NaN where undefined."""

    def limit(self, coefficients: Coefficients) -> float:
        """y as models grow without end; NaN where the law has no limit of its own."""
        return math.nan if self.asymptote is None else float(coefficients[self.asymptote])

    @property
    def limits(self) -> Limits:
        """Values that y nears at an end of its inputs, each a name and its weights of beta, shape (p,).

        The limit is the sum of beta with these weights, whatever theta: an asymptote has one of 1 at its column. A
        curve with two ends has one entry for each.
        """
        if self.asymptote is None or self.asymptote_column is None:
            return ()
        return (
            (self.asymptote, tuple(float(j == self.asymptote_column) for j in range(len(self.linear_lower)))),
        )

    @property
    def other_ends(self) -> tuple[str, ...]:
        """Labels of the levels other than the asymptote that y tends to, such as the score of a perfect model."""
        return tuple(name for name, _ in self.limits if name != self.asymptote)

    @property
    def levels(self) -> tuple[str, ...]:
        """The asymptote and the other ends: names of all levels that y tends to."""
        return self.other_ends if self.asymptote is None else (self.asymptote, *self.other_ends)

    @property
    def far_end(self) -> str | None:
        """The name of the limit that y nears as models grow without end; None where there is none."""
        return next(iter(self.levels[:: -1 if self.forward == FALLING else 1]), None)

    def weights_of(self, name: str, theta: Array, span: Span) -> Array | None:
        """Weights of beta, shape (..., p), that make a linear coefficient, or the exponential of a log-linear one.

        None where they are to be found from `assemble`.
        """
        return None

    def kind_of(self, name: str) -> str:
        """How a parameter, or a level that y tends to, depends on what is solved for."""
        return LINEAR if name in dict(self.limits) else self.parameter(name).kind

    def parameter(self, name: str) -> Parameter:
        """The parameter of that name."""
        return next(p for p in self.parameters if p.name == name)


class ClosedForm(Law):
    """A law without search coordinates: least squares alone."""

    def search_box(self, span: Span) -> Array:
        """Nothing to search."""
        return np.empty((0, 2))

    def design_gradient(self, theta: Array, x: Array, span: Span) -> Array:
        """Nothing to search."""
        return np.empty((*theta.shape[:-1], 0, len(x), len(self.linear_lower)))

    def locate(self, coefficients: Coefficients, span: Span) -> Array:
        """Nothing to search."""
        return np.empty(0)


def numbers(coefficients: Mapping[str, Array]) -> dict[str, float]:
    """Coefficients of one point as plain numbers."""
    return {name: float(value) for name, value in coefficients.items()}


def per_theta(theta: Array, columns: Array) -> Array:
    """Columns (n, p) that no coordinate moves, for each of theta (..., q), shape (..., n, p)."""
    return np.broadcast_to(columns, (*theta.shape[:-1], *columns.shape))


DATA = Variable("D", "training tokens", "tokens/1e9")
RATIO = Variable("A", "activation ratio", "fraction")
