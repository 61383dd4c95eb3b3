"""Loss of models trained in low precision: Chinchilla's law of N (1 - e^(-P/gamma)) effective parameters.

Source: Kumar et al., Scaling Laws for Precision (arXiv 2411.04330, equations 3 and 4), with the bits of weights, of
activations and of the KV cache. What quantization after training adds (equation 2) is not in it.
"""

from __future__ import annotations

from sparsity_lab.laws._law import POSITIVE, Variable
from sparsity_lab.laws._published import Published

EFFECTIVE = "N*(1 - exp(-P_w/gamma_w))*(1 - exp(-P_a/gamma_a))*(1 - exp(-P_kv/gamma_kv))"
BITS = (0.1, 20.0)

LAW = Published(
    f"E + A*({EFFECTIVE})^-alpha + B*D^-beta",
    ranges={"gamma_w": BITS, "gamma_a": BITS, "gamma_kv": BITS, "alpha": (0.01, 3.0)},
    symbols=("N", "D", "P_w", "P_a", "P_kv"),
    bounds={"E": POSITIVE, "A": POSITIVE, "B": POSITIVE},
    id="precision",
    meanings={
        "A": ("nats parameters^alpha", "weight of effective parameters"),
        "alpha": ("1", "exponent of effective parameters"),
        "B": ("nats tokens^beta", "weight of tokens"),
        "beta": ("1", "exponent of tokens"),
        "E": ("nats per token", "irreducible loss"),
        "gamma_w": ("bits", "bits of weights below which parameters are lost"),
        "gamma_a": ("bits", "the same of activations"),
        "gamma_kv": ("bits", "the same of the KV cache"),
    },
    printed=r"L = A\,N_{\mathrm{eff}}^{-\alpha} + B\,D^{-\beta} + E,\quad"
    r" N_{\mathrm{eff}} = N \prod_i \left(1 - e^{-P_i / \gamma_i}\right)",
    where="Kumar et al., arXiv 2411.04330, equations 3 and 4",
    inputs_are=(
        Variable("N", "parameters without embeddings", "parameters", (3e7, 2.2e8)),
        Variable("D", "training tokens", "tokens", (1.5e9, 2.6e10)),
        Variable("P_w", "bits of weights in training", "bits", (3.0, 12.0)),
        Variable("P_a", "bits of activations in training", "bits", (3.0, 12.0)),
        Variable("P_kv", "bits of the KV cache in training", "bits", (3.0, 12.0)),
    ),
    output_is=Variable("L", "loss", "nats per token"),
)
