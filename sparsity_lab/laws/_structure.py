"""Taking a formula apart: the coefficients that it is linear in, and what each is multiplied by.

A set of names is jointly linear where the formula is of degree one in it. Each linear coefficient has a column, the
tree of what it is multiplied by. `b` of `exp(b + ...)` is linear as well, in its exponential.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce

from sparsity_lab.laws._formula import called_by, names

ONE = ast.Constant(1.0)
EXACT = 1e-12  # nearer to 1 is 1
_BASES = {"log10": 10.0, "log2": 2.0}


@dataclass(frozen=True)
class LinearPart:
    """The linear part of a formula.

    Attributes:
        columns: what each linear coefficient is multiplied by.
        logarithms: coefficients v that are logarithms of a weight exp(power v) -> power.
        rest: the part without linear coefficients, or None.
    """

    columns: Mapping[str, ast.expr]
    logarithms: Mapping[str, float]
    rest: ast.expr | None


def with_names(tree: ast.expr, parts: Mapping[str, ast.expr]) -> ast.expr:
    """The tree with names exchanged for other parts."""
    if isinstance(tree, ast.Name):
        return parts.get(tree.id, tree)
    return _with_inner(tree, lambda part: with_names(part, parts))


def with_natural_logarithms(tree: ast.expr) -> ast.expr:
    """The tree with `log10(x)` and `log2(x)` as multiples of `log(x)`, and `10^(a + b)` as `exp(2.3*a + 2.3*b)`."""
    changed = _with_inner(tree, with_natural_logarithms)
    if isinstance(changed, ast.Call) and called_by(changed) in _BASES:
        logarithm = ast.Call(ast.Name("log", ast.Load()), changed.args, [])
        return ast.BinOp(ast.Constant(1.0 / math.log(_BASES[called_by(changed)])), ast.Mult(), logarithm)
    if not (isinstance(changed, ast.BinOp) and isinstance(changed.op, ast.Pow)):
        return changed
    base, exponent = changed.left, changed.right
    if not (isinstance(base, ast.Constant) and base.value > 0 and names(exponent)):  # type: ignore[operator]
        return changed
    rate = ast.Constant(math.log(base.value))  # type: ignore[arg-type]
    total: ast.expr | None = None
    for term, sign in terms(exponent):
        total = _joined(
            total, ast.Add() if sign > 0 else ast.Sub(), _without_numbers(ast.BinOp(rate, ast.Mult(), term))
        )
    assert total is not None
    return ast.Call(ast.Name("exp", ast.Load()), [total], [])


def _without_numbers(product: ast.expr) -> ast.expr:
    """A product with its numbers multiplied, and left out where they are 1."""
    factor, others = 1.0, []
    for part, power in factors(product):
        if isinstance(part, ast.Constant):
            factor *= float(part.value) ** power  # type: ignore[arg-type]
        else:
            others.append((part, power))
    whole: ast.expr = ONE if abs(factor - 1.0) < EXACT else ast.Constant(factor)
    for part, power in others:
        whole = _times(whole, part, power)
    return whole


def _times(whole: ast.expr, part: ast.expr, power: int) -> ast.expr:
    """A product with one more factor, or divided by it."""
    if whole is ONE and power > 0:
        return part
    return ast.BinOp(whole, ast.Mult() if power > 0 else ast.Div(), part)


def with_powers(tree: ast.expr, inputs: Collection[str]) -> ast.expr:
    """The tree with `exp(a - b*log(x))` written as `exp(a) * x^(-b)`, so that exponents of inputs are seen as such."""
    changed = _with_inner(tree, lambda part: with_powers(part, inputs))
    if not isinstance(changed, ast.Call) or called_by(changed) != "exp":
        return changed
    rest: ast.expr | None = None
    powers: list[ast.expr] = []
    for term, sign in terms(changed.args[0]):
        if (power := _as_power(term, sign, inputs)) is not None:
            powers.append(power)
        else:
            rest = _joined(rest, ast.Add() if sign > 0 else ast.Sub(), term)
    if not powers:
        return changed
    parts = [*([] if rest is None else [ast.Call(changed.func, [rest], [])]), *powers]
    return reduce(lambda left, right: ast.BinOp(left, ast.Mult(), right), parts)


def _as_power(term: ast.expr, sign: float, inputs: Collection[str]) -> ast.expr | None:
    """What a term of an exponential multiplies it by, where that is a power of a logarithm's argument; or None."""
    logarithms, others = [], []
    for part, power in factors(term):
        moves = bool(names(part) & set(inputs))
        if moves and power > 0 and isinstance(part, ast.Call) and called_by(part) == "log":
            logarithms.append(part)
        elif moves:
            return None
        elif isinstance(part, ast.Constant) and part.value == -1.0:
            sign = -sign
        else:
            others.append((part, power))
    if len(logarithms) != 1:
        return None
    exponent: ast.expr = ONE
    for part, power in others:
        exponent = _times(exponent, part, power)
    if sign < 0:
        exponent = ast.UnaryOp(ast.USub(), exponent)
    return ast.BinOp(logarithms[0].args[0], ast.Pow(), exponent)


