"""Proves on a few tokens that sites are what they are taken for, found or described; refuses the model where not.

At every site: the down projection's input is a = s * u (gated) or a = s, its output is W_d a + b_d, sigma is
the function that the config names, and experts add up to what their layer gives when nobody watches.
Without this a threshold would be set on something else.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.model.experts.taps import own_output, tried
from sparsity_lab.measure.model.hooks import FfnSite, tapped, up_tapped
from sparsity_lab.measure.model.passes import BatchVisitor
from sparsity_lab.measure.model.proof.certificate import Certificate

TOKENS = 8
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
LOW_PRECISION_TOLERANCE = 3e-2
REACH, FEW, SAME_FUNCTION = (
    6.0,
    1001,
    1e-5,
)  # where two activation functions are compared in float32, and how closely
DTYPES = {torch.float64, torch.float32, torch.bfloat16, torch.float16}


def check_sites(
    model: Any, sites: Sequence[FfnSite], *, source: object, activation: str | None
) -> Certificate:
    """Pass a few tokens through the model and compare what passes by at each site with what it should be.

    Args:
        model: the causal LM.
        sites: as found, or as its architecture file gives them.
        source: the model, for messages.
        activation: transformers' name of sigma, as the config gives it; None where it gives none.

    Raises:
        SparsityLabError: a weight that cannot be read, a site out of order or never reached, or a
            difference, so that no threshold on these activations would mean anything.
    """
    _refuse_bad_order(sites, source=source)
    _refuse_unreadable(sites, source=source)
    proof = _Proof(source, activation)
    with torch.no_grad(), ExitStack() as stack:
        for site in {id(site.activation): site for site in sites}.values():
            if site.activation is not None:
                stack.callback(site.activation.register_forward_hook(proof.at_activation(site)).remove)
        stack.enter_context(up_tapped(sites, proof.see_up))
        stack.enter_context(tapped(sites, proof, outputs=True))
        for site in {id(site.down): site for site in sites if site.routed}.values():
            # After the hooks of those who watch, so that what it is given is their output.
            stack.callback(site.down.register_forward_hook(proof.at_experts(site)).remove)
        model(input_ids=_ids(model), use_cache=False, return_dict=True)
    missed = [site.name for site in sites if site.layer not in proof.reached]
    if missed:
        raise not_as_described(source, f"{missed[0]} never called its down projection")
    twice = next((site.name for site in sites if proof.reached.count(site.layer) > 1), None)
    if twice is not None:
        raise not_as_described(source, f"{twice} runs more than once in a pass")
    if proof.reached != sorted(proof.reached):
        raise not_as_described(source, "its sites are not in the order in which the tokens pass them")
    dtype = str(model.dtype).removeprefix("torch.")
    return Certificate(
        largest_difference=proof.largest,
        sites=len(sites),
        tokens=TOKENS,
        dtype=dtype,
        activation=activation if proof.is_compared else None,
        experts=sum(site.routed for site in sites),
        experts_compared=len(proof.experts),
    )


def not_as_described(source: object, why: str) -> SparsityLabError:
    """The error for sites that are not what they are taken for."""
    return SparsityLabError(
        f"The feed-forward network of {source} is not laid out as it is taken to be",
        why=why,
        fix="Describe the model in an architecture file of your own with --architecture-file, or correct that file",
    )


def overflow(source: object, dtype: torch.dtype, where: str) -> SparsityLabError:
    """The error for values that are not finite."""
    return SparsityLabError(
        f"{source} overflows in {str(dtype).removeprefix('torch.')}",
        why=f"{where}: there are values beyond the range of the dtype, or the weights are broken",
        fix="Use --dtype bfloat16 or float32; of a live model, model.to(torch.bfloat16) or model.float()",
    )


def refuse_dtype(model: Any) -> None:
    """Refuse weights that are not floating-point numbers to compute with.

    Raises:
        SparsityLabError: they are of another dtype.
    """
    if model.dtype not in DTYPES:
        raise SparsityLabError(
            f"The weights of {type(model).__name__} cannot be read",
            why=f"They are {str(model.dtype).removeprefix('torch.')}, as where a model is quantised",
            fix="Measure the checkpoint before quantisation",
        )


def _ids(model: Any) -> Tensor:
    embedding = model.get_input_embeddings().weight
    return torch.arange(1, TOKENS + 1, device=embedding.device).remainder(embedding.shape[0]).unsqueeze(0)


def _refuse_bad_order(sites: Sequence[FfnSite], *, source: object) -> None:
    if not sites:
        raise not_as_described(source, "There is no feed-forward network in it")
    if [site.layer for site in sites] != list(range(len(sites))):
        raise not_as_described(source, "The file does not number its sites 0, 1, 2, ...")


def _refuse_unreadable(sites: Sequence[FfnSite], *, source: object) -> None:
    for site in sites:
        weight = site.down_weight() if site.routed else getattr(site.down, "weight", None)
        if not isinstance(weight, Tensor) or weight.dim() != 2 or weight.dtype not in DTYPES:
            raise SparsityLabError(
                f"W_d of {source} cannot be read in {site.name}",
                why="The weight of its down projection is not a matrix of floating-point numbers: "
                "the model is quantised, or the architecture file names another module",
                fix="Measure the checkpoint before quantisation",
            )


class _Proof(BatchVisitor):
    """Compares, site by site, what passes by with what it should be."""

    def __init__(self, source: object, activation: str | None) -> None:
        self.source, self.declared = source, activation
        self.named = None if activation is None else _named(activation)
        self.reached: list[int] = []
        self.up: dict[int, Tensor] = {}
        self.largest, self.is_compared = 0.0, False
        self.experts, self.is_trial = set[int](), False

    def at_activation(self, site: FfnSite) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        """A hook that compares sigma's output with the function the config names."""

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if self.named is None or (site.sigma is not None and site.sigma.up is not None):
                return
            self.is_compared = True
            function: Callable[[Tensor], Tensor] = module.forward
            taken, s, what = inputs[0], output, f"The activation of {site.name} is not {self.declared}"
            if site.sigma is not None:
                function, taken, s = site.sigma.function, site.sigma.taken(output), site.sigma(output)
            named = self._with_weights(module, what)
            self._same(named(taken), s, what)
            if next(self.named.parameters(), None) is None:
                # In low precision the exact GELU and its tanh approximation cannot be distinguished.
                few = torch.linspace(-REACH, REACH, FEW, device=taken.device).unsqueeze(0)
                self._same(named(few), function(few), what, tolerance=SAME_FUNCTION)

        return hook

    def _with_weights(self, module: nn.Module, what: str) -> Callable[[Tensor], Tensor]:
        """The function that is named, with the weights of the module where it has any."""
        named = self.named
        assert named is not None
        wanted, weights = named.state_dict(), module.state_dict()
        if not wanted:
            return named
        if {name: each.shape for name, each in wanted.items()} != {
            name: w.shape for name, w in weights.items()
        }:
            raise self._error(what)
        named = copy.deepcopy(named)
        named.load_state_dict(weights, assign=True)  # in the module's own dtypes, on its device
        return named

    def at_experts(self, site: FfnSite) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        """A hook that compares a layer's experts with the model's own computation: their sum, and each of them alone.

        A router sends few tokens to few experts, so that some of these tokens are then sent to every one.
        """
        layer = site.name.rpartition(".")[0]

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self._same(own_output(module, *inputs), output, f"The experts of {layer} do not add up")
            self.is_trial = True
            for expert, (ours, own) in enumerate(zip(*(tried(module, *inputs) or ((), ())), strict=True)):
                self._same(own, ours, f"The experts of {layer} do not add up: {expert} gives something else")
            self.is_trial = False

        return hook

    def see_up(self, site: FfnSite, u: Tensor) -> None:
        """Keep u until the down projection is reached."""
        self.up[site.layer] = u

    def visit(self, site: FfnSite, a: Tensor, s: Tensor | None) -> None:
        """Compare what a site hands to its down projection: a and, where it is at hand, s, (1, tokens, F) each."""
        if not self.is_trial:
            self.reached.append(site.layer)
        if site.routed and a.any():
            self.experts.add(site.layer)
        if a.shape[2:] != (site.intermediate_size,) or (a.shape[1] != TOKENS and not site.routed):
            raise self._error(
                f"{site.name} takes {list(a.shape)}, not [1, {TOKENS}, {site.intermediate_size}]: "
                "[batch, positions, F]"
            )
        if s is None:
            if site.activation is None:
                return
            raise self._error(
                f"In {site.name} the activation function does not run before the down projection"
            )
        if not site.gated:
            self._same(_normed(site, s), a, f"In {site.name} a is not the activation function's output")
        elif site.layer in self.up:
            u = self.up[site.layer]
            if u.shape != a.shape:
                raise self._error(f"In {site.name} u is {list(u.shape)}, a {list(a.shape)}")
            self._same(_normed(site, s * u), a, f"In {site.name} a is not s times u")
        elif site.up is not None:
            raise self._error(f"In {site.name} the up projection does not run before the down projection")

    def visit_output(self, site: FfnSite, a: Tensor, y: Tensor) -> None:
        weight, bias = site.down_weight(), site.down_bias()
        again = a.double() @ weight.double().T + (0 if bias is None else bias.double())
        self._same(again, y, f"In {site.name} W_d a is not the output")

    def _same(self, expected: Tensor, found: Tensor, what: str, tolerance: float | None = None) -> None:
        if expected.shape != found.shape:
            raise self._error(f"{what}: it is {list(expected.shape)} against {list(found.shape)}")
        difference = (expected.double() - found.double()).norm()
        error = float(difference / expected.double().norm().clamp_min(1e-30))
        if not math.isfinite(error):
            raise overflow(self.source, found.dtype, what)
        self.largest = max(self.largest, error)
        if not error < (tolerance or TOLERANCE.get(found.dtype, LOW_PRECISION_TOLERANCE)):
            raise self._error(f"{what}: they differ by {error:.2g} of its size")

    def _error(self, why: str) -> SparsityLabError:
        return not_as_described(self.source, why)


def _normed(site: FfnSite, product: Tensor) -> Tensor:
    """What W_d should take; calls no hook."""
    if site.norm is None:
        return product
    normed: Tensor = site.norm.forward(product)
    return normed


def _named(activation: str) -> nn.Module | None:
    """The function behind transformers' name of it, or None where it has none of that name."""
    from transformers.activations import ACT2FN

    if activation not in ACT2FN:
        return None
    function: nn.Module = ACT2FN[activation]
    return function
