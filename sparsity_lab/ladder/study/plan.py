"""A study's folders, how far each stage has come, and the time of the rest on this machine.

DIR/study.json      the resolved config
DIR/train/          sparsity-lab train
DIR/measure/rules/  sparsity-lab measure: the series rule and each checkpoint's own knob
DIR/measure/cett-C/ the same at a fixed CETT
DIR/fit/...         sparsity-lab fit of each measured table
DIR/compare/        tables of all questions
DIR/width-depth/    sparsity-lab fit --law width-depth
DIR/loss/ACT/       sparsity-lab fit --law loss-power
DIR/report.md       with plots/
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sparsity_lab.ladder.config.spec import RunSpec
from sparsity_lab.ladder.estimate import seconds_per_token
from sparsity_lab.ladder.study.study_config import StudyConfig
from sparsity_lab.ladder.train.schedule import checkpoint_steps
from sparsity_lab.ladder.train.training import checkpoints_of
from sparsity_lab.store import records

STAGES = ("train", "measure", "fit", "compare", "width-depth", "loss", "report")
RULES = "rules"
LONGEST_WINDOW = 1024


@dataclass(frozen=True)
class Study:
    """A study in its folder. `name` is how its config was named on the command line, `log` names loggers."""

    config: StudyConfig
    name: str
    folder: Path
    jobs: int = 1
    log: tuple[str, ...] = ()

    @property
    def train(self) -> Path:
        """Where the ladder is."""
        return self.folder / "train"

    @property
    def compare(self) -> Path:
        """Where the tables of all questions are."""
        return self.folder / "compare"

    @property
    def text(self) -> Path | None:
        """The text measured on, where it is not a dataset."""
        given = self.config.measure.text
        if self.config.measure.dataset is not None:
            return None
        return self.train / "data" / "validation.txt" if given is None else Path(given)

    @property
    def window(self) -> int:
        """Tokens of a window: as asked for, or the longest that every run takes, up to 1,024."""
        positions = min(run.shape.positions for run in self.config.ladder.runs)
        return self.config.measure.window or min(positions, LONGEST_WINDOW)

    @property
    def run_folders(self) -> list[Path]:
        """The folder of every run, in the order of the config."""
        return [self.train / "runs" / run.name for run in self.config.ladder.runs]

    @property
    def knobs(self) -> dict[str, float | None]:
        """Name of each measured table -> its fixed knob, None for the two rules."""
        return {RULES: None, **{f"cett-{knob:g}": knob for knob in self.config.measure.knobs}}

    def table(self, name: str) -> Path:
        """A measured table."""
        return self.folder / "measure" / name / "table.csv"

    def fits(self, name: str) -> Path:
        """Where a measured table's fits are."""
        return self.folder / "fit" / name

    @property
    def loss_tables(self) -> dict[str, Path]:
        """Activation -> the table its loss law is fitted to, as the comparison wrote them."""
        tables = sorted(self.compare.glob("losses-*.csv"))
        return {path.stem.removeprefix("losses-"): path for path in tables}


@dataclass(frozen=True)
class Standing:
    """How far a run has come.

    Attributes:
        run: which. trained: whether it is finished. tokens_left: to be trained. cells: measurements planned.
        measured: of them that have records.
    """

    run: RunSpec
    trained: bool
    tokens_left: int
    cells: int
    measured: int


def standing(study: Study) -> list[Standing]:
    """How far every run has come; reads what is on the disk and writes nothing.

    Raises:
        SparsityLabError: a folder holds a run of another configuration.
    """
    done = _measured(study)
    standings = []
    for run, folder in zip(study.config.ladder.runs, study.run_folders, strict=True):
        planned, have = checkpoint_steps(run.training), checkpoints_of(run, output=folder)
        left = (planned[-1] - max(have, default=0)) * run.training.tokens_per_step
        cells = len(planned) * (1 + len(study.knobs))
        standings.append(Standing(run, planned[-1] in have, left, cells, done.get(run.name, 0)))
    return standings


def _measured(study: Study) -> dict[str, int]:
    """Run -> how many of its checkpoints have records, counted once a rule."""
    cells = {
        (record["series"], record["model"], name, record["rule"])
        for name in study.knobs
        for record in records.iter_records(study.folder / "measure" / name / "records")
    }
    return dict(Counter(series for series, *_ in cells))


# Seconds of a cell over those of training on as many tokens, all rules together and the search of the series
# rule in it; found on 65,536 tokens and a run of 0.1M parameters.
CELL_COST = 2.5
FIT_SECONDS = 3.0  # of one law on one series with its rivals, profiles and 200 refits, on one core


def plan_rows(study: Study, stages: Sequence[str]) -> list[dict[str, object]]:
    """One row a stage.

    Raises:
        SparsityLabError: the folder holds runs of another configuration.
    """
    standings = standing(study)
    rows = {"train": _train(standings), "measure": _measure(study, standings), "fit": _fit(study)}
    return [
        {"stage": stage, **rows.get(stage, {"what": "from the tables, seconds", "cells": None, "done": None})}
        for stage in stages
    ]


@cache
def _seconds_per_token(run: RunSpec) -> float:
    """Timed once for training and measuring."""
    return seconds_per_token(run)


def _train(standings: Sequence[Standing]) -> dict[str, object]:
    left = sum(_seconds_per_token(run.run) * run.tokens_left for run in standings if run.tokens_left)
    trained = sum(run.trained for run in standings)
    return {"what": "runs", "cells": len(standings), "done": trained, "seconds": round(left)}


def _measure(study: Study, standings: Sequence[Standing]) -> dict[str, object]:
    tokens = study.config.measure.tokens
    left = sum(
        _seconds_per_token(run.run) * CELL_COST * tokens * (run.cells - run.measured)
        for run in standings
        if run.cells > run.measured
    )
    return {
        "what": "checkpoints x rules", "cells": sum(run.cells for run in standings),
        "done": sum(run.measured for run in standings), "seconds": round(left),
    }  # fmt: skip


def _fit(study: Study) -> dict[str, object]:
    series = {
        name: len(study.config.ladder.runs) * (2 if knob is None else 1) for name, knob in study.knobs.items()
    }
    done = sum(count for name, count in series.items() if (study.fits(name) / "fits.json").exists())
    total = sum(series.values())
    return {"what": "series", "cells": total, "done": done, "seconds": round(FIT_SECONDS * (total - done))}
