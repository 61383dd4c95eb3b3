"""A law from a formula as text, such as `A0 - c*x**-alpha` or `b1*(1 - exp(-b2*x))`.

The formula is parsed to Python's syntax tree, of which only arithmetic, numbers, names and a few functions
are allowed. Its linear coefficients are found from the tree: a set of names is jointly linear where the
formula is of degree one in it. Values and derivatives come from one walk over the tree that carries both
(forward differentiation), so the derivatives are exact.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.laws._law import LINEAR, NONLINEAR, Array, Coefficients, Law, Parameter, Span, Variable

INPUT = "x"
CONSTANTS = {"pi": math.pi, "e": math.e}
# Each function with its derivative, both of the argument.
FUNCTIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "exp": (np.exp, np.exp),
    "log": (np.log, lambda v: 1.0 / v),
    "sqrt": (np.sqrt, lambda v: 0.5 / np.sqrt(v)),
    "tanh": (np.tanh, lambda v: 1.0 - np.tanh(v) ** 2),
    "arctan": (np.arctan, lambda v: 1.0 / (1.0 + v**2)),
    "sin": (np.sin, np.cos),
    "cos": (np.cos, lambda v: -np.sin(v)),
}


@dataclass(frozen=True)
class Dual:
    """A value with its derivatives by the names asked for."""

    value: Array
    by: Mapping[str, Array]


@dataclass(frozen=True)
class Expression(Law):
    """A law given as text.

    Args:
        text: the formula in `x` and named coefficients, with or without `y =` in front.
        ranges: lower and upper edge of each nonlinear coefficient; searched in ln where both are positive.

    Raises:
        SparsityLabError: the formula cannot be read, or a nonlinear coefficient has no range.
    """

    text: str
    ranges: Mapping[str, tuple[float, float]]
    linear: tuple[str, ...] = field(init=False)
    nonlinear: tuple[str, ...] = field(init=False)

    source = "given as text"
    inputs = (Variable("x", "x", "as in the table"),)
    output = Variable("y", "y", "as in the table")

    def __post_init__(self) -> None:
        tree = parse(self.text)
        names = sorted(_names(tree) - {INPUT} - set(CONSTANTS))
        linear = _jointly_linear(tree, [n for n in names if n not in self.ranges])
        nonlinear = tuple(name for name in names if name not in linear)
        for key, value in (("linear", linear), ("nonlinear", nonlinear)):
            object.__setattr__(self, key, value)
        if missing := [name for name in nonlinear if name not in self.ranges]:
            raise SparsityLabError(
                f"The formula {self.text!r} is not linear in {', '.join(missing)}",
                fix=f"Give a range to search, such as --range {missing[0]}=0.01:10",
            )
        edges = (f"{name}={low!r}:{high!r}" for name, (low, high) in self.ranges.items())
        # The name alone makes the law again, so that fits and locks of formulas can be repeated.
        object.__setattr__(self, "name", "; ".join([self.text, *edges]))
        object.__setattr__(self, "formula", self.text)
        object.__setattr__(self, "latex", "")
        parameters = tuple(
            Parameter(n, "as the formula", n, kind=LINEAR if n in linear else NONLINEAR)
            for n in (*nonlinear, *linear)
        )
        object.__setattr__(self, "parameters", parameters)
        # The part without any linear coefficient is a column of its own with a fixed weight of one.
        object.__setattr__(self, "linear_lower", (*(-math.inf for _ in linear), 0.0))
        object.__setattr__(self, "offset_columns", ((len(linear), 1.0),))

    def search_box(self, span: Span) -> Array:
        """The given ranges, in ln where both edges are positive."""
        edges = [self.ranges[name] for name in self.nonlinear]
        return np.array([np.log(edge) if min(edge) > 0 else edge for edge in edges]).reshape(-1, 2)

    def design(self, theta: Array, x: Array, span: Span) -> Array:
        """One column a linear coefficient, and the part without any."""
        columns = self._columns(self._named(theta), x)
        return np.broadcast_to(columns, (*theta.shape[:-1], *columns.shape[-2:]))

    def design_gradient(self, theta: Array, x: Array, span: Span) -> Array:
        """By each search coordinate, exactly."""
        values = self._named(theta)
        units = [{n: float(n == name) for n in self.linear} for name in (*self.linear, None)]
        found = [evaluate(self.text, {**values, **unit}, x, by=self.nonlinear) for unit in units]
        rest = found[-1]
        gradient = np.empty((*theta.shape, len(x), len(units)))
        for i, name in enumerate(self.nonlinear):
            chain = values[name] if self._in_ln(name) else 1.0
            for j, dual in enumerate(found[:-1]):
                gradient[..., i, :, j] = chain * (dual.by[name] - rest.by[name])
            gradient[..., i, :, -1] = chain * rest.by[name]
        return gradient

    def assemble(self, theta: Array, linear: Array, span: Span) -> dict[str, Array]:
        """All coefficients by name."""
        nonlinear = {name: value[..., 0] for name, value in self._named(theta).items()}
        return {**nonlinear, **{name: linear[..., j] for j, name in enumerate(self.linear)}}

    def locate(self, coefficients: Coefficients, span: Span) -> Array:
        """Coordinates of given coefficients."""
        places = [np.log(coefficients[n]) if self._in_ln(n) else coefficients[n] for n in self.nonlinear]
        return (
            np.stack([np.asarray(place, dtype=float) for place in places], axis=-1) if places else np.empty(0)
        )

    def predict(self, coefficients: Coefficients, x: Array) -> Array:
        """The formula."""
        return evaluate(self.text, coefficients, x).value

    def slope(self, coefficients: Coefficients, x: Array) -> Array:
        """The formula's derivative by x."""
        return np.asarray(evaluate(self.text, coefficients, x, by=(INPUT,)).by[INPUT])

    def invert(self, coefficients: Coefficients, y: float) -> float:
        """The smallest positive x on a wide logarithmic grid where y is crossed, refined by bisection."""
        grid = np.geomspace(1e-9, 1e15, 4001)
        gaps = self.predict(coefficients, grid) - y
        crossed = np.flatnonzero(np.isfinite(gaps[:-1] * gaps[1:]) & (gaps[:-1] * gaps[1:] <= 0))
        if len(crossed) == 0:
            return math.inf
        low, high = grid[crossed[0]], grid[crossed[0] + 1]
        for _ in range(80):
            middle = math.sqrt(low * high)
            same = (self.predict(coefficients, np.array([middle]))[0] - y) * gaps[crossed[0]] > 0
            low, high = (middle, high) if same else (low, middle)
        return float(low)

    def _columns(self, values: Mapping[str, Array], x: Array) -> Array:
        nothing = dict.fromkeys(self.linear, 0.0)
        rest = evaluate(self.text, {**values, **nothing}, x).value
        ones = [evaluate(self.text, {**values, **nothing, n: 1.0}, x).value - rest for n in self.linear]
        return np.stack([*ones, rest], axis=-1)

    def _named(self, theta: Array) -> dict[str, Array]:
        """The nonlinear coefficients at theta (..., q), each of shape (..., 1)."""
        places = np.moveaxis(theta, -1, 0)[..., None]
        return {
            name: np.exp(place) if self._in_ln(name) else place
            for name, place in zip(self.nonlinear, places, strict=True)
        }

    def _in_ln(self, name: str) -> bool:
        return min(self.ranges[name]) > 0


