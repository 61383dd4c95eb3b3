"""A low-rank predictor of the active neurons, as in Deja Vu (arXiv 2310.17157) and ReLU² Wins (2402.03804).

    logits = (x A) B + b,    A [d, r],  B [r, F],  b [F],    trained by binary cross-entropy on the active set of x

Its cost is r (d + F) + F weights a layer. The bias begins at the log odds of each neuron's frequency, so an untrained
predictor names the most frequent neurons.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sparsity_lab.measure.neurons.predictors.spec import PredictorSettings

HELD_OUT = 8  # the last eighth of the training tokens chooses the epoch


@dataclass(frozen=True)
class LowRank:
    """A trained predictor of one layer.

    Attributes:
        down: A, float32 [d, r].
        up: B, float32 [r, F].
        bias: b, float32 [F].
        epoch: which pass over the training tokens it comes from; 0 is before the first.
        loss_nats: cross-entropy per neuron on the tokens held out from training.
    """

    down: Tensor
    up: Tensor
    bias: Tensor
    epoch: int
    loss_nats: float

    def logits(self, x: Tensor) -> Tensor:
        """Log odds that each neuron is active, float32 [..., F], of inputs [..., d]."""
        return x @ self.down @ self.up + self.bias


def cost(d: int, neurons: int, *, rank: int) -> int:
    """Weights of one predictor."""
    return rank * (d + neurons) + neurons


def train(x: Tensor, active: Tensor, *, rank: int, settings: PredictorSettings, seed: int) -> LowRank:
    """Train one predictor.

    Args:
        x: inputs, float32 [tokens, d], in the order of the text.
        active: which neurons each token keeps, bool [tokens, F].
        rank: r.
        settings: epochs, batch and learning rate.
        seed: the same seed gives the same predictor on one kind of machine.
    """
    held = max(1, len(x) // HELD_OUT)
    mean, scale = x[:-held].mean(dim=0), x[:-held].std().clamp_min(1e-12)
    z, wanted = (x - mean) / scale, active.float()
    with torch.enable_grad():
        factors, bias, epoch, loss = _descend(z, wanted, held=held, rank=rank, settings=settings, seed=seed)
    down = factors[0] / scale
    return LowRank(down, factors[1], bias - mean @ down @ factors[1], epoch, loss)


def _descend(
    z: Tensor, wanted: Tensor, *, held: int, rank: int, settings: PredictorSettings, seed: int
) -> tuple[list[Tensor], Tensor, int, float]:
    """A and B, b, epoch and held-out loss, on inputs of mean zero and spread one."""
    generator = torch.Generator().manual_seed(seed)
    tokens, d = len(z) - held, z.shape[1]
    odds = (wanted[:-held].sum(dim=0) + 0.5) / (tokens + 1)
    parameters = [
        torch.randn(d, rank, generator=generator).to(z.device) / math.sqrt(d),
        torch.zeros(rank, wanted.shape[1], device=z.device),
        odds.logit(),
    ]
    for parameter in parameters:
        parameter.requires_grad_()
    optimiser = torch.optim.Adam(parameters, lr=settings.learning_rate)
    steps = settings.epochs * -(-tokens // settings.batch_tokens)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=steps)
    best: list[Tensor] = []
    least, which = math.inf, 0
    for epoch in range(settings.epochs + 1):
        if epoch:
            for batch in (
                torch.randperm(tokens, generator=generator).to(z.device).split(settings.batch_tokens)
            ):
                loss = _loss(z[batch], wanted[batch], parameters)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                falling.step()
        with torch.no_grad():
            now = float(_loss(z[-held:], wanted[-held:], parameters))
        if now < least:
            least, which, best = now, epoch, [parameter.detach().clone() for parameter in parameters]
    return best[:2], best[2], which, least


def _loss(z: Tensor, wanted: Tensor, parameters: list[Tensor]) -> Tensor:
    down, up, bias = parameters
    return functional.binary_cross_entropy_with_logits(z @ down @ up + bias, wanted)
