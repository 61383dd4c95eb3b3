"""FAT: a neuron is dropped when |s_i| <= eps, one eps for all layers (FATReLU; ProSparse, arXiv 2402.13516)."""

from __future__ import annotations

from sparsity_lab.measure.criteria import Knob
from sparsity_lab.measure.criteria._by_threshold import ByThreshold
from sparsity_lab.measure.criteria._scores import Score
from sparsity_lab.measure.model.passes import Subject

KNOB = Knob(
    symbol="eps", low=0.0, high=1e6, start=0.05, scale="log", rising=True, slope=1.5, calibrates="nothing"
)


def threshold_score() -> Score:
    """|s_i|."""
    return Score(of="s")


def bind(subject: Subject, *, seed: int) -> ByThreshold:
    """Tie the criterion to one model and text."""
    return ByThreshold(subject, criterion="fat", score=threshold_score())
