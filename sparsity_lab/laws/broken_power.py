"""A power law with one smooth break: y = a + b x^-c0 (1 + (x / d1)^(1 / f1))^(-c1 f1).

Source: Caballero et al., Broken Neural Scaling Laws (arXiv 2210.14891), with one break, as in the authors' code.
"""

from __future__ import annotations

from sparsity_lab.laws._law import POSITIVE, Variable
from sparsity_lab.laws._published import Published

LAW = Published(
    "a + b*x^-c0*(1 + (x/d1)^(1/f1))^(-c1*f1)",
    ranges={"c0": (-1.0, 3.0), "c1": (-3.0, 10.0), "f1": (0.01, 2.0)},
    bounds={"b": POSITIVE},
    id="broken-power",
    meanings={
        "a": ("as y", "value that y nears"),
        "b": ("as y", "weight of the power"),
        "c0": ("1", "exponent before the break"),
        "c1": ("1", "by how much the exponent grows at the break"),
        "d1": ("as x", "place of the break"),
        "f1": ("1", "width of the break in ln x; small is sharp"),
    },
    printed=r"y = a + b\,x^{-c_0} \left(1 + (x / d_1)^{1 / f_1}\right)^{-c_1 f_1}",
    where="Caballero et al., arXiv 2210.14891, one break",
    inputs_are=(Variable("x", "parameters, tokens or compute", "as in the table"),),
    output_is=Variable("y", "loss or error", "as in the table"),
)