def parse(text: str) -> ast.expr:
    """The syntax tree of a formula.

    Raises:
        SparsityLabError: it is no formula, or holds something that is not allowed.
    """
    body = text.split("=", 1)[1] if "=" in text else text
    try:
        tree = ast.parse(body.strip().replace("^", "**"), mode="eval").body
    except SyntaxError as error:
        raise SparsityLabError(f"Cannot read the formula {text!r}", why=error.msg, fix=_HELP) from error
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED):
            raise SparsityLabError(f"The formula {text!r} holds {ast.unparse(node)!r}", fix=_HELP)
        if isinstance(node, ast.Call) and (not isinstance(node.func, ast.Name) or len(node.args) != 1):
            raise SparsityLabError(f"The formula {text!r} calls {ast.unparse(node)!r}", fix=_HELP)
    if unknown := _called(tree) - set(FUNCTIONS):
        raise SparsityLabError(f"The formula {text!r} calls {', '.join(sorted(unknown))}", fix=_HELP)
    return tree


def evaluate(text: str, values: Mapping[str, Any], x: Array, *, by: tuple[str, ...] = ()) -> Dual:
    """The formula's value at x and its derivatives by some of its names; values and x broadcast."""
    known = {name: Dual(np.asarray(v, dtype=float), {}) for name, v in {**CONSTANTS, **values}.items()}
    known[INPUT] = Dual(np.asarray(x, dtype=float), {})
    for name in by:
        known[name] = Dual(known[name].value, {name: np.ones(np.shape(x))})
    with np.errstate(all="ignore"):
        found = _walk(parse(text), known)
    zeros = np.zeros(np.broadcast_shapes(np.shape(x), np.shape(found.value)))
    return Dual(found.value + zeros, {name: found.by.get(name, zeros) + zeros for name in by})


