"""Formulas as text: read into a syntax tree, and evaluated with exact derivatives.

Of Python's syntax only arithmetic, numbers, names and a few functions are allowed. Values and derivatives come from
one walk over the tree that carries both (forward differentiation).
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.laws._law import Array

CONSTANTS = {"pi": math.pi, "e": math.e}
# Each function with its derivative, both of the argument.
FUNCTIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "exp": (np.exp, np.exp),
    "log": (np.log, lambda v: 1.0 / v),
    "log10": (np.log10, lambda v: 1.0 / (math.log(10.0) * v)),
    "log2": (np.log2, lambda v: 1.0 / (math.log(2.0) * v)),
    "sqrt": (np.sqrt, lambda v: 0.5 / np.sqrt(v)),
    "tanh": (np.tanh, lambda v: 1.0 - np.tanh(v) ** 2),
    "arctan": (np.arctan, lambda v: 1.0 / (1.0 + v**2)),
    "sin": (np.sin, np.cos),
    "cos": (np.cos, lambda v: -np.sin(v)),
}
LONGEST = 400  # terms and factors, counted with what joins them
_ALLOWED = (
    ast.BinOp, ast.UnaryOp, ast.Call, ast.Name, ast.Constant, ast.Load, ast.Add, ast.Sub, ast.Mult, ast.Div,
    ast.Pow, ast.USub, ast.UAdd,
)  # fmt: skip
PAIRS = ("min", "max")  # of two arguments
_HELP = f"Use + - * / ^, numbers, names and {', '.join([*FUNCTIONS, *PAIRS])}"


@dataclass(frozen=True, eq=False)
class Dual:
    """A value with its derivatives, by name; names that are not there have a derivative of zero."""

    value: Array
    by: Mapping[str, Array] = field(default_factory=dict)

    def __neg__(self) -> Dual:
        return Dual(-self.value, {name: -slope for name, slope in self.by.items()})

    def __add__(self, other: Dual) -> Dual:
        return Dual(self.value + other.value, _sum(self.by, other.by))

    def __sub__(self, other: Dual) -> Dual:
        return self + (-other)

    def __mul__(self, other: Dual) -> Dual:
        by = _sum(_times(self.by, other.value), _times(other.by, self.value))
        return Dual(self.value * other.value, by)

    def __truediv__(self, other: Dual) -> Dual:
        value = self.value / other.value
        if not self.by and not other.by:
            return Dual(value)
        return Dual(value, _sum(_times(self.by, 1.0 / other.value), _times(other.by, -value / other.value)))

    def __pow__(self, other: Dual) -> Dual:
        base, exponent = self.value, other.value
        value = np.power(base, exponent)
        by_base = _times(self.by, exponent * np.power(base, exponent - 1.0)) if self.by else {}
        # Of a power that is zero the derivative by its positive exponent is zero.
        by_exponent = _times(other.by, np.where(value == 0, 0.0, value * np.log(base))) if other.by else {}
        return Dual(value, _sum(by_base, by_exponent))

    def through(self, function: str) -> Dual:
        """One of `FUNCTIONS` of it."""
        value, slope = FUNCTIONS[function]
        return Dual(value(self.value), _times(self.by, slope(self.value)) if self.by else {})


def number(value: float | Array) -> Dual:
    """A value that nothing moves."""
    return Dual(np.asarray(value, dtype=float))


def where(chosen: np.ndarray, one: Dual, other: Dual) -> Dual:
    """Elementwise the one value or the other."""
    by = {
        name: np.where(chosen, one.by.get(name, 0.0), other.by.get(name, 0.0))
        for name in dict.fromkeys([*one.by, *other.by])
    }
    return Dual(np.where(chosen, one.value, other.value), by)


def larger(one: Dual, other: Dual) -> Dual:
    """Elementwise the larger value; one that does not exist is smaller than any."""
    return where(~(other.value > one.value) & ~np.isnan(one.value), one, other)


def smaller(one: Dual, other: Dual) -> Dual:
    """Elementwise the smaller value; one that does not exist is larger than any."""
    return where(~(other.value < one.value) & ~np.isnan(one.value), one, other)


def _times(by: Mapping[str, Array], weight: Array) -> dict[str, Array]:
    return {name: weight * slope for name, slope in by.items()}


def _sum(left: Mapping[str, Array], right: Mapping[str, Array]) -> dict[str, Array]:
    return {**left, **{name: left[name] + slope if name in left else slope for name, slope in right.items()}}


@lru_cache(maxsize=256)
def parse(text: str) -> ast.expr:
    """The syntax tree of a formula, with or without `y =` in front; it is shared and not to be changed.

    Raises:
        SparsityLabError: it is not a formula, or holds something that is not allowed.
    """
    body = text.split("=", 1)[1] if "=" in text else text
    try:
        tree = ast.parse(body.strip().replace("^", "**"), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        why = error.msg if isinstance(error, SyntaxError) else str(error)
        raise SparsityLabError(f"Cannot read the formula {text[:200]!r}", why=why, fix=_HELP) from error
    parts = [node for node in ast.walk(tree) if isinstance(node, ast.expr)]
    if len(parts) > LONGEST:
        raise SparsityLabError(
            f"The formula {text[:200]!r} is too long",
            why=f"It has {len(parts)} parts",
            fix=f"Use at most {LONGEST}",
        )
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED) or (isinstance(node, ast.Constant) and not _is_number(node)):
            raise SparsityLabError(f"The formula {text!r} holds {ast.unparse(node)!r}", fix=_HELP)
        if isinstance(node, ast.Call) and not _is_plain_call(node):
            raise SparsityLabError(f"The formula {text!r} calls {ast.unparse(node)!r}", fix=_HELP)
    if unknown := called(tree) - {*FUNCTIONS, *PAIRS}:
        raise SparsityLabError(f"The formula {text!r} calls {', '.join(sorted(unknown))}", fix=_HELP)
    if bare := names(tree) & {*FUNCTIONS, *PAIRS}:
        raise SparsityLabError(
            f"The formula {text!r} uses {', '.join(sorted(bare))} without brackets", fix=_HELP
        )
    return tree


def walk(node: ast.expr, known: Mapping[str, Dual]) -> Dual:
    """The value of a tree and its derivatives; the values of the names broadcast."""
    if isinstance(node, ast.Constant):
        return number(float(node.value))  # type: ignore[arg-type]
    if isinstance(node, ast.Name):
        return known[node.id] if node.id in known else number(CONSTANTS[node.id])
    if isinstance(node, ast.UnaryOp):
        inner = walk(node.operand, known)
        return -inner if isinstance(node.op, ast.USub) else inner
    if isinstance(node, ast.Call):
        arguments = [walk(part, known) for part in node.args]
        if called_by(node) in PAIRS:
            return (smaller if called_by(node) == "min" else larger)(*arguments)
        return arguments[0].through(called_by(node))
    assert isinstance(node, ast.BinOp)
    left, right = walk(node.left, known), walk(node.right, known)
    if isinstance(node.op, ast.Add):
        return left + right
    if isinstance(node.op, ast.Sub):
        return left - right
    if isinstance(node.op, ast.Mult):
        return left * right
    return left / right if isinstance(node.op, ast.Div) else left**right


def names(tree: ast.expr) -> set[str]:
    """Names in a tree that are neither constants nor called as functions."""
    functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    used = (node for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in functions)
    return {node.id for node in used} - set(CONSTANTS)


def called(tree: ast.expr) -> set[str]:
    """Names of the functions in a tree."""
    return {called_by(n) for n in ast.walk(tree) if isinstance(n, ast.Call)}


def called_by(node: ast.Call) -> str:
    """The name of the function of a call."""
    assert isinstance(node.func, ast.Name)
    return node.func.id


def _is_plain_call(node: ast.Call) -> bool:
    if not isinstance(node.func, ast.Name) or node.keywords:
        return False
    return len(node.args) == (2 if node.func.id in PAIRS else 1)


def _is_number(node: ast.Constant) -> bool:
    try:
        return not isinstance(node.value, (bool, str)) and math.isfinite(float(node.value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return False
