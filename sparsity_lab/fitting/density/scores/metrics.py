"""Which of a task's metrics is its score, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.scores.benchmarks import benchmark, called, under
from sparsity_lab.fitting.density.scores.targets import TaskScore
from sparsity_lab.registry import unknown

# Shares of questions answered rightly, the usual ones first.
METRICS = ("acc", "exact_match", "pass@1", "pass_at_1", "mc2", "acc_norm", "f1")
# Lower is better, or a scale of 0 to 100: none of them is a score of 0 to 1.
NO_SCORES = frozenset({
    "perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte", "brier_score", "mse", "ter",
    "bleu", "chrf", "sample_len", "sample_count",
})  # fmt: skip


@dataclass(frozen=True)
class TaskSetting:
    """How a ruler's scores of one task were made: lm-eval's metric, examples in the prompt, anything else."""

    metric: str | None = None
    shots: int | None = None
    note: str = ""


@dataclass(frozen=True)
class TaskScores:
    """One task of one result.

    Attributes:
        scores: by lm-eval's key of the metric, as `acc,none`; each in 0 to 1.
        shots: examples in the prompt; None where the result does not say.
        samples: the file of logged samples.
        output_type, choices: of the task's configuration; empty or None where it does not say.
        prompts: lm-eval's hash of questions and prompts; empty without samples.
    """

    task: str
    scores: Mapping[str, TaskScore] = field(default_factory=dict)
    shots: int | None = None
    samples: Path | None = None
    output_type: str = ""
    choices: int | None = None
    prompts: str = ""
    version: str = ""


def is_score(metric: str, value: float) -> bool:
    """Whether a metric's value can be a score of 0 to 1 of which more is better."""
    name = metric.split(",")[0]
    return ("," in metric or name in METRICS) and name not in NO_SCORES and 0 <= value <= 1


def wanted_metrics(words: Sequence[str]) -> dict[str, str]:
    """`--metric` as metrics by task; a metric for every task has the key of an empty task.

    Raises:
        SparsityLabError: a word without a metric, or two metrics for one task.
    """
    wanted: dict[str, str] = {}
    for word in words:
        task, _, metric = word.rpartition("=")
        if not metric.strip() or ("=" in word and not task.strip()):
            raise SparsityLabError(
                f"--metric {word!r} names no metric", fix="Write acc_norm, or piqa=acc_norm"
            )
        if task.strip() in wanted:
            raise SparsityLabError(
                f"--metric is given twice for {task or 'all tasks'}", fix="Keep one of them"
            )
        wanted[task.strip()] = metric.strip()
    return wanted


def given_chances(words: Sequence[str]) -> dict[str, float]:
    """`--chance` as chance levels by task.

    Raises:
        SparsityLabError: not TASK=NUMBER, or a number outside 0 to 1.
    """
    chances: dict[str, float] = {}
    for word in words:
        task, _, text = word.rpartition("=")
        try:
            chance = float(text)
        except ValueError:
            chance = float("nan")
        if not task.strip() or not 0 <= chance < 1:
            raise SparsityLabError(
                f"--chance {word!r} is not a task and its chance level",
                fix="Write --chance winogrande=0.5; 0 where answers are generated",
            )
        if chances.setdefault(task.strip(), chance) != chance:
            raise SparsityLabError(f"--chance is given twice for {task.strip()}", fix="Keep one of them")
    return chances


def refuse_unknown_words(words: Iterable[str], tasks: Sequence[str], *, flag: str = "") -> None:
    """Refuse a task of `--tasks`, or of the flag that is named, that is not there: it would change nothing.

    Raises:
        SparsityLabError: names the task and the nearest one.
    """
    for word in words:
        if called(word, tasks) is None:
            what = flag and f"{flag} names the task {word!r}, which is not there"
            raise unknown(word, kind="task", known=tasks, what=what)


def choose_metric(
    task: TaskScores, wanted: Mapping[str, str], settings: Mapping[str, TaskSetting]
) -> tuple[str, str] | None:
    """A task's metric and the reason for it; None where the metric asked for is not there.

    The order: what was asked for, the ruler's, the one usually reported, the first of the usual names.
    """
    if asked := under(task.task, wanted) or wanted.get(""):
        key = _key(task, asked)
        return None if key is None else (key, "it was asked for")
    setting = under(task.task, settings)
    if setting and setting.metric and (key := _key(task, setting.metric)):
        return key, "it is the ruler's"
    usual = benchmark(task.task).metric
    if usual and (key := _key(task, usual)):
        return key, f"it is the one usually reported for {benchmark(task.task).name}"
    if len(task.scores) == 1:
        return next(iter(task.scores)), "it is the only one"
    for name in METRICS:
        if key := _key(task, name):
            others = ", ".join(sorted({other.split(",")[0] for other in task.scores} - {name}))
            return key, "it is the first of the usual ones" + (f" (others: {others})" if others else "")
    return None


def is_other(metric: str, than: str) -> bool:
    """Whether a metric of a result is not the one meant, which may be without its filter."""
    return than.removesuffix(",none") not in (metric.removesuffix(",none"), metric.split(",")[0])


def _key(task: TaskScores, metric: str) -> str | None:
    """The key of a metric, with or without its filter."""
    return next((key for key in task.scores if metric in (key, key.split(",")[0])), None)
