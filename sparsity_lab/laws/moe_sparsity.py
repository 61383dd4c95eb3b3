"""Loss of mixtures of experts against parameters, tokens and the share of inactive experts.

Source: Abnar et al., Parameters vs FLOPs: Scaling Laws for Optimal Sparsity for Mixture-of-Experts Language Models
(arXiv 2501.12370, equation 6): L = a N^-alpha + b D^-beta + c (1 - S)^-lambda + d (1 - S)^-delta N^-gamma + e.
"""

from __future__ import annotations

from sparsity_lab.laws._law import POSITIVE, Variable
from sparsity_lab.laws._published import Published

LAW = Published(
    "E + a*N^-alpha + b*D^-beta + c*(1 - S)^-lam + d*(1 - S)^-delta*N^-gamma",
    ranges={"lam": (-3.0, 3.0), "delta": (-3.0, 3.0), "gamma": (0.01, 3.0)},
    symbols=("N", "D", "S"),
    bounds={"E": POSITIVE, "a": POSITIVE, "b": POSITIVE},
    id="moe-sparsity",
    meanings={
        "a": ("nats parameters^alpha", "weight of parameters"),
        "alpha": ("1", "exponent of parameters"),
        "b": ("nats tokens^beta", "weight of tokens"),
        "beta": ("1", "exponent of tokens"),
        "c": ("nats per token", "weight of active experts"),
        "lam": ("1", "exponent of the share of active experts, the paper's lambda"),
        "d": ("nats parameters^gamma", "weight of active experts and parameters together"),
        "delta": ("1", "its exponent of the share of active experts"),
        "gamma": ("1", "its exponent of parameters"),
        "E": ("nats per token", "irreducible loss, the paper's e"),
    },
    printed=r"L = \frac{a}{N^{\alpha}} + \frac{b}{D^{\beta}} + \frac{c}{(1 - S)^{\lambda}}"
    r" + \frac{d}{(1 - S)^{\delta} N^{\gamma}} + e",
    where="Abnar et al., arXiv 2501.12370, equation 6",
    inputs_are=(
        Variable("N", "parameters, of all experts", "parameters", (1e8, 1e10)),
        Variable("D", "training tokens", "tokens", (1e9, 1e12)),
        Variable("S", "sparsity, the share of experts that are inactive", "fraction", (0.05, 0.98)),
    ),
    output_is=Variable("L", "loss", "nats per token"),
)
