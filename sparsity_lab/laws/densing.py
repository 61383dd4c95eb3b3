"""The Densing Law: the largest density of released models grows exponentially, ln rho_max = A t + B.

Source: Densing Law of LLMs (arXiv 2412.04315, equation of the linear trend of ln rho_max). The doubling
time is ln 2 / A.
"""

from __future__ import annotations

import math

from sparsity_lab.laws._law import LINEAR, Derived, Parameter, Variable
from sparsity_lab.laws.linear import Linear


class Densing(Linear):
    """ln rho = A t + B."""

    name = "densing"
    formula = "ln rho_max = A t + B"
    latex = r"\ln \rho_{\max}(t) = A\,t + B"
    source = "Densing Law, arXiv 2412.04315"
    inputs = (Variable("t", "release date", "days since the first model"),)
    output = Variable("ln rho", "logarithm of the largest density so far", "ln 1")
    parameters = (
        Parameter("A", "1/day", "growth rate; ln 2 / A is the doubling time", kind=LINEAR),
        Parameter("B", "ln 1", "ln rho_max at t = 0", kind=LINEAR),
    )
    derived = (Derived("doubling", "time in which the largest density doubles", "A", math.log(2.0)),)
    typed = "A*x + B"
    level = "B"
    rate = "A"


LAW = Densing()
