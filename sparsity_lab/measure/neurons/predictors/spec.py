"""What predictors to train, and at which budgets to ask them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.settings import TrainSettings


@dataclass(frozen=True)
class PredictorSettings(TrainSettings):
    """Everything the numbers depend on other than model, text and thresholds.

    Attributes:
        batch_tokens: tokens of one step.
        learning_rate: of Adam, falling to zero along half a cosine.
    The others are those of `TrainSettings`.
    """

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
                if not 0 < value < math.inf:
                    raise SparsityLabError(
                        f"--{name} is {value}, not a positive number",
                        fix=f"Raise it above 0, or leave --{name} out",
                    )

    def refuse_beyond(self, *, inputs: int, neurons: int) -> None:
        """Refuse ranks and budgets that no layer has room for; a usual one is tried on every model.

        Args:
            inputs: d.
            neurons: F of the smallest layer.

        Raises:
            SparsityLabError: names the rank or budget.
        """
        full, usual = min(inputs, neurons), PredictorSettings()
        for rank in self.ranks:
            if rank > full and rank not in usual.ranks:
                raise SparsityLabError(
                    f"--rank {rank} is not a low rank: layers take {inputs} inputs to {neurons} neurons",
                    why=f"At {full} a predictor can be any linear map of them",
                    fix=f"Write --rank {full} or less",
                )
        for budget in self.budgets:
            if budget > neurons and budget not in usual.budgets:
                raise SparsityLabError(
                    f"--budget {budget:g} is beyond the {neurons} neurons of a layer",
                    why="Where one neuron is active on average, it would name them all",
                    fix="Write a small multiple of the mean number of active neurons, as --budget 2",
                )
