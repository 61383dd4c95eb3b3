"""How weak a neuron is: the size of its activation or of its gate, times a weight of the neuron's own.

Scores are float32, |z_i| * v_i, with z the activation a or the activation function's output s, and v one,
the norm of the neuron's column of W_d, or the mean size of u over a calibration text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sparsity_lab.errors import InapplicableError
from sparsity_lab.measure.model.hooks import FfnSite


@dataclass(frozen=True)
class Score:
    """A score |z_i| v_i.

    Attributes:
        of: `a`, the down projection's input, or `s`, the activation function's output.
        weight: `one`, `column-norm` (||W_d[:, i]||), or `mean-up` (mean |u_i| over the dense run).
    """

    of: Literal["a", "s"]
    weight: Literal["one", "column-norm", "mean-up"] = "one"

    def values(self, a: Tensor, s: Tensor | None, weights: Tensor | None) -> Tensor:
        """Scores float32 [..., F] of activations a and s; `weights` is v [F], or None for one."""
        z = a if self.of == "a" else s
        assert z is not None, "check refuses sites without s"
        size = z.float().abs()
        return size if weights is None else size * weights

    def static_weights(self, site: FfnSite) -> Tensor | None:
        """v [F] where it needs no text."""
        return site.column_norms() if self.weight == "column-norm" else None

    def check(self, sites: Sequence[FfnSite], *, criterion: str) -> None:
        """Refuse a model whose parts this score needs and does not have.

        Raises:
            InapplicableError: a score of s on a model whose activation function is not a module, or of u on a
                model without a gate.
        """
        for site in sites:
            if self.of == "s" and site.activation is None:
                raise InapplicableError(
                    f"{criterion} looks at the activation function's output, which {site.name} does not show",
                    fix="Use a criterion on the down projection's input, as cett or teal-down",
                )
            if self.weight == "mean-up" and (not site.gated or site.up is None):
                raise InapplicableError(
                    f"{criterion} needs a gate and its up projection, which {site.name} does not have",
                    fix="Use a criterion for models without a gate, as cett or teal-down",
                )


def kept(scores: Tensor, limit: Tensor | float, a: Tensor) -> Tensor:
    """Which neurons stay: a score above the limit, and an activation that is not exactly zero."""
    return (scores > limit) & (a != 0)


def mean_size(total: Tensor, tokens: int) -> Tensor:
    """Mean |u_i| [F] from its sum over tokens, float32."""
    return (total / max(tokens, 1)).to(torch.float32)
