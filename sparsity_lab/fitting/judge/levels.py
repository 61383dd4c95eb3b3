"""Profiles of the levels that a curve tends to, such as chance and the ceiling of a score."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sparsity_lab.fitting.solve.problem import Problem, Solution
from sparsity_lab.fitting.uncertainty.intervals import Profile, Wanted, intervals
from sparsity_lab.fitting.uncertainty.noise import NoiseScale
from sparsity_lab.laws._law import LINEAR, Array, Coefficients, Law, Parameter, Span


class WithLimits(Law):
    """A law with all of its limits among the coefficients, those too that are sums, such as c + d."""

    name = formula = latex = source = ""

    def __init__(self, law: Law) -> None:
        """Take over everything else."""
        self.law = law
        self.inputs, self.output = law.inputs, law.output  # type: ignore[misc]
        self.linear_lower, self.offset_columns = law.linear_lower, law.offset_columns
        self.sums = {label: np.array(weights) for label, weights in law.limits if not has(law, label)}
        self.parameters = law.parameters + tuple(
            Parameter(label, law.output.unit, "a limit", like_output=True, kind=LINEAR) for label in self.sums
        )

    def search_box(self, span: Span) -> Array:
        """The law's own."""
        return self.law.search_box(span)

    def design(self, theta: Array, x: Array, span: Span) -> Array:
        """The law's own."""
        return self.law.design(theta, x, span)

    def design_gradient(self, theta: Array, x: Array, span: Span) -> Array:
        """The law's own."""
        return self.law.design_gradient(theta, x, span)

    def assemble(self, theta: Array, linear: Array, span: Span) -> dict[str, Array]:
        """The law's coefficients and its limits."""
        sums = {label: np.asarray(linear @ weights) for label, weights in self.sums.items()}
        return self.law.assemble(theta, linear, span) | sums

    def locate(self, coefficients: Coefficients, span: Span) -> Array:
        """The law's own."""
        return self.law.locate(coefficients, span)

    def predict(self, coefficients: Coefficients, x: Array) -> Array:
        """The law's own."""
        return self.law.predict(coefficients, x)

    def slope(self, coefficients: Coefficients, x: Array) -> Array:
        """The law's own."""
        return self.law.slope(coefficients, x)

    def invert(self, coefficients: Coefficients, y: float) -> float:
        """The law's own."""
        return self.law.invert(coefficients, y)


def has(law: Law, label: str) -> bool:
    """Whether a limit is a coefficient of the law's own."""
    return any(parameter.name == label for parameter in law.parameters)


def profile_of(
    problem: Problem, solution: Solution, scale: NoiseScale, label: str, *, box: tuple[float, float]
) -> Profile:
    """The profile of one of the law's limits.

    Args:
        problem: the law and its points. solution: the best fit. scale: of the noise. label: of the limit.
        box: the physical range of y.
    """
    if not has(problem.law, label):
        problem = replace(problem, law=WithLimits(problem.law))
    return intervals(problem, solution, scale, Wanted(names=(label,), box=box)).profiles[label]
