"""Top-p: of each token the smallest set of largest |a_i| that holds a share of their sum stays.

Universal properties of activation sparsity, ICLR 2026.
"""

from __future__ import annotations

from sparsity_lab.measure.criteria import Knob
from sparsity_lab.measure.criteria._per_token import PerToken, keep_top_p
from sparsity_lab.measure.criteria._scores import Score
from sparsity_lab.measure.model.passes import Subject

KNOB = Knob(
    symbol="share",
    low=0.0,
    high=1.0,
    start=0.95,
    scale="logit",
    rising=False,
    slope=1.5,
    calibrates="nothing",
)


def bind(subject: Subject, *, seed: int) -> PerToken:
    """Tie the criterion to one model and text."""
    return PerToken(subject, criterion="top-p", score=Score(of="a"), keeping=keep_top_p)
