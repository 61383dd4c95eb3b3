"""Whole tokens decoded at batch 1 from the KV cache: the model as it is, against masks and `sparse_down` in place.

Both read the same tokens of the text one at a time after the same prompt, so that they do the same work. What the
sparse run does more (scores, thresholds, masks) is timed with it. Modules are put in place of down projections for as
long as a context lasts; nothing of the model is changed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.kernels.sparse_down import LARGEST_BATCH, neuron_major, sparse_down
from sparsity_lab.measure.model.hooks import FfnSite, tapped
from sparsity_lab.measure.neurons.affinity.pairs import Paired, Run, paired
from sparsity_lab.measure.thresholds.applied import SparseVisitor
from sparsity_lab.measure.thresholds.stored import Calibration

TOLERANCES = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}  # of the largest logit


class SparseDown(nn.Module):
    """A down projection that reads the columns of active neurons only; many tokens at once take the dense product."""

    def __init__(self, site: FfnSite) -> None:
        super().__init__()
        self.weight = neuron_major(site.down_weight().detach())
        self.bias = site.down_bias()

    def forward(self, a: Tensor) -> Tensor:
        """y = W_d a + b_d, [..., d]."""
        if a.numel() > LARGEST_BATCH * a.shape[-1]:
            return linear(a, self.weight, self.bias)
        y = sparse_down(a, self.weight)
        return y if self.bias is None else y + self.bias


class Swap:
    """Sparse down projections for a model, laid out once and put in place while a context lasts."""

    def __init__(self, model: Any, sites: Sequence[FfnSite], calibration: Calibration) -> None:
        names = {id(module): name for name, module in model.named_modules()}
        self.sites, self.owners = list(sites), [names[id(site.down)].rpartition(".") for site in sites]
        self.swapped = [replace(site, down=SparseDown(site), transposed=False) for site in sites]
        self.masker = SparseVisitor(sites, calibration)
        self.model = model

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model decodes sparsely inside."""
        try:
            self._put(self.swapped)
            with tapped(self.swapped, self.masker):
                yield
        finally:
            self._put(self.sites)

    def _put(self, sites: Sequence[FfnSite]) -> None:
        for (parent, _, name), site in zip(self.owners, sites, strict=True):
            setattr(self.model.get_submodule(parent), name, site.down)


@dataclass(frozen=True)
class Steps:
    """A prompt in the KV cache, and the tokens that are read after it one at a time.

    Attributes:
        model: a transformers causal LM in evaluation mode.
        cache: of the prompt; each run gets a copy of its own.
        ids: tokens to be read, int64 [1, tokens].
    """

    model: Any
    cache: Any
    ids: Tensor

    @classmethod
    def after(cls, model: Any, ids: Tensor, *, prompt_tokens: int) -> Steps:
        """Read the first tokens of ids [1, tokens] as the prompt."""
        output = model(input_ids=ids[:, :prompt_tokens], use_cache=True)
        return cls(model, output.past_key_values, ids[:, prompt_tokens:])

    def logits(self) -> Tensor:
        """Logits after the last token, [1, vocabulary]."""
        return self._read(copy.deepcopy(self.cache))

    @contextmanager
    def ready(self) -> Iterator[Run]:
        """One run, its cache at hand."""
        cache = copy.deepcopy(self.cache)
        yield lambda: self._read(cache)

    def _read(self, cache: Any) -> Tensor:
        logits = torch.empty(0)
        for token in self.ids.split(1, dim=1):
            output = self.model(input_ids=token, past_key_values=cache, use_cache=True)
            cache, logits = output.past_key_values, output.logits[:, -1]
        return logits


@torch.no_grad()
def time_decoding(
    model: Any, sites: Sequence[FfnSite], calibration: Calibration, *,
    ids: Tensor, prompt_tokens: int, pairs: int,
) -> Paired:  # fmt: skip
    """Seconds of reading tokens one at a time after a prompt, dense and sparse in turn.

    Args:
        model: a transformers causal LM in evaluation mode, on one device.
        sites: its FFN sites.
        calibration: the thresholds.
        ids: prompt and tokens to be timed, int64 [1, tokens].
        prompt_tokens: how many of them are the prompt.
        pairs: timed pairs.

    Raises:
        SparsityLabError: sparse decoding does not give the logits of the masked model.
    """
    device = str(model.get_input_embeddings().weight.device)
    ids = ids.to(device)
    swap = Swap(model, sites, calibration)
    dense = Steps.after(model, ids, prompt_tokens=prompt_tokens)
    with tapped(sites, swap.masker):
        sparse = Steps.after(model, ids, prompt_tokens=prompt_tokens)
        wanted = sparse.logits()
    with swap.in_place():
        _refuse_different(wanted, sparse.logits())

    @contextmanager
    def sparsely() -> Iterator[Run]:
        with swap.in_place(), sparse.ready() as run:
            yield run

    return paired(dense.ready, sparsely, pairs=pairs, device=device)


def _refuse_different(wanted: Tensor, logits: Tensor) -> None:
    apart = float((logits.float() - wanted.float()).abs().max() / wanted.float().abs().max())
    if not apart <= TOLERANCES[wanted.dtype]:
        raise SparsityLabError(
            f"Decoding with sparse_down is wrong on {wanted.device}: logits off by {apart:.2g} of the largest",
            why="Nothing is timed that does not compute the right thing",
            fix="See `sparsity-lab bench kernels`, which checks every kernel on this device",
        )
