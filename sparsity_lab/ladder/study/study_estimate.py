"""What a study has left to do: cells, how many are done, and the time of the rest on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from sparsity_lab.ladder.config.spec import RunSpec
from sparsity_lab.ladder.estimate import seconds_per_token
from sparsity_lab.ladder.study.plan import Standing, Study, standing

# Seconds of a cell over those of training on as many tokens, all rules together and the search of the series
# rule in it; found on 65,536 tokens and a run of 0.1M parameters.
CELL_COST = 2.5
FIT_SECONDS = 3.0  # of one law on one series with its rivals, profiles and 200 refits, on one core


def plan_rows(study: Study, stages: Sequence[str]) -> list[dict[str, object]]:
    """One row a stage.

    Raises:
        SparsityLabError: the folder holds runs of another configuration.
    """
    found = standing(study)
    rows = {"train": _train(found), "measure": _measure(study, found), "fit": _fit(study)}
    return [
        {"stage": stage, **rows.get(stage, {"what": "from the tables, seconds", "cells": None, "done": None})}
        for stage in stages
    ]


@cache
def _seconds_per_token(run: RunSpec) -> float:
    """Timed once for training and measuring."""
    return seconds_per_token(run)


def _train(found: Sequence[Standing]) -> dict[str, object]:
    left = sum(_seconds_per_token(one.run) * one.tokens_left for one in found if one.tokens_left)
    trained = sum(one.trained for one in found)
    return {"what": "runs", "cells": len(found), "done": trained, "seconds": round(left)}


def _measure(study: Study, found: Sequence[Standing]) -> dict[str, object]:
    tokens = study.config.measure.tokens
    left = sum(
        _seconds_per_token(one.run) * CELL_COST * tokens * (one.cells - one.measured)
        for one in found
        if one.cells > one.measured
    )
    return {
        "what": "checkpoints x rules", "cells": sum(one.cells for one in found),
        "done": sum(one.measured for one in found), "seconds": round(left),
    }  # fmt: skip


def _fit(study: Study) -> dict[str, object]:
    series = {
        name: len(study.config.ladder.runs) * (2 if knob is None else 1) for name, knob in study.knobs.items()
    }
    done = sum(count for name, count in series.items() if (study.fits(name) / "fits.json").exists())
    total = sum(series.values())
    return {"what": "series", "cells": total, "done": done, "seconds": round(FIT_SECONDS * (total - done))}
