"""The matrices that lead into a layer's neurons, found by their shape, and the input x that they read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.model.hooks import FfnSite, Positions


def input_projections(model: Any, site: FfnSite) -> list[nn.Module]:
    """The modules that read x [..., d] and lead to the neurons: W_g and W_u, both in one, or W_u alone.

    Raises:
        SparsityLabError: there is none of that shape.
    """
    inside = model.get_submodule(site.name.rstrip("."))
    readers = [
        module
        for module in inside.modules()
        if module is not site.down and _oriented(module, site) is not None
    ]
    if not readers:
        raise SparsityLabError(
            f"What leads into the neurons of {site.name} was not found",
            why="None of its modules has a weight of neurons by inputs",
            fix="Let the architecture file name the module that holds the up projection too",
        )
    return readers


def input_weights(model: Any, site: FfnSite) -> Tensor:
    """All input weights of each neuron side by side, float64 [F, d or 2d], on the host."""
    parts = []
    for module in input_projections(model, site):
        weight = _oriented(module, site)
        assert weight is not None
        parts += weight.detach().double().cpu().split(site.intermediate_size)
    return torch.cat(parts, dim=1)


@contextmanager
def inputs_tapped(
    model: Any, sites: Sequence[FfnSite], see: Callable[[FfnSite, Tensor], None]
) -> Iterator[None]:
    """Call `see` with x [batch, positions, d] of every site before its neurons are visited, while the context lasts."""
    with ExitStack() as stack:
        for site in sites:
            positions = Positions(site)
            for handle in positions.hooks():
                stack.callback(handle.remove)
            reader = input_projections(model, site)[0]
            handle = reader.register_forward_pre_hook(_before(site, positions, see))
            stack.callback(handle.remove)
        yield


def _before(
    site: FfnSite, positions: Positions, see: Callable[[FfnSite, Tensor], None]
) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        see(site, positions.apart(inputs[0]))

    return before


def _oriented(module: nn.Module, site: FfnSite) -> Tensor | None:
    """The weight as [F or 2F, d], or None if it is not such a matrix."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.dim() != 2:
        return None
    d, neurons = site.down_weight().shape
    for turned in (weight.T, weight) if site.transposed else (weight, weight.T):
        if turned.shape[1] == d and turned.shape[0] in (neurons, 2 * neurons):
            return turned
    return None
