"""A study's folders, the commands its stages stand for, and how far each stage has come.

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

import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsity_lab.ladder.config.spec import RunSpec
from sparsity_lab.ladder.study.study_config import StudyConfig
from sparsity_lab.ladder.train.schedule import checkpoint_steps
from sparsity_lab.ladder.train.training import checkpoints_of
from sparsity_lab.store import records

STAGES = ("train", "measure", "fit", "compare", "width-depth", "loss", "report")
RULES = "rules"
LONGEST_WINDOW = 1024
LOCK_REASON = "as measured and fitted by this study; report.md says what they mean"
SHAPE_RIVALS = ("width-depth", "linear", "logarithmic", "constant")
LOSS_INPUTS, LOSS_OUTPUT = ("params_nonembedding", "trained_tokens"), "loss_dense_nats"
LOSS_UNITS = ("params_nonembedding=1", "trained_tokens=1")  # counted, however small a study is
SHAPE_UNITS = ("parameters=1",)
SHAPE_COLUMNS: dict[str, Any] = {"x": "width_depth_ratio", "y": "activation_ratio", "group": "rule"}


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
    def text(self) -> Path:
        """The text measured on."""
        own = self.config.measure.text
        return self.train / "data" / "validation.txt" if own is None else Path(own)

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

    def commands(self, stage: str) -> list[str]:
        """What a stage does, as commands of their own."""
        made = {
            "train": self._train,
            "measure": self._measure,
            "fit": self._fit,
            "width-depth": self._width_depth,
            "loss": self._loss,
        }
        own = made[stage]() if stage in made else iter([["study", self.name, "--only", stage, *self._at("")]])
        return [shlex.join(["sparsity-lab", *words]) for words in own]

    def _at(self, place: str) -> list[str]:
        return ["--seed", str(self.config.ladder.seed), "--output", str(self.folder / place)]

    @property
    def _together(self) -> list[str]:
        jobs = ["--jobs", str(self.jobs)] if self.jobs > 1 else []
        return [*jobs, *(word for name in self.log for word in ("--log", name))]

    def _train(self) -> Iterator[list[str]]:
        yield ["train", self.name, *self._together, *self._at("train")]

    def _measure(self) -> Iterator[list[str]]:
        own = self.config.measure
        common = [
            "measure",
            *map(str, self.run_folders),
            "--text",
            str(self.text),
            "--tokens",
            str(own.tokens),
        ]
        common += ["--criterion", own.criterion, "--device", own.device, "--dtype", own.dtype]
        for name, knob in self.knobs.items():
            rule = (
                [
                    "--ppl-increase",
                    f"{own.ppl_increase:g}",
                    "--stabilise",
                    f"last:{own.stabilise}",
                    "--per-checkpoint",
                ]
                if knob is None
                else ["--knob", f"{knob:g}"]
            )
            yield [*common, *rule, *self._together, *self._at(f"measure/{name}")]

    def _fit(self) -> Iterator[list[str]]:
        own = self.config.fit
        for name in self.knobs:
            yield ["fit", str(self.table(name)), "--bootstrap", str(own.bootstrap), "--drop", str(own.drop),
                   *self._at(f"fit/{name}"), "--lock", LOCK_REASON]  # fmt: skip

    def _width_depth(self) -> Iterator[list[str]]:
        columns = [word for key, name in SHAPE_COLUMNS.items() for word in (f"--{key}", name)]
        yield ["fit", str(self.compare / "shapes.csv"), "--law", "width-depth", "--rivals", ",".join(SHAPE_RIVALS),
               *columns, *_units(SHAPE_UNITS), "--bootstrap", str(self.config.fit.bootstrap), *self._at("width-depth"),
               "--lock", LOCK_REASON]  # fmt: skip

    @property
    def loss_tables(self) -> dict[str, Path]:
        """Activation -> the table its loss law is fitted to, as the comparison wrote them."""
        found = sorted(self.compare.glob("losses-*.csv"))
        return {path.stem.removeprefix("losses-"): path for path in found}

    def _loss(self) -> Iterator[list[str]]:
        tables = self.loss_tables or {"ACTIVATION": self.compare / "losses-ACTIVATION.csv"}
        for activation, table in tables.items():
            yield ["fit", str(table), "--law", "loss-power", "--x", ",".join(LOSS_INPUTS), "--y", LOSS_OUTPUT,
                   "--group", "series", *_units(LOSS_UNITS), "--bootstrap", str(self.config.fit.bootstrap),
                   *self._at(f"loss/{activation}"), "--lock", LOCK_REASON]  # fmt: skip


def _units(pairs: tuple[str, ...]) -> list[str]:
    """Units as flags."""
    return [word for pair in pairs for word in ("--unit", pair)]


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
    found = []
    for run, folder in zip(study.config.ladder.runs, study.run_folders, strict=True):
        planned, have = checkpoint_steps(run.training), checkpoints_of(run, output=folder)
        left = (planned[-1] - max(have, default=0)) * run.training.tokens_per_step
        cells = len(planned) * (1 + len(study.knobs))
        found.append(Standing(run, planned[-1] in have, left, cells, done.get(run.name, 0)))
    return found


def _measured(study: Study) -> dict[str, int]:
    """Run -> how many of its checkpoints have records, counted once a rule."""
    found = {
        (record["series"], record["model"], name, record["rule"])
        for name in study.knobs
        for record in records.iter_records(study.folder / "measure" / name / "records")
    }
    return dict(Counter(series for series, *_ in found))
