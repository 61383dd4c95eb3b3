"""Reconstruction loss of sparse autoencoders against latents and active latents.

Source: Gao et al., Scaling and evaluating sparse autoencoders (arXiv 2406.04093, equation 3):
L(n, k) = exp(alpha + beta_k ln k + beta_n ln n + gamma ln k ln n) + exp(zeta + eta ln k).
"""

from __future__ import annotations

from sparsity_lab.laws._law import POSITIVE, Variable
from sparsity_lab.laws._published import Published

LAW = Published(
    "exp(alpha + beta_k*log(k) + beta_n*log(n) + gamma*log(k)*log(n)) + exp(zeta + eta*log(k))",
    ranges={"beta_k": (-2.0, 2.0), "beta_n": (-2.0, 1.0), "gamma": (-0.2, 0.2), "eta": (-2.0, 1.0)},
    symbols=("n", "k"),
    output_box=POSITIVE,
    id="sae",
    meanings={
        "alpha": ("ln loss", "logarithm of the part that latents reduce, at one latent"),
        "beta_k": ("1", "its exponent of active latents"),
        "beta_n": ("1", "its exponent of latents"),
        "gamma": ("1", "by how much the one exponent changes with the other's input"),
        "zeta": ("ln loss", "logarithm of the irreducible part, at one active latent"),
        "eta": ("1", "its exponent of active latents"),
    },
    printed=r"L(n, k) = e^{\alpha + \beta_k \ln k + \beta_n \ln n + \gamma \ln k \ln n} + e^{\zeta + \eta \ln k}",
    where="Gao et al., arXiv 2406.04093, equation 3",
    inputs_are=(
        Variable("n", "latents of the dictionary", "latents", (2e3, 2e6)),
        Variable("k", "active latents", "latents", (8.0, 512.0)),
    ),
    output_is=Variable("L", "reconstruction loss", "normalized mean squared error"),
)
