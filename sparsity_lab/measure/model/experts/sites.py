"""Each expert of a mixture as a feed-forward site."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.model.experts.layouts import ExpertLayout
from sparsity_lab.measure.model.experts.others import (
    ExpertsAndCopies,
    ParallelExperts,
    SharedExperts,
    SortedExperts,
    StackedExperts,
)
from sparsity_lab.measure.model.experts.taps import See, watch
from sparsity_lab.measure.model.hooks import FfnSite, SiteWatch, Visitor

LAYOUTS = (ExpertsAndCopies, SharedExperts, ParallelExperts, StackedExperts, ExpertLayout, SortedExperts)


@dataclass(frozen=True)
class ExpertSite(FfnSite):
    """One expert of a layer.

    Attributes:
        expert: its index in `down`, the module of all the layer's experts, which is `up` as well.
    """

    expert: int = 0

    @property
    def layout(self) -> ExpertLayout:
        """How the layer's experts are kept."""
        layout = _layout_of(self.down)
        assert layout is not None
        return layout

    @property
    def routed(self) -> bool:
        """Only the tokens whose router chose this expert come here."""
        return True

    def down_weight(self) -> Tensor:
        """W_d of this expert as [d, F]."""
        return self.layout.down(self.expert)

    def down_bias(self) -> Tensor | None:
        """None: y is seen without it."""
        return None

    def watch(self, visitor: Visitor, *, outputs: bool) -> Iterator[SiteWatch]:
        """Call the visitor at every pass, whether or not a token is routed here."""
        yield from self._watched(visitor=visitor, outputs=outputs)

    def watch_up(self, see: See) -> Iterator[SiteWatch]:
        """Call `see` with u', packed, the router weight in it."""
        if self.gated:
            yield from self._watched(up=see)

    def watch_tokens(self, see: See) -> Iterator[SiteWatch]:
        """Call `see` with which places of the packing hold a token."""
        yield from self._watched(tokens=see)

    def _watched(self, **wanted: Any) -> Iterator[SiteWatch]:
        yield from watch(self, expert=self.expert, layout=self.layout, **wanted)


def expert_sites(experts: Any, *, first: int, name: str, shaped_by: nn.Module) -> list[FfnSite]:
    """A site for each expert of one layer.

    Args:
        experts: transformers' module of all experts of the layer.
        first: layer number of the first of them among the model's sites.
        name: qualified name of `experts`.
        shaped_by: as in `FfnSite`.

    Raises:
        SparsityLabError: experts of a form that cannot be watched.
    """
    layout = _layout_of(experts)
    _refuse_other_forms(experts, layout, name=name)
    assert layout is not None
    return [
        ExpertSite(
            layer=first + expert,
            name=f"{name}.{expert}",
            down=experts,
            activation=layout.activation(),
            up=experts if layout.gated else None,
            gated=layout.gated,
            shaped_by=shaped_by,
            expert=expert,
        )
        for expert in range(layout.count)
    ]


def is_experts(module: nn.Module) -> bool:
    """Whether a module holds the weights of all experts of a layer."""
    down = getattr(module, "down_proj", None)
    return (isinstance(down, Tensor) and down.dim() == 3) or _layout_of(module) is not None


def _layout_of(module: nn.Module) -> ExpertLayout | None:
    return next((layout(module) for layout in LAYOUTS if layout.fits(module)), None)


def _refuse_other_forms(experts: Any, layout: ExpertLayout | None, *, name: str) -> None:
    odd = {
        "computed in a way of their own": layout is None,
        "with a norm of their own": getattr(experts, "has_post_expert_norm", False),
        "spread over processes": getattr(experts, "_is_expert_parallel", False),
    }
    for word, is_odd in odd.items():
        if is_odd:
            raise SparsityLabError(
                f"The experts of {name} are {word}, a form that cannot be watched",
                fix="Measure a model whose experts are all in one module, which transformers lets be watched",
            )
