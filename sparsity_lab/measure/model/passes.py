"""A loaded model and its text, ready to be passed over: one forward per batch of windows, hooks in place.

The loss is summed window by window in float64, so that no sum depends on the batch size.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sparsity_lab.measure.model.hooks import FfnSite, Visitor, tapped, tokens_tapped
from sparsity_lab.measure.model.windows import Windows
from sparsity_lab.measure.search.counts import Counts, Ints
from sparsity_lab.progress import SILENT, Progress

PILOT_SHARE, PILOT_TOKENS, PILOT_WINDOWS = 8, 512, 2
AUTO_BATCH_TOKENS = {"cpu": 2048, "cuda": 16384}


@dataclass
class Subject:
    """A model with its FFN sites and the windows to measure it on.

    Attributes:
        model: causal LM in evaluation mode; `model(ids).logits` is [batch, positions, vocabulary].
        sites: its FFN sites, input side first.
        windows: the text.
        batch_size: windows per forward pass; changes speed and memory only.
        progress: where to report windows done.
        allow_untrained: pass models whose perplexity is above half their vocabulary.
        forward_tokens: tokens passed so far, for accounts of cost.
        present: of each routed site, bool [batch, places]: where the batch that passes has a token.
        reached: int64 [windows, layers], valid tokens that came to each site in the last pass.
        norms: of each site asked for, w_i = ||W_d[:, i]||_2, float32 [F]; the weights do not change meanwhile.
    """

    model: Any
    sites: Sequence[FfnSite]
    windows: Windows
    batch_size: int
    progress: Progress = SILENT
    allow_untrained: bool = False
    forward_tokens: int = field(default=0)
    present: dict[int, Tensor] = field(default_factory=dict)
    reached: Ints = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    norms: dict[int, Tensor] = field(default_factory=dict)

    @property
    def sizes(self) -> Ints:
        """F of each layer, int64 [layers]."""
        return np.array([site.intermediate_size for site in self.sites], np.int64)

    @property
    def tokens_per_pass(self) -> int:
        """Positions of one pass over the whole text, BOS included."""
        return self.windows.tokens + (0 if self.windows.bos_id is None else self.windows.count)

    @property
    def all_rows(self) -> NDArray[np.int64]:
        """Indices of every window."""
        return np.arange(self.windows.count)

    @torch.no_grad()
    def losses(
        self, rows: NDArray[np.int64], *, visitor: BatchVisitor, label: str, outputs: bool = False
    ) -> NDArray[np.float64]:
        """Pass the windows `rows` through the model; summed loss of each, float64 [rows], nats."""
        device = self.model.get_input_embeddings().weight.device
        summed: list[Tensor] = []
        hooks = tapped(self.sites, visitor, outputs=outputs) if visitor is not UNSEEN else nullcontext()
        tokens = tokens_tapped(self.sites, self._note_tokens)
        self.reached = np.zeros((self.windows.count, len(self.sites)), np.int64)
        with hooks, tokens, self.progress.track(label, len(rows)) as advance:
            for start in range(0, len(rows), self.batch_size):
                batch = rows[start : start + self.batch_size]
                inputs = self.windows.inputs(batch).to(device)
                visitor.begin(batch)
                # No name holds the logits, or those of one batch would wait in memory for those of the next.
                summed.append(window_losses(self.model(input_ids=inputs, use_cache=False).logits, inputs))
                visitor.end(batch)
                self._count_reached(batch)
                self.forward_tokens += inputs.numel()
                advance(len(batch))
        return torch.cat(summed).cpu().numpy()

    def counts(self, rows: NDArray[np.int64], losses: NDArray[np.float64]) -> Counts:
        """Counts of the last pass, over the windows `rows` with these losses; nothing active yet."""
        counts = Counts.empty(self.windows.count, len(self.sites))
        counts.seen[rows] = self.windows.window
        counts.predicted[rows] = self.windows.predictions_per_window
        counts.loss_nats[rows] = losses
        counts.reached[:] = self.reached
        return counts

    def column_norms(self, site: FfnSite) -> Tensor:
        """w_i of one site, float32 [F]; computed once."""
        if site.layer not in self.norms:
            self.norms[site.layer] = site.column_norms()
        return self.norms[site.layer]

    def valid(self, activations: Tensor) -> Tensor:
        """The valid positions of [batch, positions, F]: all but the BOS."""
        return activations if self.windows.bos_id is None else activations[:, 1:]

    def absent(self, site: FfnSite) -> Tensor | int:
        """How many valid places of each window hold no token, int64 [batch]; only routed sites have such."""
        return (~self.valid(self.present[site.layer])).sum(dim=1) if site.routed else 0

    def _note_tokens(self, site: FfnSite, present: Tensor) -> None:
        self.present[site.layer] = present

    def _count_reached(self, rows: NDArray[np.int64]) -> None:
        self.reached[rows] = self.windows.window
        routed = [site.layer for site in self.sites if site.routed]
        if routed:
            counts = [self.valid(self.present[layer]).sum(dim=1).cpu() for layer in routed]
            self.reached[np.ix_(rows, np.array(routed))] = torch.stack(counts, dim=1).numpy()


class BatchVisitor(Visitor):
    """A visitor that is informed which windows are being processed."""

    def begin(self, rows: NDArray[np.int64]) -> None:
        """The windows `rows` are about to pass."""

    def end(self, rows: NDArray[np.int64]) -> None:
        """The windows `rows` have passed."""

    def visit(self, site: FfnSite, a: Tensor, s: Tensor | None) -> Tensor | None:
        """See the activations before the down projection; the default leaves them alone."""
        return None

    def visit_output(self, site: FfnSite, a: Tensor, y: Tensor) -> None:
        """See the down projection's input and output; the default does nothing."""


UNSEEN = BatchVisitor()


def window_losses(logits: Tensor, inputs: Tensor) -> Tensor:
    """Summed next-token loss of each window in nats, float64 [batch]; one window at a time bounds memory.

    Args:
        logits: [batch, positions, vocabulary].
        inputs: int64 [batch, positions].
    """
    return torch.stack(
        [
            functional.cross_entropy(row[:-1].float(), ids[1:].to(row.device), reduction="none")
            .double()
            .sum()
            for row, ids in zip(logits, inputs, strict=True)
        ]
    )


def auto_batch_size(device: str, *, window: int) -> int:
    """Windows per forward pass: enough tokens to keep the device busy, few enough for its memory."""
    return max(1, AUTO_BATCH_TOKENS["cpu" if device == "cpu" else "cuda"] // window)


def pilot_rows(subject: Subject) -> Ints:
    """Evenly spaced windows of the pilot: an eighth of the text, at least 512 tokens and two windows.

    All of the text for a mixture of experts: an expert that no token of the pilot reached would have no curve.
    """
    if any(site.routed for site in subject.sites):
        return subject.all_rows
    windows = subject.windows
    wanted = max(windows.count // PILOT_SHARE, -(-PILOT_TOKENS // windows.window), PILOT_WINDOWS)
    return np.unique(np.linspace(0, windows.count - 1, min(wanted, windows.count)).round().astype(np.int64))
