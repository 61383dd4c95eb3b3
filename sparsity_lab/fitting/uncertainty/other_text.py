"""What other text of the corpus would do to a number, where all points were measured on the same text.

A text that happens to be easy moves the points of a run together (errors correlate at 0.7 to 0.99). Their scatter about
the curve does not show that, so no interval from the scatter holds it. The parts of the points' errors, each e_j of
shape (n,), say how: to first order a fit of weighted Jacobian J moves by (J^T J)^-1 J^T e_j, and the squares of what a
number moves by, summed over j, are its variance. What e_j leaves as residuals is in the scatter already, and its
share in the number's variance is taken off, so that errors which are a point's own do not count twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sparsity_lab.fitting.data.text_parts import TextParts
from sparsity_lab.fitting.solve import gradients
from sparsity_lab.fitting.solve.problem import Problem, Solution
from sparsity_lab.fitting.uncertainty import noise
from sparsity_lab.laws._law import FALLING, Array


@dataclass(frozen=True)
class WithText:
    """A coefficient with other text.

    Attributes:
        se: standard error from the text alone.
        low, high: 95 % interval with both, the scatter and the text.
    """

    se: float
    low: float
    high: float


@dataclass(frozen=True)
class OtherText:
    """What other text would do to a fit.

    Attributes:
        last_point: standard error that it gives the last point, in the unit of y.
        coefficients: those whose own interval is closed, by name; to first order says nothing of the others.
    """

    last_point: float
    coefficients: dict[str, WithText]


@dataclass(frozen=True)
class Moves:
    """How a linear fit follows the parts of its points' errors.

    Attributes:
        steps: of its k coefficients by each part, shape (k, parts).
        seen: the covariance that the scatter shows of them already, shape (k, k).
    """

    steps: Array
    seen: Array

    @classmethod
    def of(cls, jacobian: Array, parts: Array) -> Moves:
        """Of a weighted Jacobian (n, k) and parts (n, parts), weighted likewise."""
        count, width = jacobian.shape
        bread = noise.inverse(jacobian)
        steps = bread @ jacobian.T @ parts
        left = parts - jacobian @ steps
        return cls(steps, float(np.sum(left**2)) / max(count - width, 1) * bread)

    def parts_of(self, gradient: Array) -> Array:
        """What a number of the given gradient (k,) moves by, shape (parts,)."""
        return np.asarray(gradient @ self.steps)

    def unseen(self, gradient: Array) -> float:
        """A number's variance from the text, less what the scatter shows of it."""
        moved = self.parts_of(gradient)
        return max(float(moved @ moved - gradient @ self.seen @ gradient), 0.0)


def of(
    problem: Problem, solution: Solution, coefficients: Mapping[str, tuple[float, float, float]],
    text: TextParts,
) -> OtherText | None:  # fmt: skip
    """A fit with other text; None where the parts are not known.

    Args:
        problem, solution: of the fit.
        coefficients: value, low and high (95 %) of each by its name.
        text: what it does to the points, in the unit of y.
    """
    if (parts := text.parts) is None:
        return None
    last = float(np.linalg.norm(parts[0 if problem.law.forward == FALLING else -1]))
    if problem.objective.log:
        parts = parts / problem.curve(solution)[:, None]
    if problem.root_weights is not None:
        parts = parts * problem.root_weights[:, None]
    moves = Moves.of(noise.free_jacobian(problem, solution), parts)
    told = {}
    for name, (value, low, high) in coefficients.items():
        if not math.isfinite(low + high):
            continue
        gradient = gradients.of_coefficient(problem, solution, name)
        moved = moves.parts_of(gradient)
        further = text.t * math.sqrt(moves.unseen(gradient))
        told[name] = WithText(
            float(np.sqrt(moved @ moved)),
            value - math.hypot(value - low, further),
            value + math.hypot(high - value, further),
        )
    return OtherText(last, told)
