"""Loss of a model that runs P parallel streams: L = E + (A / (N (k ln P + 1)))^alpha.

Source: Chen et al., Parallel Scaling Law for Language Models (arXiv 2505.10475).
"""

from __future__ import annotations

from sparsity_lab.laws._law import Variable
from sparsity_lab.laws._published import Published

LAW = Published(
    "E + (A/(N*(k*log(P) + 1)))^alpha",
    ranges={"A": (1e3, 1e12), "alpha": (0.01, 3.0), "k": (0.0, 5.0)},
    symbols=("N", "P"),
    id="parallel",
    meanings={
        "E": ("nats per token", "irreducible loss"),
        "A": ("parameters", "size at which one stream is one nat above it"),
        "alpha": ("1", "exponent of parameters"),
        "k": ("1", "gain of parameters by e times as many streams"),
    },
    printed=r"L(N, P) = E + \left(\frac{A}{N\,(k \ln P + 1)}\right)^{\alpha}",
    where="Chen et al., arXiv 2505.10475",
    inputs_are=(
        Variable("N", "parameters", "parameters", (1e8, 1e10)),
        Variable("P", "parallel streams", "streams", (1.0, 8.0)),
    ),
    output_is=Variable("L", "loss", "nats per token"),
)
