"""Reading against writing: activation ratios over a prompt, over the text that follows, and over the model's own words.

A prompt is the beginning of a window. Under the thresholds the model reads it (prefill), reads on in the text, and
from the same prompt writes by itself: one token at a time from the KV cache, drawn from its own distribution. Written
tokens are at the positions of the text that was read, so that the two differ in who wrote them and not in where.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.model.hooks import FfnSite, tapped
from sparsity_lab.measure.model.passes import Subject
from sparsity_lab.measure.neurons.estimates import Estimate, ratio_of
from sparsity_lab.measure.neurons.mixtures.layers import ModelLayers
from sparsity_lab.measure.neurons.mixtures.routes import Routes
from sparsity_lab.measure.search import noise
from sparsity_lab.measure.search.counts import Floats, Ints
from sparsity_lab.measure.thresholds.applied import SparseVisitor
from sparsity_lab.measure.thresholds.stored import Calibration

PHASES = ("prompt", "continuation", "written")  # read; read on in the text; written by the model


@dataclass(frozen=True)
class DecodeCounts:
    """Active neurons of each phase, summed over its tokens; every prompt has as many.

    Attributes:
        prompt, continuation, written: int64 [prompts, layers].
        prompt_tokens, written_tokens: tokens of a prompt; tokens written after it, and read after it in the text.
        ids: int64 [prompts, written tokens], what was written.
    """

    prompt: Ints
    continuation: Ints
    written: Ints
    prompt_tokens: int
    written_tokens: int
    ids: Ints

    def tokens(self, phase: str) -> int:
        """Tokens of one prompt's phase."""
        return self.prompt_tokens if phase == "prompt" else self.written_tokens


@dataclass(frozen=True)
class DecodePlan:
    """How many prompts of how many tokens, and how many tokens to write after each."""

    prompts: int
    prompt_tokens: int
    written_tokens: int

    def check(self, *, window: int) -> None:
        """Refuse a plan beyond the window.

        Raises:
            SparsityLabError: prompts and what follows do not fit into a window, or nothing is asked for.
        """
        for name in (field.name for field in fields(self)):
            if getattr(self, name) < 1:
                raise SparsityLabError(
                    f"{name.replace('_', ' ')}: {getattr(self, name)} is not positive",
                    fix=f"Set {name} of the plan to 1 or more",
                )
        if self.prompt_tokens + self.written_tokens > window:
            raise SparsityLabError(
                f"A prompt of {self.prompt_tokens} tokens and {self.written_tokens} written ones are beyond the "
                f"window of {window}",
                fix="Write fewer tokens, or use a longer --window",
            )