_ALLOWED = (
    ast.BinOp, ast.UnaryOp, ast.Call, ast.Name, ast.Constant, ast.Load, ast.Add, ast.Sub, ast.Mult, ast.Div,
    ast.Pow, ast.USub, ast.UAdd,
)  # fmt: skip
_HELP = f"Use + - * / ^, numbers, names and {', '.join(FUNCTIONS)}"


def _walk(node: ast.expr, known: Mapping[str, Dual]) -> Dual:
    if isinstance(node, ast.Constant):
        return Dual(np.asarray(float(node.value)), {})  # type: ignore[arg-type]
    if isinstance(node, ast.Name):
        return known[node.id]
    if isinstance(node, ast.UnaryOp):
        inner = _walk(node.operand, known)
        sign = -1.0 if isinstance(node.op, ast.USub) else 1.0
        return Dual(sign * inner.value, {n: sign * d for n, d in inner.by.items()})
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)
        inner = _walk(node.args[0], known)
        value, derivative = FUNCTIONS[node.func.id]
        return Dual(value(inner.value), {n: derivative(inner.value) * d for n, d in inner.by.items()})
    assert isinstance(node, ast.BinOp)
    return _binary(node.op, _walk(node.left, known), _walk(node.right, known))


def _binary(operator: ast.operator, a: Dual, b: Dual) -> Dual:
    """Value of a binary operation, and its derivative as a weight on each side's."""
    u, v = a.value, b.value
    one = np.asarray(1.0)
    if isinstance(operator, (ast.Add, ast.Sub)):
        sign = 1.0 if isinstance(operator, ast.Add) else -1.0
        return _combined(u + sign * v, a, one, b, np.asarray(sign))
    if isinstance(operator, ast.Mult):
        return _combined(u * v, a, v, b, u)
    if isinstance(operator, ast.Div):
        return _combined(u / v, a, 1.0 / v, b, -u / v**2)
    value = np.power(u, v)
    return _combined(value, a, v * np.power(u, v - 1.0), b, value * np.log(u) if b.by else one)


def _combined(value: Array, a: Dual, by_a: Array, b: Dual, by_b: Array) -> Dual:
    names = {*a.by, *b.by}
    return Dual(value, {n: by_a * a.by.get(n, 0.0) + by_b * b.by.get(n, 0.0) for n in names})


def _degree(node: ast.expr, of: set[str]) -> float:
    """Degree of the formula in a set of names taken together; infinity where it is no polynomial."""
    if isinstance(node, ast.Name):
        return float(node.id in of)
    if isinstance(node, ast.Constant):
        return 0.0
    if isinstance(node, ast.UnaryOp):
        return _degree(node.operand, of)
    if isinstance(node, ast.Call):
        return math.inf if _degree(node.args[0], of) else 0.0
    assert isinstance(node, ast.BinOp)
    left, right = _degree(node.left, of), _degree(node.right, of)
    if isinstance(node.op, (ast.Add, ast.Sub)):
        return max(left, right)
    if isinstance(node.op, ast.Mult):
        return left + right
    return left if isinstance(node.op, ast.Div) and not right else (math.inf if left or right else 0.0)


def _jointly_linear(tree: ast.expr, names: list[str]) -> tuple[str, ...]:
    chosen: list[str] = []
    for name in names:
        if _degree(tree, {*chosen, name}) <= 1:
            chosen.append(name)
    return tuple(chosen)


def _names(tree: ast.expr) -> set[str]:
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} - _called(tree)


def _called(tree: ast.expr) -> set[str]:
    return {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
