"""One loss against another, of models trained or tested on other data: L_1 = K (L_0 - E_0)^kappa + E_1.

Source: Brandfonbrener et al., Loss-to-loss prediction (arXiv 2411.12925), as in the authors' notebooks, where E_0 and
E_1 are often taken from laws of the single losses (`--fix`).
"""

from __future__ import annotations

from sparsity_lab.laws._law import FALLING, POSITIVE, Variable
from sparsity_lab.laws._published import Published

LAW = Published(
    "K*(x - E_0)^kappa + E_1",
    ranges={"kappa": (0.1, 5.0)},
    relative={"E_0": (-3.0, 0.0)},
    bounds={"K": POSITIVE, "E_1": POSITIVE},
    forward=FALLING,
    id="loss-to-loss",
    meanings={
        "K": ("nats^(1 - kappa)", "weight of the power"),
        "kappa": ("1", "exponent"),
        "E_0": ("nats per token", "irreducible part of the known loss"),
        "E_1": ("nats per token", "irreducible part of the predicted loss"),
    },
    printed=r"L_1 = K (L_0 - E_0)^{\kappa} + E_1",
    where="Brandfonbrener et al., arXiv 2411.12925",
    inputs_are=(Variable("L_0", "known loss", "nats per token", (2.2, 5.0)),),
    output_is=Variable("L_1", "predicted loss", "nats per token"),
)