def auto_plan(*, window: int, prompts: int, written_tokens: int) -> DecodePlan:
    """Prompts of half a window, or of what the tokens to be written leave of it."""
    return DecodePlan(prompts, max(1, min(window // 2, window - written_tokens)), written_tokens)


def compare_decoding(
    subject: Subject, calibration: Calibration, plan: DecodePlan, *, seed: int
) -> DecodeCounts:
    """Count active neurons while the model reads and while it writes, both under the thresholds.

    Args:
        subject: model and text; prompts are evenly spaced windows' beginnings.
        calibration: the thresholds.
        plan: how much.
        seed: of the draws; each prompt has draws of its own, so that the batch size does not matter.

    Raises:
        SparsityLabError: the plan does not fit the windows.
    """
    windows = subject.windows
    plan.check(window=windows.window)
    prompts = min(plan.prompts, windows.count)
    rows = np.unique(np.linspace(0, windows.count - 1, prompts).round().astype(np.int64))
    batches = []
    with subject.progress.track("decoding", len(rows)) as advance:
        for start in range(0, len(rows), subject.batch_size):
            batch = rows[start : start + subject.batch_size]
            batches.append(_batch(subject, calibration, batch, plan=plan, seed=seed))
            advance(len(batch))
    joined = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    prompt, continuation, written, ids = joined
    return DecodeCounts(prompt, continuation, written, plan.prompt_tokens, plan.written_tokens, ids)


def estimates(
    counts: DecodeCounts, sizes: Ints | Floats, *, layer: int | None, sample: str
) -> dict[str, Estimate]:
    """Activation ratio of each phase, and written less prompt and less continuation, paired over prompts.

    Args:
        counts: of all prompts.
        sizes: F of each layer, or of a mixture the neurons there that one token comes to.
        layer: which one; all for None.
        sample: how the windows that prompts are of were taken from the text.
    """
    chosen = slice(None) if layer is None else slice(layer, layer + 1)
    neurons = sizes[chosen].sum()
    each = {
        phase: getattr(counts, phase)[:, chosen].sum(axis=1) / (counts.tokens(phase) * neurons)
        for phase in PHASES
    }
    each["written_less_prompt"] = each["written"] - each["prompt"]
    each["written_less_continuation"] = each["written"] - each["continuation"]
    draws = noise.replicates(np.arange(len(counts.ids)), sample=sample)
    ones = np.ones(len(counts.ids))
    return {name: ratio_of(draws, values, ones) for name, values in each.items()}


class _Counter(SparseVisitor):
    """Masks activations and notes the number kept for every token that passes."""

    def __init__(self, sites: Sequence[FfnSite], calibration: Calibration) -> None:
        super().__init__(sites, calibration)
        self.layers = ModelLayers.of(sites)
        self.routes = Routes(self.layers)
        self.active: list[list[Tensor]] = [[] for _ in sites]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """See the sites while the context lasts."""
        with self.routes.watched(), tapped(self.layers.sites, self):
            yield

    def seen(self, site: FfnSite, a: Tensor, keep: Tensor) -> None:
        self.active[site.layer].append(self.routes.spread(site, keep.sum(dim=-1)))

    def per_token(self) -> Ints:
        """int64 [windows, tokens passed, layers]."""
        joined = [torch.cat(parts, dim=1).cpu() for parts in self.active]
        return self.layers.summed(torch.stack(joined, dim=-1).numpy())


@torch.no_grad()
def _batch(
    subject: Subject, calibration: Calibration, rows: Ints, *, plan: DecodePlan, seed: int
) -> tuple[Ints, Ints, Ints, Ints]:
    """Active neurons of prompt, continuation and written tokens, [windows, layers] each, and what was written."""
    bos = int(subject.windows.bos_id is not None)
    end = bos + plan.prompt_tokens
    device = subject.model.get_input_embeddings().weight.device
    inputs = subject.windows.inputs(rows)[:, : end + plan.written_tokens].to(device)
    reader, writer = _Counter(subject.sites, calibration), _Counter(subject.sites, calibration)
    with reader.watching():
        subject.model(input_ids=inputs, use_cache=False)
    chances = np.stack([np.random.default_rng([seed, int(row)]).random(plan.written_tokens) for row in rows])
    with writer.watching():
        ids = _write(subject.model, inputs[:, :end], torch.from_numpy(chances).to(device))
    read, wrote = reader.per_token(), writer.per_token()
    return (
        wrote[:, bos:end].sum(axis=1),
        read[:, end:].sum(axis=1),
        wrote[:, end:].sum(axis=1),
        ids.cpu().numpy(),
    )


def _write(model: Any, prompt: Tensor, chances: Tensor) -> Tensor:
    """Tokens drawn one at a time where the distribution function reaches `chances` [windows, tokens], int64 as these.

    Each token written is read, the last one too, so that all are counted.
    """
    output = model(input_ids=prompt, use_cache=True)
    written = []
    for chance in chances.T:
        cumulative = output.logits[:, -1].double().softmax(dim=-1).cumsum(dim=-1)
        wanted = chance.unsqueeze(1) * cumulative[:, -1:]
        token = torch.searchsorted(cumulative, wanted, right=True).clamp_(max=cumulative.shape[1] - 1)
        written.append(token)
        output = model(input_ids=token, past_key_values=output.past_key_values, use_cache=True)
    return torch.cat(written, dim=1)
