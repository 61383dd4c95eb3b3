"""Pairs of models over the tokens of one text: does a token that needs many neurons of one need many of the other?

Each token id is a point: its activation ratio in one model against that in the other (figure 10 of Sparsing Law, arXiv
2411.02335). Ids seen a few times only are mostly noise and stay out; noise of the others still lowers a correlation.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import rankdata

from sparsity_lab.measure.search.counts import Floats
from sparsity_lab.store.arrays import Sealed

LEAST_COUNT, LEAST_IDS = 10, 10
DRAWS = 200


def pair_rows(sealed: Sequence[Sealed], *, seed: int) -> list[dict[str, Any]]:
    """One row for each text and each two models that read the same token ids by one tokenizer.

    Args:
        sealed: records, in the order of models and texts.
        seed: of the bootstrap over token ids.
    """
    rows = []
    for first, second in combinations(sealed, 2):
        same = all(first.body[key] == second.body[key] for key in ("text", "tokenizer", "text_sha256"))
        if same and first.body["content_key"] != second.body["content_key"]:
            rows.append(_row(first, second, seed=seed))
    return rows


def _row(first: Sealed, second: Sealed, *, seed: int) -> dict[str, Any]:
    often = first.arrays["token_count"] >= LEAST_COUNT  # of one text, so the same in both
    x, y = first.arrays["token_ratio"][often], second.arrays["token_ratio"][often]
    row = {"model": first.body["name"], "other": second.body["name"], "text": first.body["text"],
           "token_ids": int(often.sum())}  # fmt: skip
    enough = len(x) >= LEAST_IDS
    for name, values in (("correlation", (x, y)), ("rank_correlation", (rankdata(x), rankdata(y)))):
        row[name], row[f"{name}_se"] = _correlated(*values, seed=seed) if enough else (None, None)
    return row


def _correlated(x: Floats, y: Floats, *, seed: int) -> tuple[float | None, float | None]:
    if x.std() == 0 or y.std() == 0:
        return None, None
    drawn = np.random.default_rng(seed).integers(0, len(x), size=(DRAWS, len(x)))
    correlations = [np.corrcoef(x[ids], y[ids])[0, 1] for ids in drawn if np.ptp(x[ids]) and np.ptp(y[ids])]
    return float(np.corrcoef(x, y)[0, 1]), float(np.std(correlations, ddof=1))
