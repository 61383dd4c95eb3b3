"""Stored thresholds applied to a model: what lies at or below them is zero; whoever wants to, sees what is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from sparsity_lab.measure.criteria._by_threshold import given_weights
from sparsity_lab.measure.criteria._scores import kept
from sparsity_lab.measure.model.hooks import FfnSite
from sparsity_lab.measure.model.passes import BatchVisitor
from sparsity_lab.measure.thresholds.masks import limits
from sparsity_lab.measure.thresholds.stored import Calibration

# (site, a, s) -> which activations are kept, bool as a.
Keep = Callable[[FfnSite, Tensor, Tensor | None], Tensor]


def keep_rule(sites: Sequence[FfnSite], calibration: Calibration) -> Keep:
    """Which activations stay under a calibration's thresholds, by the mask of `measure`."""
    if calibration.score.weight == "column-norm":
        bounds = limits(sites, calibration.thresholds)
        return lambda site, a, s: a.abs() > bounds[site.layer]
    return partial(_keep_scores, calibration, given_weights(sites, calibration))


def _keep_scores(
    calibration: Calibration, weights: list[Tensor | None], site: FfnSite, a: Tensor, s: Tensor | None
) -> Tensor:
    scores = calibration.score.values(a, s, weights[site.layer])
    return kept(scores, calibration.thresholds[site.layer], a)


class SparseVisitor(BatchVisitor):
    """Masks weak neurons as `measure` does, and shows to `seen` which are kept."""

    def __init__(self, sites: Sequence[FfnSite], calibration: Calibration) -> None:
        self.keep = keep_rule(sites, calibration)

    def visit(self, site: FfnSite, a: Tensor, s: Tensor | None) -> Tensor:
        """Mask one site's activations."""
        keep = self.keep(site, a, s)
        self.seen(site, a, keep)
        return a * keep

    def seen(self, site: FfnSite, a: Tensor, keep: Tensor) -> None:
        """Take one site's activations, not yet masked, and which are kept, bool as these; here, nothing does."""
