"""Loss of models trained on more or fewer tokens than is optimal: one exponent for parameters and tokens.

Source: Gadre et al., Language models scale reliably with over-training (arXiv 2403.08540): with M = D/N the
compute is C = 6 N D, and E + (a M^eta + b M^-eta) C^-eta is E + a' N^-2eta + b' D^-2eta.
"""

from __future__ import annotations

from sparsity_lab.laws._law import POSITIVE, Variable
from sparsity_lab.laws._published import Published

LAW = Published(
    "E + a*N^-beta + b*D^-beta",
    symbols=("N", "D"),
    bounds={"E": POSITIVE, "a": POSITIVE, "b": POSITIVE},
    id="over-training",
    meanings={
        "E": ("nats per token", "irreducible loss"),
        "a": ("nats parameters^beta", "weight of parameters"),
        "b": ("nats tokens^beta", "weight of tokens"),
        "beta": ("1", "exponent of parameters and of tokens, twice the paper's eta"),
    },
    printed=r"L(N, D) = E + a\,N^{-\beta} + b\,D^{-\beta}",
    where="Gadre et al., arXiv 2403.08540",
    inputs_are=(
        Variable("N", "parameters", "parameters", (1e7, 1e10)),
        Variable("D", "training tokens", "tokens", (1e8, 1e12)),
    ),
    output_is=Variable("L", "loss", "nats per token"),
)
