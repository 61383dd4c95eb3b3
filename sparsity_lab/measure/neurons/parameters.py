"""Activated parameters per token, under three named conventions, for the FFN alone and for the whole model.

A neuron has weights on its input side (its rows of W_g and W_u; 2d gated, d not) and on its output side (its column
of W_d; d). A weakly contributing neuron's weights are skipped

    output-side    W_d columns only: nothing needs to be known before a is
    input-side     W_g and W_u rows only
    oracle         both: what a perfect predictor of the active neurons would read

Biases are not weights of a neuron here; they, attention and embeddings are always counted in the whole model. Of a
mixture of experts the weights of experts that a token does not go to are not read under any convention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.neurons.estimates import Estimate
from sparsity_lab.measure.neurons.mixtures.layers import ModelLayers
from sparsity_lab.measure.search.counts import Ints

# Of the input and the output side, which are skipped where a neuron is not active.
CONVENTIONS = {"output-side": (False, True), "input-side": (True, False), "oracle": (True, True)}


@dataclass(frozen=True)
class Widths:
    """Weights of a neuron of each layer.

    Attributes:
        input_side: int64 [layers], its rows of W_g and W_u.
        output_side: int64 [layers], its column of W_d.
        sizes: F, int64 [layers].
        params_total: of the whole model.
    """

    input_side: Ints
    output_side: Ints
    sizes: Ints
    params_total: int

    @classmethod
    def of(cls, sites: Sequence[FfnSite], *, params_total: int) -> Widths:
        """The widths of a model's sites."""
        d = np.array([site.down_weight().shape[0] for site in sites], np.int64)
        gated = np.array([site.gated for site in sites], np.int64)
        sizes = np.array([site.intermediate_size for site in sites], np.int64)
        return cls(d * (1 + gated), d, sizes, params_total)

    @classmethod
    def of_layers(cls, layers: ModelLayers, *, params_total: int) -> Widths:
        """The widths of a model's layers; of a mixture, all experts of a layer together.

        Raises:
            SparsityLabError: neurons of one layer have different numbers of weights.
        """
        each = cls.of(layers.sites, params_total=params_total)
        starts = np.flatnonzero(np.diff(layers.of_site, prepend=-1))
        for side in (each.input_side, each.output_side):
            if (side != np.repeat(side[starts], np.diff([*starts, len(side)]))).any():
                raise SparsityLabError(
                    "The experts of one layer have neurons of different numbers of weights",
                    why="Activated parameters are counted with one number for each layer",
                    fix="Measure its activation ratios, expert by expert, with `sparsity-lab measure`",
                )
        return cls(each.input_side[starts], each.output_side[starts], layers.sizes, params_total)

    @property
    def ffn(self) -> int:
        """Weights of all neurons."""
        return int(((self.input_side + self.output_side) * self.sizes).sum())

    def touched(self, active: Ints, units: Ints, convention: str) -> Ints:
        """Weights read, int64 [groups].

        Args:
            active: neurons active at all on a token or a chunk of them, summed over these, int64 [groups, layers].
            units: how many tokens or chunks those are, int64 [groups].
            convention: one of `CONVENTIONS`.
        """
        return self.touched_of(active, units[:, None] * self.sizes, convention)

    def touched_of(self, active: Ints, everything: Ints, convention: str) -> Ints:
        """The same where not all neurons are at hand: `everything` is those that are, int64 [groups, layers]."""
        skip_input, skip_output = CONVENTIONS[convention]
        input_side = self.input_side * (active if skip_input else everything)
        output_side = self.output_side * (active if skip_output else everything)
        return np.asarray((input_side + output_side).sum(axis=1))


def activated(touched: Estimate, widths: Widths) -> dict[str, float]:
    """Activated parameters of the FFN and of the whole model, and their shares, from FFN weights touched per token."""
    rest = widths.params_total - widths.ffn
    return {
        "ffn_params": touched.value,
        "ffn_params_se": touched.se,
        "ffn_share": touched.value / widths.ffn,
        "ffn_share_se": touched.se / widths.ffn,
        "model_params": touched.value + rest,
        "model_params_se": touched.se,
        "model_share": (touched.value + rest) / widths.params_total,
        "model_share_se": touched.se / widths.params_total,
    }
