"""A model as a config writes it: what is left out follows from the rest."""

from __future__ import annotations

from dataclasses import dataclass

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.models import ModelShape, nearest_divisor


@dataclass(frozen=True, kw_only=True)
class ModelSection:
    """A model as a config writes it: what is left out follows from the rest.

    Attributes:
        hidden_size: d.
        layers: decoder layers.
        activation: sigma of the FFN.
        gated: gated FFN or not.
        intermediate_size: F; left out, 8/3 d gated and 4 d not, rounded up to a multiple of 32.
        intermediate_ratio: F / d, in place of intermediate_size; F is rounded to a whole number.
        heads: attention heads; or give head_dim.
        head_dim: size of a head; divides d.
        key_value_heads: left out, as many as heads.
        tied_embeddings: one matrix at both ends.
        positions: longest window; left out, the training window.
    """

    hidden_size: int
    layers: int
    activation: str = "silu"
    gated: bool = True
    intermediate_size: int | None = None
    intermediate_ratio: float | None = None
    heads: int | None = None
    head_dim: int | None = None
    key_value_heads: int | None = None
    tied_embeddings: bool = True
    positions: int | None = None

    def shape(self, *, vocabulary: int, window: int) -> ModelShape:
        """The full shape.

        Raises:
            SparsityLabError: the heads do not divide the width, or an unknown activation.
        """
        heads = self._heads()
        return ModelShape(
            hidden_size=self.hidden_size,
            layers=self.layers,
            intermediate_size=self._intermediate(),
            heads=heads,
            key_value_heads=self.key_value_heads or heads,
            vocabulary=vocabulary,
            positions=self.positions or window,
            activation=self.activation,
            gated=self.gated,
            tied_embeddings=self.tied_embeddings,
        )

    def _heads(self) -> int:
        if (self.heads is None) == (self.head_dim is None):
            raise SparsityLabError(
                "A model takes either heads or head_dim", fix="Give one of the two under model"
            )
        if self.heads is not None:
            return self.heads
        assert self.head_dim is not None
        if self.hidden_size % self.head_dim:
            near = 2 * nearest_divisor(max(1, self.hidden_size // 2), max(1, self.head_dim // 2))
            raise SparsityLabError(
                f"Heads of {self.head_dim} dimensions do not divide the hidden_size {self.hidden_size}",
                fix="Take a head_dim that divides every hidden_size of the grid"
                + (f", such as {near} for this one" if self.hidden_size % near == 0 else ""),
            )
        return self.hidden_size // self.head_dim

    def _intermediate(self) -> int:
        if self.intermediate_size is not None and self.intermediate_ratio is not None:
            raise SparsityLabError(
                "A model takes either intermediate_size or intermediate_ratio",
                fix="Remove one of the two under model",
            )
        if self.intermediate_size is not None:
            return self.intermediate_size
        if self.intermediate_ratio is not None:
            return round(self.intermediate_ratio * self.hidden_size)
        neurons = -(-8 * self.hidden_size // 3) if self.gated else 4 * self.hidden_size
        return -(-neurons // 32) * 32
