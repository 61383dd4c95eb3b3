"""Max-p: of each token the |a_i| of at least a share of the token's largest stay.

Universal properties of activation sparsity, ICLR 2026.
"""

from __future__ import annotations

from sparsity_lab.measure.criteria import Knob
from sparsity_lab.measure.criteria._per_token import PerToken, keep_max_p
from sparsity_lab.measure.criteria._scores import Score
from sparsity_lab.measure.model.passes import Subject

KNOB = Knob(
    symbol="share", low=0.0, high=1.0, start=0.02, scale="log", rising=True, slope=1.5, calibrates="nothing"
)


def bind(subject: Subject, *, seed: int) -> PerToken:
    """Tie the criterion to one model and text."""
    return PerToken(subject, criterion="max-p", score=Score(of="a"), keeping=keep_max_p)
