"""CATS: a neuron is dropped when |s_i| lies at or below its layer's quantile of |s| (CATS, arXiv 2404.08763)."""

from __future__ import annotations

from sparsity_lab.measure.criteria import Knob
from sparsity_lab.measure.criteria._by_threshold import ByQuantile
from sparsity_lab.measure.criteria._scores import Score
from sparsity_lab.measure.model.passes import Subject

KNOB = Knob(symbol="quantile", low=0.0, high=1.0, start=0.4, scale="logit", rising=True, slope=1.5)


def threshold_score() -> Score:
    """|s_i|."""
    return Score(of="s")


def bind(subject: Subject, *, seed: int) -> ByQuantile:
    """Tie the criterion to one model and text."""
    return ByQuantile(subject, criterion="cats", score=threshold_score())
