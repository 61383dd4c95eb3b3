"""Activation functions that a model applies without a module for them: which it is, of those that may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from sparsity_lab.measure.architectures._config import ACTIVATION_KEYS
from sparsity_lab.measure.architectures._passing import few_ids, logits
from sparsity_lab.measure.model.hooks import FfnSite, Sigma
from sparsity_lab.measure.model.proof import not_as_described

USUAL = ("silu", "gelu", "gelu_pytorch_tanh", "relu", "relu2", "quick_gelu", "sigmoid")
CLAMPED = "clamped swish"
REACH = 12.0  # beyond the clamps that are in use
FLOOR = 1e-3  # below this share of u a difference is rounding
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}
LOW_PRECISION_TOLERANCE = 2e-2


def functions(model: Any) -> Iterator[Sigma]:
    """What a model may apply: the function that its config names, usual ones, and the clamped one of its config."""
    from transformers.activations import ACT2FN

    config = model.config.get_text_config()
    named = [getattr(config, key, None) for key in ACTIVATION_KEYS]
    for name in dict.fromkeys([*named, *USUAL]):
        if isinstance(name, str) and name in ACT2FN:
            yield Sigma(name, ACT2FN[name])
    alpha, limit = getattr(config, "swiglu_alpha", None), getattr(config, "swiglu_limit", None)
    if alpha and limit:
        yield clamped_swish(float(alpha), float(limit))


def clamped_swish(alpha: float, limit: float) -> Sigma:
    """s = g sigmoid(alpha g), g at most the limit; u is 1 more than the branch within the limits (MiniMax-M3)."""

    def s(gate: Tensor) -> Tensor:
        gate = gate.clamp(max=limit)
        return gate * torch.sigmoid(gate * alpha)

    return Sigma(CLAMPED, s, up=lambda up: up.clamp(min=-limit, max=limit) + 1.0)


@dataclass
class _Trial:
    """What passes at a site whose g is set to values from -REACH to REACH."""

    site: FfnSite
    gate: Tensor | None = None
    up: Tensor | None = None
    product: Tensor | None = None
    handles: list[Any] = field(default_factory=list)

    def hooks(self) -> Iterator[Any]:
        """In place until removed; the gate's is before that of u, which may be of the same module."""
        site = self.site
        assert site.activation is not None
        yield site.activation.register_forward_hook(self._set)
        if site.up is not None:
            yield site.up.register_forward_hook(self._see_up)
        yield (site.norm or site.down).register_forward_pre_hook(self._see_product)

    def _set(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        assert self.site.sigma is not None
        changed = output.clone()
        gate = self.site.sigma.taken(changed)
        values = torch.linspace(-REACH, REACH, gate.numel(), device=gate.device).to(gate.dtype)
        gate.copy_(values.view(gate.shape))
        if self.site.sigma.up is not None and self.site.sigma.half:
            changed.chunk(2, dim=-1)[1].copy_(values.flip(0).view(gate.shape))
        self.gate = gate.clone()
        return changed

    def _see_up(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.up = (output.chunk(2, dim=-1)[1] if self.site.up_is_half else output).clone()

    def _see_product(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.product = inputs[0].clone()

    def fits(self, sigma: Sigma) -> bool:
        """Whether s u is what passed, element by element, were sigma the function."""
        assert self.gate is not None
        assert self.product is not None
        u = torch.ones_like(self.gate) if self.up is None else self.up
        u = (u if sigma.up is None else sigma.up(u)).double()
        expected = sigma.function(self.gate.float()).double() * u
        difference = (expected - self.product.double()).abs() / (expected.abs() + FLOOR * u.abs() + 1e-12)
        tolerance = TOLERANCE.get(self.gate.dtype, LOW_PRECISION_TOLERANCE)
        return bool(difference.max() < tolerance)


def settled(model: Any, found: Sequence[FfnSite]) -> list[FfnSite]:
    """The sites with the functions that the model applies: on a few tokens, or in low precision, several may fit.

    g of each site without an activation module is set to values from far below 0 to far above it, and what passes is
    compared with every function.

    Args:
        model: the causal LM.
        found: its sites.

    Raises:
        SparsityLabError: on these values, it is none of the functions.
    """
    trials = {site.layer: _Trial(site) for site in found if site.sigma is not None}
    if not trials:
        return list(found)
    with torch.no_grad(), ExitStack() as stack:
        for trial in trials.values():
            for handle in trial.hooks():
                stack.callback(handle.remove)
        logits(model, few_ids(model))
    return [_settled(model, site, trials.get(site.layer)) for site in found]


def _settled(model: Any, site: FfnSite, trial: _Trial | None) -> FfnSite:
    if trial is None or site.sigma is None:
        return site
    for sigma in (site.sigma, *functions(model)):
        if (sigma.up is None or site.gated) and trial.fits(sigma):
            return replace(site, sigma=replace(sigma, half=site.sigma.half))
    raise not_as_described(
        type(model).__name__,
        f"The function between {site.name}'s matrices is {site.sigma.name} for a few tokens, but not for every g from "
        f"{-REACH:g} to {REACH:g}",
    )
