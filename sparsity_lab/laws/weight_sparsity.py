"""Loss of models whose weights are pruned: L = (a_S (1 - S)^b_S + c_S) N^-b_N + (a_D / D)^b_D + c.

Source: Frantar et al., Scaling Laws for Sparsely-Connected Foundation Models (arXiv 2309.08520, equation 1).
"""

from __future__ import annotations

from sparsity_lab.laws._law import POSITIVE, Variable
from sparsity_lab.laws._published import Published

LAW = Published(
    "(a_S*(1 - S)^b_S + c_S)*N^-b_N + (a_D/D)^b_D + c",
    ranges={"b_S": (0.05, 5.0), "a_D": (1e2, 1e13), "b_D": (0.01, 3.0)},
    symbols=("N", "D", "S"),
    bounds={"a_S": POSITIVE, "c_S": POSITIVE, "c": POSITIVE},
    id="weight-sparsity",
    meanings={
        "a_S": ("nats parameters^b_N", "weight of parameters that sparsity removes"),
        "b_S": ("1", "exponent of the share of weights that are left"),
        "c_S": ("nats parameters^b_N", "weight of parameters at the highest sparsity"),
        "b_N": ("1", "exponent of parameters"),
        "a_D": ("unit of D", "data at which they add one nat"),
        "b_D": ("1", "exponent of data"),
        "c": ("nats per token", "irreducible loss"),
    },
    printed=r"L = \left(a_S (1 - S)^{b_S} + c_S\right) \left(\frac{1}{N}\right)^{b_N}"
    r" + \left(\frac{a_D}{D}\right)^{b_D} + c",
    where="Frantar et al., arXiv 2309.08520, equation 1",
    inputs_are=(
        Variable("N", "parameters that are not zero", "parameters", (1e6, 1e8)),
        Variable("D", "training tokens, or other data", "tokens", (1e10, 1e11)),
        Variable("S", "sparsity, the share of weights that are zero", "fraction", (0.05, 0.9)),
    ),
    output_is=Variable("L", "loss", "nats per token"),
)
