"""CHESS: a neuron is dropped when |s_i| mean|u_i| lies at or below its layer's quantile (arXiv 2409.01366).

The mean is over the tokens of the dense run; it needs a gated network.
"""

from __future__ import annotations

from sparsity_lab.measure.criteria import Knob
from sparsity_lab.measure.criteria._by_threshold import ByQuantile
from sparsity_lab.measure.criteria._scores import Score
from sparsity_lab.measure.model.passes import Subject

KNOB = Knob(symbol="quantile", low=0.0, high=1.0, start=0.4, scale="logit", rising=True, slope=1.5)


def threshold_score() -> Score:
    """|s_i| mean|u_i|."""
    return Score(of="s", weight="mean-up")


def bind(subject: Subject, *, seed: int) -> ByQuantile:
    """Tie the criterion to one model and text."""
    return ByQuantile(subject, criterion="per-channel", score=threshold_score())
