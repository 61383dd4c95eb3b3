"""What the nonlinear coefficients of a formula do in it, which says where to search for them."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sparsity_lab.laws._formula import called_by, names
from sparsity_lab.laws._structure import ONE

EXPONENT, RATE, OFFSET, SCALE, SHIFT, PLACE, FREE = (
    "exponent",
    "rate",
    "offset",
    "scale",
    "shift",
    "place",
    "free",
)
SATURATING = {"exp", "tanh", "arctan", "sin", "cos"}  # functions whose argument is of order one
Path = list[ast.expr]  # from the whole tree to one of its names


@dataclass(frozen=True)
class Role:
    """What a nonlinear coefficient does.

    Attributes:
        kind: EXPONENT of an input; RATE, a factor in the argument of a function; OFFSET, a term in it; SCALE, a factor
            of an input elsewhere; SHIFT, added to an input; PLACE, taken from one; or FREE.
        against: what a RATE or SCALE multiplies and what a SHIFT or PLACE is added to, or None.
        power: 1, or -1 where the coefficient divides.
        either_sign: whether its sign is open, as that of the exponent of `x^a`.
        bare: of an EXPONENT, whether its base is an input itself.
        in_function: whether it is in the argument of a function.
    """

    kind: str
    against: ast.expr | None = None
    power: int = 1
    either_sign: bool = False
    bare: bool = False
    in_function: bool = False


def role_of(tree: ast.expr, name: str, inputs: Collection[str]) -> Role:
    """What a nonlinear coefficient does in a formula; the most telling of its places counts."""
    roles = [_role_at(path, inputs) for path in _paths(tree, name)]
    exponents = [role for role in roles if role.kind == EXPONENT]
    return next(iter([*exponents, *(role for role in roles if role.kind != FREE), *roles]))


def _paths(node: ast.expr, name: str) -> Iterator[Path]:
    """The ways from the tree to each place of a name."""
    if isinstance(node, ast.Name):
        if node.id == name:
            yield [node]
        return
    for part in _inner(node):
        yield from ([node, *path] for path in _paths(part, name))


def _inner(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp):
        return [node.left, node.right]
    if isinstance(node, ast.UnaryOp):
        return [node.operand]
    return node.args if isinstance(node, ast.Call) else []


def _role_at(path: Path, inputs: Collection[str]) -> Role:
    return _as_exponent(path, inputs) or _as_factor_or_term(path, inputs)


def _as_exponent(path: Path, inputs: Collection[str]) -> Role | None:
    """The role of an exponent of an input, or None where the name is none."""
    for at, node in enumerate(path[:-1]):
        if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and path[at + 1] is node.right):
            continue
        if _has(node.left, inputs) and not _has(node.right, inputs):
            bare, in_function = isinstance(node.left, ast.Name), _calls(path[:at])
            below = any(isinstance(part, ast.BinOp) and isinstance(part.op, ast.Div) and path[i + 1] is part.right
                        for i, part in enumerate(path[:at]))  # fmt: skip
            rising = _sign(path[at + 1 :]) > 0 and not below
            return Role(
                EXPONENT, either_sign=bare and rising and not in_function, bare=bare, in_function=in_function
            )
    return None


def _as_factor_or_term(path: Path, inputs: Collection[str]) -> Role:
    """The role by the product a name is a factor of, the sum that is a term of, and what is made of that sum."""
    at, power, against = _product_around(path)
    others: list[tuple[ast.expr, float]] = []
    while at > 0 and _is_sum(path[at - 1]):
        parent = path[at - 1]
        if isinstance(parent, ast.BinOp):
            beside = parent.right if path[at] is parent.left else parent.left
            # The sign of the other term as seen from this one.
            sign = (-1.0 if isinstance(parent.op, ast.Sub) else 1.0) * _sign(path[at:])
            others.append((beside, sign))
        at -= 1
    around = path[at - 1] if at > 0 else None
    argument = isinstance(around, ast.Call) and called_by(around) in SATURATING
    raised = isinstance(around, ast.BinOp) and isinstance(around.op, ast.Pow) and path[at] is around.right
    exponential = isinstance(around, ast.Call) and called_by(around) == "exp"
    in_function, multiplies = argument or raised, against is not None and _has(against, inputs)
    compared = [(other, sign) for other, sign in others if _has(other, inputs)]
    if in_function and multiplies:
        growing = raised or exponential
        return Role(
            RATE, against, power, either_sign=growing and power > 0 and _sign(path[at:]) > 0, in_function=True
        )
    if (in_function and compared) or (exponential and path[at] is path[-1]):
        return Role(OFFSET, in_function=True)
    if multiplies:
        return Role(SCALE, against, power)
    if compared:
        return Role(SHIFT if compared[0][1] > 0 else PLACE, compared[0][0])
    return Role(FREE)


def _product_around(path: Path) -> tuple[int, int, ast.expr | None]:
    """Index of the largest product that the name is a factor of, its power in it, and the other factors."""
    at, power = len(path) - 1, 1
    against: ast.expr | None = None
    while at > 0:
        parent, here = path[at - 1], path[at]
        if isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Mult):
            other = parent.right if here is parent.left else parent.left
            against = other if against is None else ast.BinOp(against, ast.Mult(), other)
        elif isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Div):
            if here is parent.left:
                against = ast.BinOp(against or ONE, ast.Div(), parent.right)
            else:
                power = -power
                against = parent.left if against is None else ast.BinOp(parent.left, ast.Div(), against)
        elif not isinstance(parent, ast.UnaryOp):
            break
        at -= 1
    return at, power, against


def _sign(path: Path) -> float:
    """The sign of the last part of a way within the first."""
    sign = 1.0
    for parent, here in itertools.pairwise(path):
        turned = isinstance(parent, ast.UnaryOp) and isinstance(parent.op, ast.USub)
        taken = isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Sub) and here is parent.right
        sign = -sign if turned or taken else sign
    return sign


def _is_sum(node: ast.expr) -> bool:
    return isinstance(node, ast.UnaryOp) or (
        isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub))
    )


def _calls(path: Path) -> bool:
    return any(isinstance(node, ast.Call) for node in path)


def _has(tree: ast.expr, inputs: Collection[str]) -> bool:
    return bool(names(tree) & set(inputs))
