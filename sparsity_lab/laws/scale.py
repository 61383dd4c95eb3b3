"""How a limit moves with size: A0(N) = a + s ln N.

The Sparsing Law (arXiv 2411.02335, section on parameter scale) finds that the limit of the activation ratio
hardly moves with the number of parameters; s is the number that says so, with its interval.
"""

from __future__ import annotations

from sparsity_lab.laws._law import LINEAR, RATIO, Parameter, Variable
from sparsity_lab.laws.logarithmic import Logarithmic


class Scale(Logarithmic):
    """A0 = a + s ln N."""

    name = "scale"
    formula = "A0 = a + s ln N"
    latex = r"A_0(N) = a + s\,\ln N"
    source = "Sparsing Law, arXiv 2411.02335, section 5.3: weak dependence of the limit on parameter scale"
    inputs = (Variable("N", "parameters", "parameters/1e9"),)
    output = RATIO
    parameters = (
        Parameter("a", "fraction", "limit at 1e9 parameters", kind=LINEAR),
        Parameter("s", "fraction", "change of the limit per factor e of parameters", kind=LINEAR),
    )


LAW = Scale()