def linear_part(tree: ast.expr, candidates: Collection[str]) -> LinearPart:
    """The names among the candidates that the formula is jointly linear in, with their columns."""
    chosen = [*_jointly_linear(tree, sorted(candidates))]
    logarithms = {}
    for name in sorted(set(candidates) - set(chosen)):
        as_weight = _as_weight(tree, name)
        if as_weight is not None and _degree(as_weight[0], {*chosen, name}) <= 1:
            tree, logarithms[name] = as_weight
            chosen.append(name)
    columns = {name: _coefficient(tree, name) for name in sorted(chosen)}
    return LinearPart(
        {n: c for n, c in columns.items() if c is not None}, logarithms, _without(tree, set(chosen))
    )


def factors(tree: ast.expr) -> Iterator[tuple[ast.expr, int]]:
    """The factors of a product, each with 1, or -1 where it divides; a sign is a factor too."""
    if isinstance(tree, ast.UnaryOp):
        if isinstance(tree.op, ast.USub):
            yield ast.Constant(-1.0), 1
        yield from factors(tree.operand)
    elif isinstance(tree, ast.BinOp) and isinstance(tree.op, (ast.Mult, ast.Div)):
        yield from factors(tree.left)
        turned = 1 if isinstance(tree.op, ast.Mult) else -1
        yield from ((part, turned * power) for part, power in factors(tree.right))
    else:
        yield tree, 1


def _degree(node: ast.expr, of: set[str]) -> float:
    """Degree of the formula in a set of names taken together; infinity where it is not a polynomial."""
    if isinstance(node, ast.Name):
        return float(node.id in of)
    if isinstance(node, ast.Constant):
        return 0.0
    if isinstance(node, ast.UnaryOp):
        return _degree(node.operand, of)
    if isinstance(node, ast.Call):
        return math.inf if any(_degree(part, of) for part in node.args) else 0.0
    assert isinstance(node, ast.BinOp)
    left, right = _degree(node.left, of), _degree(node.right, of)
    if isinstance(node.op, (ast.Add, ast.Sub)):
        return max(left, right)
    if isinstance(node.op, ast.Mult):
        return left + right
    return left if isinstance(node.op, ast.Div) and not right else (math.inf if left or right else 0.0)


def _jointly_linear(tree: ast.expr, candidates: list[str]) -> list[str]:
    chosen: list[str] = []
    for name in candidates:
        if _degree(tree, {*chosen, name}) <= 1:
            chosen.append(name)
    return chosen


def _coefficient(node: ast.expr, name: str) -> ast.expr | None:
    """What a name that the tree is linear in is multiplied by; None where it is not there."""
    if isinstance(node, ast.Name):
        return ONE if node.id == name else None
    if isinstance(node, ast.UnaryOp):
        return _signed(node.op, _coefficient(node.operand, name))
    if not isinstance(node, ast.BinOp):
        return None
    left, right = _coefficient(node.left, name), _coefficient(node.right, name)
    if isinstance(node.op, (ast.Add, ast.Sub)):
        return _joined(left, node.op, right)
    if isinstance(node.op, ast.Mult):
        return _product(left, node.right) if left is not None else _product(right, node.left)
    return None if left is None or isinstance(node.op, ast.Pow) else ast.BinOp(left, node.op, node.right)


