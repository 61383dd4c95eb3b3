"""The places where a model's feed-forward activations can be read and changed, and the hooks that do it.

FFN input x in R^d. Gated: s = sigma(W_g x), u = W_u x, a = s * u in R^F, y = W_d a. Not gated: a = s.
A `FfnSite` says where s, u, a and y pass by in one layer. Hooks live in a context manager that always
removes them; no module is subclassed and no forward is patched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Sigma:
    """An activation function that a model applies without a module for it.

    Attributes:
        name: transformers' name of it.
        function: sigma, elementwise.
        half: whether it takes the first half of what it is given, [..., 2 F].
        up: what the up branch goes through before it is u, where that is a function too; else None.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    half: bool = False
    up: Callable[[Tensor], Tensor] | None = None

    def taken(self, output: Tensor) -> Tensor:
        """g of what the module before it gives."""
        return output.chunk(2, dim=-1)[0] if self.half else output

    def __call__(self, output: Tensor) -> Tensor:
        """s of it."""
        return self.function(self.taken(output))


@dataclass(frozen=True)
class FfnSite:
    """One feed-forward network of a model.

    Attributes:
        layer: 0-based index among the model's FFN layers.
        name: qualified name of the FFN module.
        down: down projection; its input is a [..., F], its output y (+ bias) [..., d].
        activation: module whose output is s = sigma(.), or None where the model has none of its own.
        sigma: where no module computes sigma: what the output of `activation` goes through, else None.
        up: module whose output is u (gated), or None.
        gated: whether a = s * u.
        transposed: True where `down.weight` is stored as [F, d] (GPT-2's Conv1D).
        up_is_half: True where `up` gives g and u side by side, [..., 2 F] (Phi-3).
        norm: where W_d takes a norm of s * u (or of s): that module, whose output is a; else None (BitNet).
        shaped_by: where the network sees positions flattened, [batch * positions, .]: a module that runs
            before it with an output [batch, positions, .]; else None.
    """

    layer: int
    name: str
    down: nn.Module
    activation: nn.Module | None
    up: nn.Module | None
    gated: bool
    transposed: bool = False
    up_is_half: bool = False
    sigma: Sigma | None = None
    norm: nn.Module | None = None
    shaped_by: nn.Module | None = None

    @property
    def routed(self) -> bool:
        """Whether only some tokens are sent here, as to an expert of a mixture."""
        return False

    def down_weight(self) -> Tensor:
        """W_d as [d, F], a view in the model's own dtype and on its device."""
        weight = self.down.weight
        assert isinstance(weight, Tensor)
        return weight.T if self.transposed else weight

    def down_bias(self) -> Tensor | None:
        """b_d [d], or None."""
        bias = getattr(self.down, "bias", None)
        return bias if isinstance(bias, Tensor) else None

    @property
    def intermediate_size(self) -> int:
        """F, the number of neurons."""
        return int(self.down_weight().shape[1])

    def column_norms(self) -> Tensor:
        """w_i = ||W_d[:, i]||_2, float32 [F], summed in float64."""
        return torch.linalg.vector_norm(self.down_weight(), dim=0, dtype=torch.float64).to(torch.float32)

    def watch(self, visitor: Visitor, *, outputs: bool) -> Iterator[SiteWatch]:
        """Hooks that call the visitor as tokens pass."""
        return _hook(self, visitor, outputs)

    def watch_up(self, see: Callable[[FfnSite, Tensor], None]) -> Iterator[SiteWatch]:
        """Hooks that call `see` with u [batch, positions, F]."""
        return iter(()) if self.up is None else _hook_up(self, self.up, see)

    def watch_tokens(self, see: Callable[[FfnSite, Tensor], None]) -> Iterator[SiteWatch]:
        """Hooks that call `see` with which of [batch, positions] hold a token; none where all do."""
        return iter(())


class SiteWatch(Protocol):
    """A hook in place."""

    def remove(self) -> None:
        """Take it away."""
        ...


class Visitor(Protocol):
    """What a pass does at each site."""

    def visit(self, site: FfnSite, a: Tensor, s: Tensor | None) -> Tensor | None:
        """See the activations a [batch, positions, F] (and s) before the down projection; a tensor replaces a."""
        ...

    def visit_output(self, site: FfnSite, a: Tensor, y: Tensor) -> None:
        """See the down projection's input and output y [batch, positions, d], bias included."""
        ...


@contextmanager
def tapped(sites: Sequence[FfnSite], visitor: Visitor, *, outputs: bool = False) -> Iterator[None]:
    """Hooks on every site for as long as the context lasts.

    Args:
        sites: where to listen.
        visitor: what to call.
        outputs: also call `visit_output`.
    """
    with _held(handle for site in sites for handle in site.watch(visitor, outputs=outputs)):
        yield


@contextmanager
def up_tapped(sites: Sequence[FfnSite], see: Callable[[FfnSite, Tensor], None]) -> Iterator[None]:
    """Call `see` with u [batch, positions, F] of every gated site whose u can be seen, while the context lasts."""
    with _held(handle for site in sites for handle in site.watch_up(see)):
        yield


@contextmanager
def tokens_tapped(sites: Sequence[FfnSite], see: Callable[[FfnSite, Tensor], None]) -> Iterator[None]:
    """Before a routed site's visit, call `see` with bool [batch, positions]: where what it will show is a token."""
    with _held(handle for site in sites for handle in site.watch_tokens(see)):
        yield


@contextmanager
def _held(handles: Iterator[SiteWatch]) -> Iterator[None]:
    with ExitStack() as stack:
        for handle in handles:  # each is taken on before the next is made, so that none outlives an error
            stack.callback(handle.remove)
        yield


class Positions:
    """Batch and positions of the tokens at one site, where its network sees them flattened."""

    def __init__(self, site: FfnSite) -> None:
        self.source = site.shaped_by
        self.shape: tuple[int, int] | None = None

    def hooks(self) -> Iterator[SiteWatch]:
        """Remember the shape as it passes by."""
        if self.source is not None:
            yield self.source.register_forward_hook(self._remember)

    def _remember(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.shape = (output.shape[0], output.shape[1])

    def apart(self, values: Tensor) -> Tensor:
        """[batch, positions, n] of what a module of the site took or gave."""
        return values if self.shape is None or values.dim() == 3 else values.unflatten(0, self.shape)


def _hook(site: FfnSite, visitor: Visitor, outputs: bool) -> Iterator[SiteWatch]:
    latest: list[Tensor] = []
    positions = Positions(site)

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        latest[:] = [positions.apart(output if site.sigma is None else site.sigma(output))]

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        s = latest.pop() if latest else None
        changed = visitor.visit(site, positions.apart(inputs[0]), s)
        return None if changed is None else (changed.reshape(inputs[0].shape), *inputs[1:])

    def after(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        visitor.visit_output(site, positions.apart(inputs[0]), positions.apart(output))

    yield from positions.hooks()
    if site.activation is not None:
        yield site.activation.register_forward_hook(keep)
    yield site.down.register_forward_pre_hook(before)
    if outputs:
        yield site.down.register_forward_hook(after)


def _hook_up(site: FfnSite, up: nn.Module, see: Callable[[FfnSite, Tensor], None]) -> Iterator[SiteWatch]:
    positions = Positions(site)

    def after(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        u = output.chunk(2, dim=-1)[1] if site.up_is_half else output
        if site.sigma is not None and site.sigma.up is not None:
            u = site.sigma.up(u)
        see(site, positions.apart(u))

    yield from positions.hooks()
    yield up.register_forward_hook(after)
