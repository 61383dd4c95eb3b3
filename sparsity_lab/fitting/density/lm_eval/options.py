"""Options for what a run reads: tasks, sizes, and the metrics and chance levels of lm-eval's results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.lm_eval.results import LmEvalScores, read_evaluations
from sparsity_lab.fitting.density.notes import Notes
from sparsity_lab.fitting.density.scores.harnesses import is_long
from sparsity_lab.fitting.density.scores.metrics import TaskSetting, wanted_metrics
from sparsity_lab.fitting.density.scores.sizes import SizeConvention
from sparsity_lab.reading.csv_rows import read_rows


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """What is read, and how.

    Attributes:
        tasks: that count; None for all, or as the run says.
        models: a table with sizes, tokens and dates for lm-eval results, or for a table of scores.
        metrics: of lm-eval results, as `acc_norm` for all tasks or `piqa=acc_norm`; by default the ruler's.
        chances: of tasks that the table of names does not know, as `mine=0.25`.
        convention: which parameters count.
    """

    tasks: tuple[str, ...] | None = None
    models: Path | None = None
    metrics: tuple[str, ...] = ()
    chances: tuple[str, ...] = ()
    convention: SizeConvention = field(default_factory=SizeConvention)

    def results_in(
        self, inputs: Path | None, *, settings: Mapping[str, TaskSetting], notes: Notes
    ) -> list[LmEvalScores] | None:
        """What lm-eval left in a folder; None where the input is a table.

        Raises:
            SparsityLabError: unreadable, or an option for lm-eval's results without any.
        """
        metrics = wanted_metrics(self.metrics)
        if inputs is not None and inputs.is_dir():
            return read_evaluations(
                inputs, models=self.models, metrics=metrics, settings=settings, notes=notes
            )
        idle = ["--metric"] if self.metrics else []
        if self.models and not (inputs is not None and is_long(read_rows(inputs, needed=())[0])):
            idle = ["--models", *idle]
        if idle:
            raise SparsityLabError(
                f"{' and '.join(idle)} can be given with a folder of lm-eval results only",
                fix="Leave it out; a table of models holds its own sizes, dates and scores",
            )
        return None
