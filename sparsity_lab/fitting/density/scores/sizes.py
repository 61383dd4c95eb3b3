"""Which parameters count: an explicit choice that is printed, never a silent one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.scores.targets import Target

UNITS = ("params", "flops")
SAME_SIZE = 0.01


@dataclass(frozen=True)
class SizeConvention:
    """How a model's size is counted.

    Attributes:
        active: the active instead of the total parameters of a mixture of experts: those that a token is computed
            with. A dense model has all of its parameters active.
        embeddings: whether embeddings count.
        unit: `params`, or `flops` for 6 N D.
    """

    active: bool = False
    embeddings: bool = True
    unit: str = "params"

    @property
    def words(self) -> str:
        """The convention in words, which are the values of `params` in ruler files and density.json."""
        kind = "active" if self.active else "total"
        return f"{kind} parameters, embeddings {'in' if self.embeddings else 'out'}"


def counted_otherwise(target: Target, convention: SizeConvention, *, ruler_params: str) -> bool:
    """Whether a model's parameters are not counted as the ruler's are, or nobody knows that they are.

    Args:
        target: the model.
        convention: by which it is counted.
        ruler_params: the convention of the ruler, in the words of `SizeConvention.words`.
    """
    kinds = [SizeConvention(active, embeddings) for active in (False, True) for embeddings in (False, True)]
    theirs = next((kind for kind in kinds if kind.words == ruler_params), None)
    if theirs is None or theirs.words == convention.words:
        return False
    size, other = (size_of(target, replace(kind, unit="params")) for kind in (convention, theirs))
    return size is None or other is None or abs(size - other) > SAME_SIZE * other


def size_of(target: Target, convention: SizeConvention) -> float | None:
    """A model's size under a convention; None where its table does not say, as of a mixture's active parameters."""
    params = target.params
    if convention.active and (target.moe or target.active_params is not None):
        params = target.active_params
    if not convention.embeddings:
        # No column has the active parameters of a mixture less its embeddings.
        params = None if convention.active and target.moe else target.nonembedding_params
    if convention.unit == "params" or params is None:
        return params
    return 6 * params * target.tokens if target.tokens else None


def refuse_unknown_sizes(sizes: dict[str, float | None], convention: SizeConvention) -> None:
    """Refuse a convention under which no model has a size.

    Raises:
        SparsityLabError: none has; says which column is missing.
    """
    if sizes and not any(sizes.values()):
        columns = ["params_b" if convention.embeddings else "params_nonembedding_b"]
        columns += ["params_active_b of mixtures"] if convention.active else []
        columns += ["train_tokens_t"] if convention.unit == "flops" else []
        raise SparsityLabError(
            f"No model has a size in {convention.words}", fix=f"Add the column {' and '.join(columns)}"
        )
