"""How many times less compute a mixture of experts needs than a dense model of the same loss.

Source: Ling team, Towards Greater Leverage: Scaling Laws for Efficient Mixture-of-Experts Language Models (arXiv
2507.17702, equation 13), of effective activation ratios A^ with 1/A^ = 1/(A + 1/(1/A_start - 1/A_max)) + 1/A_max.
Logarithms are natural ones here; the paper does not say which it takes.
"""

from __future__ import annotations

from sparsity_lab.laws._law import POSITIVE, Variable
from sparsity_lab.laws._published import Published

EFFECTIVE = "1/(1/(A + 1/(1/A_start - 1/A_max)) + 1/A_max)"

LAW = Published(
    f"({EFFECTIVE})^(a + d*log(C) + gamma*log(G)^2 + beta*log(G))",
    ranges={
        "a": (-5.0, 5.0), "d": (-0.5, 0.5), "gamma": (-0.5, 0.5), "beta": (-2.0, 2.0), "A_start": (1e-3, 0.9),
        "A_max": (1.0, 1e4),
    },
    symbols=("A", "G", "C"),
    output_box=POSITIVE,
    id="efficiency-leverage",
    meanings={
        "a": ("1", "exponent of the activation ratio at one FLOP and granularity 1"),
        "d": ("1", "by how much that grows with ln compute"),
        "gamma": ("1", "by how much that grows with the square of ln granularity"),
        "beta": ("1", "by how much that grows with ln granularity"),
        "A_start": ("fraction", "activation ratio below which less gains less"),
        "A_max": ("fraction", "activation ratio above which more costs less"),
    },
    printed=r"\mathrm{EL}(A, G, C) = \hat A^{\alpha + \gamma (\log G)^2 + \beta \log G},\quad \alpha = a + d \log C",
    where="Ling team, arXiv 2507.17702, equation 13",
    inputs_are=(
        Variable("A", "activation ratio: active over all experts", "fraction", (0.008, 0.5)),
        Variable("G", "granularity of experts", "ratio", (2.0, 32.0)),
        Variable("C", "compute", "FLOPs", (1e18, 1e22)),
    ),
    output_is=Variable("EL", "efficiency leverage: compute of the dense model over that of the mixture", "ratio"),
)  # fmt: skip
