"""What predictors to train, and at which budgets to ask them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.neurons.spec import NeuronSpec


@dataclass(frozen=True)
class Settings:
    """Everything the numbers depend on besides model, text and thresholds.

    Attributes:
        ranks: r of the predictors, each trained for every layer.
        budgets: neurons that may be named for a token, over the mean number of active ones.
        epochs: passes over the training tokens; the one that does best on their last eighth is taken.
        batch_tokens: tokens of one step.
        learning_rate: of Adam, falling to zero along half a cosine.
    """

    ranks: tuple[int, ...] = (4, 16, 64)
    budgets: tuple[float, ...] = (1.0, 1.5, 2.0)
    epochs: int = 20
    batch_tokens: int = 256
    learning_rate: float = 2e-2

    def check(self) -> None:
        """Refuse settings that nothing can be trained with.

        Raises:
            SparsityLabError: no rank or budget, or a number that is not positive.
        """
        named = {"rank": self.ranks, "budget": self.budgets, "epochs": (self.epochs,),
                 "batch-tokens": (self.batch_tokens,), "learning-rate": (self.learning_rate,)}  # fmt: skip
        for name, values in named.items():
            if not values or len(set(values)) < len(values):
                raise SparsityLabError(
                    f"--{name} must be given, each value once", fix=f"Leave --{name} out for the usual values"
                )
            for value in values:
                if not value > 0:
                    raise SparsityLabError(
                        f"--{name} is {value}, not a positive number",
                        fix=f"Raise it above 0, or leave --{name} out",
                    )

    def identity(self) -> dict[str, Any]:
        """For a content key."""
        return asdict(self)


@dataclass(frozen=True)
class PredictSpec:
    """A run of `predict`.

    Attributes:
        watch: texts, tokens and how the model runs; its settings of writing are not used.
        settings: what is trained and asked.
    """

    watch: NeuronSpec
    settings: Settings = field(default_factory=Settings)