def _without(node: ast.expr, zero: set[str]) -> ast.expr | None:
    """The tree with some names it is linear in at zero; None where nothing is left."""
    if isinstance(node, ast.Name):
        return None if node.id in zero else node
    if isinstance(node, ast.UnaryOp):
        return _signed(node.op, _without(node.operand, zero))
    if not isinstance(node, ast.BinOp) or isinstance(node.op, ast.Pow):
        return node
    left, right = _without(node.left, zero), _without(node.right, zero)
    if isinstance(node.op, (ast.Add, ast.Sub)):
        return _joined(left, node.op, right)
    return None if left is None or right is None else ast.BinOp(left, node.op, right)


def _signed(sign: ast.unaryop, inner: ast.expr | None) -> ast.expr | None:
    return None if inner is None else ast.UnaryOp(sign, inner)


def _joined(left: ast.expr | None, operator: ast.operator, right: ast.expr | None) -> ast.expr | None:
    if right is None:
        return left
    if left is None:
        return right if isinstance(operator, ast.Add) else ast.UnaryOp(ast.USub(), right)
    return ast.BinOp(left, operator, right)


def _product(left: ast.expr | None, right: ast.expr) -> ast.expr | None:
    if left is None:
        return None
    return right if left is ONE else ast.BinOp(left, ast.Mult(), right)


def _as_weight(tree: ast.expr, name: str) -> tuple[ast.expr, float] | None:
    """The tree with `exp(2*name + ...)` written as `name * exp(...)`, and the name's factor within it; or None."""
    if sum(isinstance(node, ast.Name) and node.id == name for node in ast.walk(tree)) != 1:
        return None
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call) and called_by(node) == "exp"):
        for term, sign in terms(call.args[0]):
            if name in names(term) and (factor := _factor_of(term, name)) is not None:
                left, itself = _without(call.args[0], {name}), ast.Name(name, ast.Load())
                weight: ast.expr = itself
                if left is not None:
                    weight = ast.BinOp(itself, ast.Mult(), ast.Call(call.func, [left], []))
                return _exchanged(tree, call, weight), sign * factor
    return None


def _factor_of(term: ast.expr, name: str) -> float | None:
    """The number that a name is multiplied by in a product of the two; None of any other term."""
    factor = 1.0
    for part, power in factors(term):
        if isinstance(part, ast.Constant):
            factor *= float(part.value) ** power  # type: ignore[arg-type]
        elif not (isinstance(part, ast.Name) and part.id == name and power > 0):
            return None
    return factor or None


def _exchanged(tree: ast.expr, old: ast.expr, new: ast.expr) -> ast.expr:
    """The tree with one of its parts, that very node, exchanged."""
    return new if tree is old else _with_inner(tree, lambda part: _exchanged(part, old, new))


def _with_inner(tree: ast.expr, change: Callable[[ast.expr], ast.expr]) -> ast.expr:
    """The tree with what it is made of changed."""
    if isinstance(tree, ast.BinOp):
        return ast.BinOp(change(tree.left), tree.op, change(tree.right))
    if isinstance(tree, ast.UnaryOp):
        return ast.UnaryOp(tree.op, change(tree.operand))
    return (
        ast.Call(tree.func, [change(part) for part in tree.args], []) if isinstance(tree, ast.Call) else tree
    )


def terms(node: ast.expr, sign: float = 1.0) -> Iterator[tuple[ast.expr, float]]:
    """The terms of a sum, each with its sign."""
    if isinstance(node, ast.UnaryOp):
        yield from terms(node.operand, -sign if isinstance(node.op, ast.USub) else sign)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        yield from terms(node.left, sign)
        yield from terms(node.right, -sign if isinstance(node.op, ast.Sub) else sign)
    else:
        yield node, sign
