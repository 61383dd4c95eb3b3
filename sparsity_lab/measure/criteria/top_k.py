"""Top-k: of each token and layer the k = round(rho F) largest |s_i| stay.

Sparsing Law, arXiv 2411.02335, section 3: per token, not over a flattened batch.
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
    return PerToken(subject, criterion="top-k", score=Score(of="s"), keeping=keep_top_k)
