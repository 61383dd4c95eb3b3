"""Whether a dense loss is one that a trained model has on text it can read."""

from __future__ import annotations

import math

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.model.passes import Subject

UNTRAINED = "untrained"  # the flag


def check_plausible(loss_nats: float, *, subject: Subject) -> None:
    """Refuse a dense loss that no trained model has on text it can read.

    Raises:
        SparsityLabError: NaN, or a perplexity above half the vocabulary where the subject may not be untrained.
    """
    if not math.isfinite(loss_nats):
        raise SparsityLabError(
            "The dense loss is not a number",
            why="The model overflows in this dtype, or its weights are broken",
            fix="Try --dtype float32",
        )
    if untrained(loss_nats, subject=subject) and not subject.allow_untrained:
        raise SparsityLabError(
            f"The dense perplexity is {math.exp(min(loss_nats, 700)):.4g}, above half the vocabulary "
            f"of {_vocabulary(subject)}: implausible",
            why="The model is untrained, or the text or the tokenizer is not its own",
            fix="Check the text, the tokenizer and the revision; an untrained model is measured, and flagged, with "
            "--allow-untrained (in Python, allow_untrained=True)",
        )


def untrained(loss_nats: float, *, subject: Subject) -> tuple[str, ...]:
    """The flag of a dense perplexity above half the vocabulary, if any."""
    return (UNTRAINED,) if loss_nats > math.log(_vocabulary(subject) / 2) else ()


def _vocabulary(subject: Subject) -> int:
    return int(subject.model.get_input_embeddings().weight.shape[0])
