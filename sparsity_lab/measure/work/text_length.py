"""How much text a number needs: the text is grown until the loss rise is known well enough.

The standard error of the loss rise falls as one over the root of the tokens (blocks of windows are nearly
independent), so one measurement says how many the next needs. All checkpoints are measured on the same text,
as much of it as the worst of them needs.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sparsity_lab.measure.spec import MeasureSpec
from sparsity_lab.measure.work.failures import FAILED, measured

logger = logging.getLogger(__name__)

START_TOKENS = 8192
ERROR_SHARE = 0.1
MARGIN = 1.15
LEAST_GROWTH, MOST_GROWTH = 1.5, 8.0

SHORT_TEXT = "short_text"  # flag: the text ended before the loss rise was known as well as was asked for

Rows = list[dict[str, Any]]


def grown(spec: MeasureSpec, measure: Callable[[MeasureSpec], Rows]) -> Rows:
    """Measure once, or on more and more text until the error is small enough or the text ends.

    Args:
        spec: with `error_share` the text grows; else it is measured as it is.
        measure: measures on `spec.tokens` tokens and returns the records.

    Returns:
        The records of the last round, flagged `short_text` where the text ended too soon.
    """
    rows = measure(spec)
    while spec.error_share is not None and measured(rows):
        allowed_nats = spec.error_share * math.log1p(spec.ppl_increase)
        worst_nats = max(row["loss_delta_se_nats"] for row in measured(rows))
        said = f"{spec.tokens} give the loss rise an error of {worst_nats:.2g} nats, {allowed_nats:.2g} are allowed"
        if worst_nats <= allowed_nats:
            logger.info("tokens %s", said)
            break
        if _ended(rows, wanted=spec.tokens):
            logger.warning("tokens %s, and the text has no more", said)
            return [row if row.get(FAILED) else _flagged(row, allowed_nats) for row in rows]
        spec = replace(spec, tokens=_needed(spec.tokens, excess=worst_nats / allowed_nats))
        logger.info("tokens %s: on with %d", said, spec.tokens)
        rows = measure(spec)
    return rows


def _flagged(row: dict[str, Any], allowed_nats: float) -> dict[str, Any]:
    """A row of the table, with a flag where its error stayed above the one allowed; its record is left as it is."""
    short = row["loss_delta_se_nats"] > allowed_nats
    return {**row, "flags": [*row["flags"], SHORT_TEXT]} if short else row


def _ended(rows: Sequence[dict[str, Any]], *, wanted: int) -> bool:
    return any(row["tokens"] + row["window"] <= wanted for row in measured(rows))


def _needed(tokens: int, *, excess: float) -> int:
    """Tokens of the next round, a multiple of 1,024."""
    factor = min(max(MARGIN * excess**2, LEAST_GROWTH), MOST_GROWTH)
    return math.ceil(tokens * factor / 1024) * 1024
