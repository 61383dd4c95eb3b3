"""WINA on the down projection's input: of each token the k largest |a_i| ||W_d[:, i]|| stay.

WINA, arXiv 2505.19427; k = round(rho F).
"""

from __future__ import annotations

from sparsity_lab.measure.criteria import Knob
from sparsity_lab.measure.criteria._per_token import PerToken, keep_top_k
from sparsity_lab.measure.criteria._scores import Score
from sparsity_lab.measure.model.passes import Subject

KNOB = Knob(
    symbol="rho", low=0.0, high=1.0, start=0.5, scale="logit", rising=False, slope=1.5, calibrates="nothing"
)


def bind(subject: Subject, *, seed: int) -> PerToken:
    """Tie the criterion to one model and text."""
    return PerToken(
        subject, criterion="wina-down", score=Score(of="a", weight="column-norm"), keeping=keep_top_k
    )
