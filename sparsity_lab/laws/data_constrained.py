"""Loss of models that see their tokens several times: repeated tokens and surplus parameters are worth less and less.

Source: Muennighoff et al., Scaling Data-Constrained Language Models (arXiv 2305.16264): Chinchilla's law
of effective tokens D' and effective parameters N'. U_D unique tokens are seen R_D = D / U_D - 1 times more, and U_N,
the parameters that are optimal for U_D, are exceeded R_N = max(N / U_N - 1, 0) times. The paper takes A, B, E, alpha
and beta from runs of one epoch (`--fix`) and fits R_D* and R_N* alone.
"""

from __future__ import annotations

from sparsity_lab.laws._law import POSITIVE, Variable
from sparsity_lab.laws._published import Published

UNIQUE = "min(N, (alpha*A/(beta*B))^(1/alpha)*U^(beta/alpha))"
TOKENS = "U + U*R_D*(1 - exp(-(D/U - 1)/R_D))"
PARAMETERS = f"{UNIQUE} + {UNIQUE}*R_N*(1 - exp(-(N/{UNIQUE} - 1)/R_N))"

LAW = Published(
    f"E + A*({PARAMETERS})^-alpha + B*({TOKENS})^-beta",
    ranges={
        "A": (1.0, 1e6),
        "B": (1.0, 1e6),
        "alpha": (0.05, 1.5),
        "beta": (0.05, 1.5),
        "R_D": (0.5, 200.0),
        "R_N": (0.5, 200.0),
    },
    symbols=("N", "D", "U"),
    bounds={"E": POSITIVE},
    id="data-constrained",
    meanings={
        "E": ("nats per token", "irreducible loss"),
        "A": ("nats parameters^alpha", "weight of parameters"),
        "B": ("nats tokens^beta", "weight of tokens"),
        "alpha": ("1", "exponent of parameters"),
        "beta": ("1", "exponent of tokens"),
        "R_D": ("repetitions", "repetitions after which tokens are worth 1/e of new ones"),
        "R_N": ("repetitions", "excess of parameters after which more are worth 1/e"),
    },
    printed=r"L = E + \frac{A}{N'^{\alpha}} + \frac{B}{D'^{\beta}},\quad"
    r" D' = U_D + U_D R_D^* \left(1 - e^{-R_D / R_D^*}\right)",
    where="Muennighoff et al., arXiv 2305.16264",
    inputs_are=(
        Variable("N", "parameters", "parameters", (1e7, 1e10)),
        Variable("D", "training tokens, repeated ones counted each time", "tokens", (1e9, 1e12)),
        Variable("U", "unique training tokens", "tokens", (1e8, 1e9)),
    ),
    output_is=Variable("L", "loss", "nats per token"),
)
