"""How much text a number needs: the text is grown until the loss rise is known well enough.

The error falls as one over the root of the tokens (windows are nearly independent), so one measurement says how many
the next needs. An error from few windows is itself uncertain, and who stops when it is small stops too early: it is
taken one of its own standard errors larger, and Student's t over the normal quantile. All checkpoints are measured on
the same text, as much of it as the worst of them needs.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sparsity_lab.measure.model.windows import DEFAULT_WINDOW
from sparsity_lab.measure.search.noise import NORMAL, freedom_of, t_of
from sparsity_lab.measure.spec import MeasureSpec
from sparsity_lab.measure.work.failures import FAILED, measured

logger = logging.getLogger(__name__)

START_TOKENS = 32 * DEFAULT_WINDOW
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
        worst_nats = max(map(cautious_error_nats, measured(rows)))
        needed = tokens_for(rows, allowed_nats)
        said = (
            f"{spec.tokens} give the loss rise an error of at most {worst_nats:.2g} nats, {allowed_nats:.2g} are "
            f"allowed, which takes some {needed:,}"
        )
        if worst_nats <= allowed_nats:
            logger.info("tokens %s", said)
            break
        if _ended(rows, wanted=spec.tokens):
            logger.warning("tokens %s, and the text has no more", said)
            return [row if row.get(FAILED) else _flagged(row, allowed_nats) for row in rows]
        most = math.ceil(spec.tokens * MOST_GROWTH)
        spec = replace(
            spec, tokens=min(max(needed, math.ceil(spec.tokens * LEAST_GROWTH / 1024) * 1024), most)
        )
        logger.info("tokens %s: on with %d", said, spec.tokens)
        rows = measure(spec)
    return rows


def cautious_error_nats(row: Mapping[str, Any]) -> float:
    """The error of a record's loss rise, with what it may be too small by, nats."""
    units = row.get("error_units")
    if units is None:  # a record of before
        return float(row["loss_delta_se_nats"])
    t, freedom = t_of(units, sample=row["sample"]), freedom_of(units, sample=row["sample"])
    return float(row["loss_delta_se_nats"] * t / NORMAL * (1 + 1 / math.sqrt(2 * freedom)))


def tokens_for(rows: Rows, error_nats: float) -> int:
    """Tokens at which the worst error of some records is about as small as this, a multiple of 1,024."""
    wanted = max(
        row["tokens"] * MARGIN * (cautious_error_nats(row) / error_nats) ** 2 for row in measured(rows)
    )
    return math.ceil(wanted / 1024) * 1024


def _flagged(row: dict[str, Any], allowed_nats: float) -> dict[str, Any]:
    """A row of the table, with a flag where its error stayed above the one allowed; its record is left as it is."""
    short = cautious_error_nats(row) > allowed_nats
    return {**row, "flags": [*row["flags"], SHORT_TEXT]} if short else row


def _ended(rows: Sequence[dict[str, Any]], *, wanted: int) -> bool:
    return any(row["tokens"] + row["window"] <= wanted for row in measured(rows))
