"""Mean error of downstream tasks against loss: eps - k exp(-gamma L).

Source: Gadre et al., Language models scale reliably with over-training (arXiv 2403.08540).
"""

from __future__ import annotations

from sparsity_lab.laws._law import FALLING, POSITIVE, Variable
from sparsity_lab.laws._published import Published

LAW = Published(
    "eps - k*exp(-gamma*x)",
    bounds={"k": POSITIVE},
    forward=FALLING,
    output_box=(0.0, 1.0),
    id="loss-to-error",
    meanings={
        "eps": ("fraction", "error of a model that knows nothing"),
        "k": ("fraction", "by how much the curve falls from there at a loss of zero"),
        "gamma": ("1/nat", "rate at which the error falls with the loss"),
    },
    printed=r"\mathrm{Err}(L) = \epsilon - k\,e^{-\gamma L}",
    where="Gadre et al., arXiv 2403.08540",
    inputs_are=(Variable("L", "loss", "nats per token", (2.0, 5.0)),),
    output_is=Variable("Err", "mean error of tasks, 1 - accuracy", "fraction"),
)
