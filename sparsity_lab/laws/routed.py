"""Loss of routed (mixture-of-experts) models against dense parameters and experts.

Source: Clark et al., Unified Scaling Laws for Routed Language Models (arXiv 2202.01169).
"""

from __future__ import annotations

from sparsity_lab.laws._law import POSITIVE, Variable
from sparsity_lab.laws._published import Published

EFFECTIVE = "1/(1/(E - 1 + 1/(1/E_start - 1/E_max)) + 1/E_max)"

LAW = Published(
    f"10^(d + a*log10(N) + b*log10({EFFECTIVE}) + c*log10(N)*log10({EFFECTIVE}))",
    ranges={
        "a": (-1.0, 1.0),
        "b": (-1.0, 1.0),
        "c": (-0.1, 0.1),
        "E_start": (1.0, 20.0),
        "E_max": (50.0, 5000.0),
    },
    symbols=("N", "E"),
    output_box=POSITIVE,
    id="routed",
    meanings={
        "a": ("1", "exponent of dense parameters"),
        "b": ("1", "exponent of effective experts"),
        "c": ("1", "by how much the one exponent changes with the other's input"),
        "d": ("log10 nats", "logarithm of the loss of one parameter"),
        "E_start": ("experts", "experts below which more are worth less"),
        "E_max": ("experts", "experts above which more are worth less"),
    },
    printed=r"\log_{10} L = a \log_{10} N + b \log_{10} \hat E + c \log_{10} N \log_{10} \hat E + d",
    where="Clark et al., arXiv 2202.01169",
    inputs_are=(
        Variable("N", "parameters of the dense model", "parameters", (1e7, 2e9)),
        Variable("E", "experts", "experts", (1.0, 512.0)),
    ),
    output_is=Variable("L", "loss", "nats per token"),
)
