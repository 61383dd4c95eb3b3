"""Loss of sparsely activated models against parameters and sparsity: L = E + A(S) N^-alpha.

Source: Wang et al., Q-Sparse: All Large Language Models can be Fully Sparsely-Activated (arXiv 2407.10969, equations 15
and 16): A(S) = B + C exp(beta / (1 - S)).
"""

from __future__ import annotations

from sparsity_lab.laws._law import POSITIVE, Variable
from sparsity_lab.laws._published import Published

LAW = Published(
    "E + (B + C*exp(beta/(1 - S)))*N^-alpha",
    ranges={"beta": (0.01, 5.0)},
    symbols=("N", "S"),
    bounds={"E": POSITIVE, "B": POSITIVE, "C": POSITIVE},
    id="sparse-activation",
    meanings={
        "E": ("nats per token", "irreducible loss"),
        "B": ("nats parameters^alpha", "weight of parameters that sparsity does not change"),
        "C": ("nats parameters^alpha", "weight of parameters that grows with sparsity"),
        "alpha": ("1", "exponent of parameters"),
        "beta": ("1", "rate at which sparsity costs"),
    },
    printed=r"L(N, S) = E + \frac{B + C\,e^{\beta / (1 - S)}}{N^{\alpha}}",
    where="Wang et al., arXiv 2407.10969, equations 15 and 16",
    inputs_are=(
        Variable("N", "parameters", "parameters", (3e8, 7e9)),
        Variable("S", "sparsity, the share of activations that are zero", "fraction", (0.05, 0.9)),
    ),
    output_is=Variable("L", "loss", "nats per token"),
)
