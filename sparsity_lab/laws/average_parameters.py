"""Loss against the mean parameter count over a sparse pre-training run, and tokens.

L = E + a Nbar^-alpha + b D^-beta, with Nbar the parameters in use averaged over training: a run that prunes
while it trains follows the dense law at its mean size. Source: Jin et al., The Journey Matters: Average
Parameter Count over Pre-training Unifies Sparse and Dense Scaling Laws (arXiv 2501.12486, ICLR 2025).
"""

from __future__ import annotations

from collections.abc import Sequence

from sparsity_lab.laws._law import Variable
from sparsity_lab.laws.loss_power import LossPower


class AverageParameters(LossPower):
    """L = E + a Nbar^-alpha + b D^-beta."""

    name = "average-parameters"
    formula = "L = E + a Nbar^-alpha + b D^-beta"
    latex = r"L(\bar N, D) = E + a\,\bar N^{-\alpha} + b\,D^{-\beta}"
    source = "Jin et al., arXiv 2501.12486"
    typed = "E + a*Nbar^-alpha + b*D^-beta"
    inputs = (
        Variable("Nbar", "mean parameters in use over training", "parameters"),
        Variable("D", "training tokens", "tokens"),
    )


def average_parameters(tokens: Sequence[float], parameters: Sequence[float]) -> float:
    """The mean parameter count of a schedule.

    Args:
        tokens: training tokens at which the count is given, increasing, the first being the start.
        parameters: parameters in use at those tokens; between them the count moves linearly.
    """
    areas = zip(tokens, tokens[1:], parameters, parameters[1:], strict=False)
    whole = sum((after - before) * (n + m) / 2.0 for before, after, n, m in areas)
    return whole / (tokens[-1] - tokens[0])


LAW = AverageParameters()
