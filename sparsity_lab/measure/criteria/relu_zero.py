"""ReLU's own zeros: a neuron is dropped when its activation function gives exactly zero.

What a ReLU model skips at no cost in quality; it has no knob (Sparsing Law, arXiv 2411.02335, section 3).
"""

from __future__ import annotations

from sparsity_lab.measure.criteria import Knob
from sparsity_lab.measure.criteria._by_threshold import ByThreshold
from sparsity_lab.measure.criteria._scores import Score
from sparsity_lab.measure.model.passes import Subject

KNOB = Knob(
    symbol="eps", low=0.0, high=0.0, start=0.0, scale="none", rising=True, slope=1.0, calibrates="nothing"
)


def threshold_score() -> Score:
    """|s_i|."""
    return Score(of="s")


def bind(subject: Subject, *, seed: int) -> ByThreshold:
    """Tie the criterion to one model and text."""
    return ByThreshold(subject, criterion="relu-zero", score=threshold_score())
