"""A model and its training as a config writes them: what is left out follows from the rest.

Token budget: D tokens, or m N with N the non-embedding parameters and m a multiple, such as the 10, 15, 20,
30, 40 and 60 of the Densing Law's reference runs.

Learning rate at width d, from the rate eta_0 that was found good at width d_0:

    constant        eta_0 for all parameters
    inverse-width   eta_0 d_0 / d for all parameters
    mup             eta_0 d_0 / d for the hidden matrices, eta_0 for embeddings and norms: the part of the
                    maximal-update parametrization that carries Adam's rate from width to width
                    (Tensor Programs V, arXiv 2203.03466, table 3); the initial weights stay the model's own
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from sparsity_lab import registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.config.spec import TrainingSettings, TrainingSpec
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


RULES = ("constant", "inverse-width", "mup")


@dataclass(frozen=True, kw_only=True)
class TrainingSection(TrainingSettings):
    """The keys of `training`.

    Attributes:
        tokens_per_parameter: in place of `tokens`, the same as a multiple of the non-embedding parameters.
        learning_rate_rule: `constant`, `inverse-width` or `mup`.
        base_hidden_size: d_0 of the rule, where `learning_rate` is the peak.
        warmup_share: warmup_steps as a share of the steps; over warmup_steps where given.
    The others are those of `TrainingSettings`.
    """

    tokens_per_parameter: float | None = None
    learning_rate_rule: str = "constant"
    base_hidden_size: int | None = None
    warmup_share: float | None = None

    def resolve(self, shape: ModelShape) -> TrainingSpec:
        """The training of one shape, every number settled.

        Raises:
            SparsityLabError: no budget or two, an unknown rule, or a rule without its base width.
        """
        tokens = self._tokens(shape)
        scaled = self.learning_rate * self._width_factor(shape)
        steps = -(-tokens // (self.batch_size * self.window))
        settled = {
            "tokens": tokens,
            "learning_rate": self.learning_rate if self.learning_rate_rule == "mup" else scaled,
            "warmup_steps": self.warmup_steps
            if self.warmup_share is None
            else round(self.warmup_share * steps),
        }
        shared = {field.name: getattr(self, field.name) for field in fields(TrainingSettings)}
        return TrainingSpec(**{**shared, **settled}, matrix_learning_rate=scaled)

    def _tokens(self, shape: ModelShape) -> int:
        if (self.tokens is None) == (self.tokens_per_parameter is None):
            raise SparsityLabError(
                "`training` takes either tokens or tokens_per_parameter", fix="Give one of the two"
            )
        if self.tokens is not None:
            return self.tokens
        assert self.tokens_per_parameter is not None
        return round(self.tokens_per_parameter * shape.params_nonembedding)

    def _width_factor(self, shape: ModelShape) -> float:
        if self.learning_rate_rule not in RULES:
            raise registry.unknown(self.learning_rate_rule, kind="learning_rate_rule", known=list(RULES))
        if self.learning_rate_rule == "constant":
            return 1.0
        if self.base_hidden_size is None:
            raise SparsityLabError(
                f"The learning_rate_rule {self.learning_rate_rule} needs base_hidden_size",
                why="It scales the rate from the width it was found good at",
                fix="Set `base_hidden_size` under training to that width, or `learning_rate_rule: constant`",
            )
        return self.base_hidden_size / shape.hidden_size
