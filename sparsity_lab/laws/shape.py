"""Loss against width, depth, parameters and tokens: a power of each.

Source: McLeish et al., Gemstones (arXiv 2502.06857); equation 1 has parameters and tokens, and `depth_width.py` of
mcleish7/gemstone-scaling-laws fits width and depth with them.
"""

from __future__ import annotations

from sparsity_lab.laws._law import POSITIVE, Variable
from sparsity_lab.laws._published import Published

LAW = Published(
    "E + A*w^-alpha + B*d^-beta + C*p^-gamma + G*T^-zeta",
    symbols=("w", "d", "p", "T"),
    bounds={"E": POSITIVE, "A": POSITIVE, "B": POSITIVE, "C": POSITIVE, "G": POSITIVE},
    id="shape",
    meanings={
        "E": ("nats per token", "irreducible loss"),
        "A": ("nats hidden size^alpha", "weight of width"),
        "alpha": ("1", "exponent of width"),
        "B": ("nats layers^beta", "weight of depth"),
        "beta": ("1", "exponent of depth"),
        "C": ("nats parameters^gamma", "weight of parameters"),
        "gamma": ("1", "exponent of parameters"),
        "G": ("nats tokens^zeta", "weight of tokens"),
        "zeta": ("1", "exponent of tokens"),
    },
    printed=r"L = E + A\,w^{-\alpha} + B\,d^{-\beta} + C\,p^{-\gamma} + G\,T^{-\zeta}",
    where="McLeish et al., arXiv 2502.06857, equation 1 and depth_width.py",
    inputs_are=(
        Variable("w", "width, the hidden size", "hidden size", (256.0, 3072.0)),
        Variable("d", "depth, the number of layers", "layers", (3.0, 80.0)),
        Variable("p", "parameters", "parameters", (5e7, 2e9)),
        Variable("T", "training tokens", "tokens", (1e10, 4e11)),
    ),
    output_is=Variable("L", "loss", "nats per token"),
)
