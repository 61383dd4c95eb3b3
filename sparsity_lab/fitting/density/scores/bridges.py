"""Models of one harness moved onto the scores of another, by the models that both have scored: the bridges.

On each task the bridges differ by an offset, m, with a standard deviation s over n of them. A moved score is the score
plus m, and its standard error, sqrt(se^2 + s^2 (1 + 1/n)), is that of one more model drawn like the bridges. The offset
is a mean over the scores that the bridges have, so a score beyond them is not moved but left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.notes import Notes, listed
from sparsity_lab.fitting.density.scores.score_errors import sampling_se
from sparsity_lab.fitting.density.scores.targets import Target, TaskScore

FEWEST_BRIDGES = 3


@dataclass(frozen=True)
class Bridge:
    """What one harness gives more than another on a task, by the models that both have scored, 0 to 1.

    Attributes:
        task: on which.
        models: that both have scored.
        offset, sd: mean and standard deviation over the models of the first harness's score minus the second's.
        low, high: the second harness's scores of these models.
    """

    task: str
    models: tuple[str, ...]
    offset: float
    sd: float
    low: float
    high: float


def bridged(by_harness: Sequence[Sequence[Target]], notes: Notes) -> list[Target]:
    """The models of the first harness, and those that only the others have, moved onto it; each offset is noted.

    Raises:
        SparsityLabError: the first harness and another have fewer than three models in common on every task.
    """
    first, *others = by_harness
    kept = list(first)
    for other in others:
        offsets = bridges(first, other)
        if not offsets:
            raise SparsityLabError(
                f"{first[0].harness} and {other[0].harness} have no task on which both scored {FEWEST_BRIDGES} models",
                fix="Leave one of the harnesses out",
            )
        known = {target.model for target in kept}
        moved = [
            _moved(target, offsets, onto=first[0].harness) for target in other if target.model not in known
        ]
        kept += [target for target in moved if target.scores]
        notes.add(_in_words(first[0].harness, other[0].harness, offsets, [t for t in moved if t.scores]))
    return kept


def bridges(first: Sequence[Target], second: Sequence[Target]) -> dict[str, Bridge]:
    """The offsets of two harnesses, on each task that at least three models have under both."""
    named = {target.model: target for target in first}
    found = {}
    for task in dict.fromkeys(task for target in second for task in target.scores):
        pairs = {
            t.model: (named[t.model].scores[task].value, t.scores[task].value)
            for t in second
            if task in t.scores and t.model in named and task in named[t.model].scores
        }
        if len(pairs) >= FEWEST_BRIDGES:
            ours, theirs = np.array(list(pairs.values())).T
            gap = ours - theirs
            found[task] = Bridge(
                task,
                tuple(pairs),
                float(gap.mean()),
                float(gap.std(ddof=1)),
                float(theirs.min()),
                float(theirs.max()),
            )
    return found


def _moved(target: Target, offsets: dict[str, Bridge], *, onto: str) -> Target:
    scores = {}
    for task, score in target.scores.items():
        bridge = offsets.get(task)
        if bridge is not None and bridge.low <= score.value <= bridge.high:
            value = min(max(score.value + bridge.offset, 0.0), 1.0)
            spread = bridge.sd**2 * (1 + 1 / len(bridge.models))
            scores[task] = TaskScore(value, se=float(np.sqrt(sampling_se(score, task) ** 2 + spread)))
    return replace(target, scores=scores, harness=onto, note=f"scores moved from {target.harness} by bridges")


def _in_words(onto: str, source: str, offsets: dict[str, Bridge], moved: Sequence[Target]) -> str:
    each = "; ".join(
        f"{b.task} {100 * b.offset:+.1f}, deviation {100 * b.sd:.1f}, {len(b.models)} models"
        for b in offsets.values()
    )
    names = listed([target.model for target in moved])
    return (
        f"two harnesses are tied: {len(moved)} models of {source} are moved onto {onto} ({names}), "
        f"in points of 100: {each}; scores beyond those of the bridges are left out"
    )
