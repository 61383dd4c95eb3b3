"""Loss of dense models and mixtures of experts against active parameters, tokens and experts.

Source: Ludziejewski et al., Joint MoE Scaling Laws: Mixture of Experts Can Be Memory Efficient (arXiv 2502.05172,
equations 1 and 4), with the effective experts of `routed`.
"""

from __future__ import annotations

from sparsity_lab.laws._law import POSITIVE, Variable
from sparsity_lab.laws._published import Published
from sparsity_lab.laws.routed import EFFECTIVE

SLOPE = (-0.2, 0.2)  # of an exponent by the logarithm of effective experts

LAW = Published(
    f"c + a*({EFFECTIVE})^delta*N^(alpha + gamma*log({EFFECTIVE}))"
    f" + b*({EFFECTIVE})^omega*D^(beta + zeta*log({EFFECTIVE}))",
    ranges={
        "alpha": (-1.5, -0.01), "beta": (-1.5, -0.01), "gamma": SLOPE, "zeta": SLOPE, "delta": (-2.0, 2.0),
        "omega": (-2.0, 2.0), "E_start": (1.0, 20.0), "E_max": (50.0, 5000.0),
    },
    symbols=("N", "D", "E"),
    bounds={"a": POSITIVE, "b": POSITIVE, "c": POSITIVE},
    id="joint-moe",
    meanings={
        "a": ("nats parameters^-alpha", "weight of active parameters"),
        "alpha": ("1", "exponent of active parameters, negative"),
        "gamma": ("1", "by how much that grows with ln effective experts"),
        "delta": ("1", "exponent of effective experts in the term of parameters"),
        "b": ("nats tokens^-beta", "weight of tokens"),
        "beta": ("1", "exponent of tokens, negative"),
        "zeta": ("1", "by how much that grows with ln effective experts"),
        "omega": ("1", "exponent of effective experts in the term of tokens"),
        "c": ("nats per token", "irreducible loss"),
        "E_start": ("experts", "experts below which more are worth less"),
        "E_max": ("experts", "experts above which more are worth less"),
    },
    printed=r"L = a \hat E^{\delta} N_{\mathrm{act}}^{\alpha + \gamma \ln \hat E}"
    r" + b \hat E^{\omega} D^{\beta + \zeta \ln \hat E} + c",
    where="Ludziejewski et al., arXiv 2502.05172, equations 1 and 4",
    inputs_are=(
        Variable("N", "active parameters", "parameters", (1e8, 3e9)),
        Variable("D", "training tokens", "tokens", (1e9, 3e11)),
        Variable("E", "experts", "experts", (1.0, 32.0)),
    ),
    output_is=Variable("L", "loss", "nats per token"),
)  # fmt: skip
