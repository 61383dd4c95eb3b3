"""Loss of mixtures of experts against parameters, tokens and granularity.

Source: Krajewski et al., Scaling Laws for Fine-Grained Mixture of Experts (arXiv 2402.07871, equation 9):
L = c + (g G^-gamma + a) N^-alpha + b D^-beta.
"""

from __future__ import annotations

from sparsity_lab.laws._law import POSITIVE, Variable
from sparsity_lab.laws._published import Published

LAW = Published(
    "c + (g*G^-gamma + a)*N^-alpha + b*D^-beta",
    symbols=("N", "D", "G"),
    bounds={"c": POSITIVE, "g": POSITIVE, "a": POSITIVE, "b": POSITIVE},
    id="fine-grained-moe",
    meanings={
        "a": ("nats parameters^alpha", "weight of parameters at endless granularity"),
        "alpha": ("1", "exponent of parameters"),
        "b": ("nats tokens^beta", "weight of tokens"),
        "beta": ("1", "exponent of tokens"),
        "g": ("nats parameters^alpha", "weight that granularity removes"),
        "gamma": ("1", "exponent of granularity"),
        "c": ("nats per token", "irreducible loss"),
    },
    printed=r"L(N, D, G) = c + \left(\frac{g}{G^{\gamma}} + a\right) \frac{1}{N^{\alpha}} + \frac{b}{D^{\beta}}",
    where="Krajewski et al., arXiv 2402.07871, equation 9",
    inputs_are=(
        Variable("N", "parameters without embeddings", "parameters", (1e8, 4e9)),
        Variable("D", "training tokens", "tokens", (1e9, 1e11)),
        Variable(
            "G", "granularity: hidden size of the dense network over that of an expert", "ratio", (1.0, 16.0)
        ),
    ),
    output_is=Variable("L", "loss", "nats per token"),
)
