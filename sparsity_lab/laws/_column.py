"""What a linear coefficient of a formula is multiplied by, divided by its size within the data.

Powers of an input, and exponentials of one, then neither overflow nor vanish, whatever the unit of the input. All other
functions stay as they are, and so do columns that are a share of the limit.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence
from functools import reduce

import numpy as np

from sparsity_lab.laws import _structure
from sparsity_lab.laws._formula import Dual, called_by, larger, names, number, walk, where
from sparsity_lab.laws._structure import ONE

Known = Mapping[str, Dual]


class DesignColumn:
    """A column of a formula's design.

    Args:
        tree: what the coefficient is multiplied by.
        symbols: names of the inputs.
        scaled: whether it is divided by its size: its powers by those of the smallest inputs, its exponentials by
            their largest value.
    """

    def __init__(self, tree: ast.expr, symbols: Collection[str], *, scaled: bool = True) -> None:
        self.tree = tree
        self._plain: list[tuple[ast.expr, int]] = []
        self._exponentials: list[tuple[ast.expr, int]] = []
        self._powers: list[tuple[ast.expr, ast.expr, int]] = []
        for part, power in _structure.factors(tree):
            if not scaled or not names(part) & set(symbols):
                self._plain.append((part, power))
            elif isinstance(part, ast.Call) and called_by(part) == "exp" and _one_way(part.args[0], symbols):
                self._exponentials.append((part.args[0], power))
            elif (raised := _power(part)) is not None and not names(raised[1]) & set(symbols):
                self._powers.append((*raised, power))
            else:
                self._plain.append((part, power))

    def at(self, known: Known, corners: Sequence[Known]) -> Dual:
        """The column at the inputs of `known`; the first of the data's corners has the smallest ones."""
        product = number(1.0)
        for argument, power in self._exponentials:
            rise = (walk(argument, known) - _largest(argument, corners)).through("exp")
            product = product * rise if power > 0 else product / rise
        for base, exponent, power in self._powers:
            ratio = (walk(base, known) / _positive(walk(base, corners[0]))) ** walk(exponent, known)
            product = product * ratio if power > 0 else product / ratio
        for part, power in self._plain:
            factor = walk(part, known)
            product = product * factor if power > 0 else product / factor
        return product

    def log_size(self, corners: Sequence[Known]) -> np.ndarray:
        """The logarithm of what the column is divided by."""
        total = np.zeros(())
        for argument, power in self._exponentials:
            total = total + power * _largest(argument, corners).value
        for base, exponent, power in self._powers:
            logarithm = np.log(_positive(walk(base, corners[0])).value)
            total = total + power * walk(exponent, corners[0]).value * logarithm
        return total


def _one_way(argument: ast.expr, symbols: Collection[str]) -> bool:
    """Whether an argument rises or falls throughout with each input: one term of powers of bare inputs."""
    moving = [term for term, _ in _structure.terms(argument) if names(term) & set(symbols)]
    parts = [part for part, _ in _structure.factors(moving[0]) if names(part) & set(symbols)]
    powers = [_power(part) for part in parts]
    return len(moving) == 1 and all(
        power is not None and isinstance(power[0], ast.Name) and not names(power[1]) & set(symbols)
        for power in powers
    )


def _power(part: ast.expr) -> tuple[ast.expr, ast.expr] | None:
    """Base and exponent of an input or of what is positive with it; None of anything else."""
    if isinstance(part, ast.Name):
        return part, ONE
    if not isinstance(part, ast.BinOp) or not isinstance(part.op, ast.Pow):
        return None
    taken = any(isinstance(node, (ast.Sub, ast.USub, ast.Call)) for node in ast.walk(part.left))
    return None if taken else (part.left, part.right)


def _largest(argument: ast.expr, corners: Sequence[Known]) -> Dual:
    """The largest value of an argument over the data; 0 where it has none."""
    return _finite(reduce(larger, (walk(argument, corner) for corner in corners)))


def _finite(dual: Dual) -> Dual:
    return _or(dual, np.isfinite(dual.value), 0.0)


def _positive(dual: Dual) -> Dual:
    return _or(dual, np.isfinite(dual.value) & (dual.value > 0), 1.0)


def _or(dual: Dual, kept: np.ndarray, other: float) -> Dual:
    if kept.ndim == 0:  # of one number, as the corners of inputs are
        return dual if kept else number(other)
    return where(kept, dual, number(other))
