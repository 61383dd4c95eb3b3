"""Above the mean: of each token the neurons stay whose |a_i| w_i is at least a multiple of the token's mean.

Template: name the paper and the equation here.
"""

from __future__ import annotations

from torch import Tensor

from sparsity_lab.measure.criteria import Knob
from sparsity_lab.measure.criteria._per_token import PerToken
from sparsity_lab.measure.criteria._scores import Score
from sparsity_lab.measure.model.passes import Subject

KNOB = Knob(
    symbol="multiple",
    low=0.0,
    high=1e3,
    start=0.3,
    scale="log",
    rising=True,
    slope=2.0,
    calibrates="nothing",
)


def keep_above_mean(scores: Tensor, multiple: float) -> Tensor:
    """Which of the scores [..., F] stay, bool [..., F]."""
    return scores >= multiple * scores.mean(dim=-1, keepdim=True)


def bind(subject: Subject, *, seed: int) -> PerToken:
    """Tie the criterion to one model and text."""
    score = Score(of="a", weight="column-norm")
    return PerToken(subject, criterion="above-mean", score=score, keeping=keep_above_mean)
