"""Partners: the neurons that fire on the same tokens, by the cosine of their firing vectors.

    cosine(i, j) = c_ij / sqrt(f_i f_j)        Jaccard(i, j) = c_ij / (f_i + f_j - c_ij)

with c_ij the tokens both fire on and f their own. The largest of many noisy numbers is too large, so a partner is
looked for on the first part of a text and its cosine is measured on the second; *by chance* it would be
sqrt(f_i f_j) / T there, for neurons that fire at their own frequencies, independently.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsity_lab.measure.neurons.estimates import Estimate
from sparsity_lab.measure.neurons.structure.clustering.clusters import cosines
from sparsity_lab.measure.neurons.structure.counts import EIGHTHS
from sparsity_lab.measure.neurons.structure.roles.jackknife import jackknife
from sparsity_lab.measure.search.counts import Floats, Ints

PARTNERS = 5
STRONGEST_PAIRS = 10
LEAST_FIRINGS = 10  # below, a cosine says little


def partners(together: Ints) -> tuple[Ints, Floats]:
    """The most similar neurons of each neuron, and their cosines: int64 and float64 [C, PARTNERS].

    Args:
        together: int64 [C, C], own firings on the diagonal.

    Returns:
        Places among the chosen neurons, the most similar first, -1 (and cosine 0) where a neuron never fires with
        so many others.
    """
    similar = cosines(together)
    np.fill_diagonal(similar, -1.0)
    order = np.argsort(-similar, axis=1, kind="stable")[:, :PARTNERS]
    values = np.take_along_axis(similar, order, axis=1)
    return np.where(values > 0, order, -1), np.maximum(values, 0.0)


def strongest_pairs(together: Ints, chosen: Ints, *, tokens: Ints) -> list[dict[str, Any]]:
    """The pairs of highest cosine on the first part, with what the second part says of them.

    Args:
        together: int64 [2, C, C].
        chosen: index of each of the C neurons in its layer.
        tokens: of the two parts, int64 [2].
    """
    first, second = together
    fired = np.diagonal(first)
    similar = np.where((fired[:, None] >= LEAST_FIRINGS) & (fired >= LEAST_FIRINGS), cosines(first), 0.0)
    i, j = np.triu_indices(len(first), 1)
    order = np.argsort(-similar[i, j], kind="stable")[:STRONGEST_PAIRS]
    order = order[similar[i, j][order] > 0]
    f, judged = np.diagonal(second), cosines(second)
    rows = []
    for a, b in zip(i[order].tolist(), j[order].tolist(), strict=True):
        both, either = int(second[a, b]), int(f[a] + f[b] - second[a, b])
        rows.append(
            {
                "neuron": int(chosen[a]),
                "partner": int(chosen[b]),
                "cosine_found": float(similar[a, b]),
                "cosine": float(judged[a, b]),
                "by_chance": float(np.sqrt(f[a] * f[b]) / tokens[1]),
                "jaccard": both / either if either else 0.0,
                "together_tokens": both,
            }
        )
    return rows


def best_partner(sketch: Ints, tokens: Ints) -> tuple[Estimate, Estimate]:
    """Mean over neurons of the cosine with the best partner, and of the same by chance; jackknife over eighths.

    Args:
        sketch: int64 [8, c, c]. Partners are found on the first four eighths, judged on the others.
        tokens: of each eighth, int64 [8].
    """
    half = EIGHTHS // 2
    similar = cosines(sketch[:half].sum(axis=0))
    often = np.diagonal(sketch[:half].sum(axis=0)) >= LEAST_FIRINGS
    np.fill_diagonal(similar, -1.0)
    best = similar.argmax(axis=1)[often]
    mine = np.flatnonzero(often)

    def judged(keep: Ints) -> Floats:
        second = sketch[half:][keep].sum(axis=0)
        f = np.diagonal(second)
        chance = np.sqrt(f[mine].astype(np.float64) * f[best]) / max(int(tokens[half:][keep].sum()), 1)
        return np.array([cosines(second)[mine, best].mean() if len(mine) else 0.0,
                         chance.mean() if len(mine) else 0.0])  # fmt: skip

    values, errors = jackknife(judged, np.flatnonzero(tokens[half:]))
    return Estimate(float(values[0]), float(errors[0])), Estimate(float(values[1]), float(errors[1]))
