"""What a ladder of models is, as frozen values: data, tokenizer, and one `RunSpec` a model."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sparsity_lab import ranges, registry
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.config.sections import LADDER
from sparsity_lab.ladder.corpus.tokenizer import refuse_small_vocabulary
from sparsity_lab.ladder.models import ModelShape

SCHEDULES = ("constant", "wsd")


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Where the text comes from: `corpus`, `files` or `dataset`, one of the three.

    Attributes:
        corpus: `python`, the sources of the environment.
        files: text or parquet files, or patterns of them.
        dataset: name of a dataset on the Hub, or a local directory of one.
        dataset_config: its configuration, where it has several.
        split: its split.
        text_column: column of a dataset or a parquet file that holds the text.
        license_note: terms of the text; the Python sources have their own.
        max_bytes: how much text to gather, training and validation together.
        validation_share: share of the documents held out.
        max_epochs: how often a run may walk the training part.
    """

    corpus: str | None = None
    files: tuple[str, ...] = ()
    dataset: str | None = None
    dataset_config: str | None = None
    split: str = "train"
    text_column: str = "text"
    license_note: str = "not stated"
    max_bytes: int = 20_000_000
    validation_share: float = 0.03
    max_epochs: float = 1.0

    def __post_init__(self) -> None:
        if (self.corpus is not None) + bool(self.files) + (self.dataset is not None) != 1:
            raise SparsityLabError(
                "`data` takes one of corpus, files and dataset",
                fix="Keep one of them under data, such as `corpus: python`",
            )
        if self.corpus not in (None, "python"):
            raise registry.unknown(str(self.corpus), kind="corpus", known=["python"])
        ranges.check_fields(self, command=LADDER)


@dataclass(frozen=True, kw_only=True)
class TokenizerSpec:
    """The tokenizer: trained on the spot, or given.

    Attributes:
        vocabulary: token ids; of a given tokenizer, rows of the embedding, at least as many as it has ids.
        path: directory or Hub id of a given tokenizer.
        train_bytes: text that merges are learnt from where it is trained here.
    """

    vocabulary: int = 512
    path: str | None = None
    train_bytes: int = 2_000_000

    def __post_init__(self) -> None:
        ranges.check_fields(self, command=LADDER)
        if self.path is None:
            refuse_small_vocabulary(self.vocabulary)


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What a config and the training of one shape both say of it.

    Attributes:
        tokens: training tokens; rounded up to whole batches.
        batch_size: windows of one step, over all devices.
        window: tokens of one window.
        micro_batch_size: windows of one forward pass on one device; left out, all of its share at once.
        learning_rate: peak, AdamW, of embeddings and norms.
        schedule: `constant` after the warm-up, or `wsd` (warm-up, stable, decay).
        warmup_steps: steps of linear warm-up.
        decay_share: share of the steps that decay under `wsd`.
        final_learning_rate_ratio: of the peak, where the decay ends.
        weight_decay: of the matrices; norms have none.
        beta1: of AdamW.
        beta2: of AdamW.
        clip_norm: largest gradient norm.
        checkpoints: how many, at log-spaced token counts.
        first_checkpoint_tokens: where the first one is.
        log_every_steps: steps a row of the loss log averages over.
    """

    tokens: int | None = None
    batch_size: int = 32
    window: int = 128
    micro_batch_size: int | None = None
    learning_rate: float = 3e-3
    schedule: str = "constant"
    warmup_steps: int = 50
    decay_share: float = 0.2
    final_learning_rate_ratio: float = 0.1
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    clip_norm: float = 1.0
    checkpoints: int = 10
    first_checkpoint_tokens: int = 500_000
    log_every_steps: int = 20


@dataclass(frozen=True, kw_only=True)
class TrainingSpec(TrainingSettings):
    """How one model is trained.

    Attributes:
        matrix_learning_rate: peak of the hidden matrices.
    The others are those of `TrainingSettings`; `tokens` are required.
    """

    tokens: int = field()
    matrix_learning_rate: float = TrainingSettings.learning_rate

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise registry.unknown(self.schedule, kind="schedule", known=list(SCHEDULES))
        ranges.check_fields(self, command=LADDER)
        if self.warmup_steps >= self.steps:
            raise SparsityLabError(
                f"A warm-up of {self.warmup_steps:,} steps does not fit a run of {self.steps:,} steps",
                fix="Shorten warmup_steps or train on more tokens",
            )

    @property
    def tokens_per_step(self) -> int:
        """Batch size times window."""
        return self.batch_size * self.window

    @property
    def steps(self) -> int:
        """Optimizer steps; the last one ends at or just beyond `tokens`."""
        return math.ceil(self.tokens / self.tokens_per_step)

    @property
    def trained_tokens(self) -> int:
        """Tokens the finished model has been trained on: steps x batch size x window."""
        return self.steps * self.tokens_per_step


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One model of a ladder."""

    name: str
    shape: ModelShape
    training: TrainingSpec
    seed: int = 0

    def __post_init__(self) -> None:
        ranges.check_fields(self, command=LADDER)
        if self.training.window > self.shape.positions:
            raise SparsityLabError(
                f"Run {self.name}: a window of {self.training.window} tokens is longer than the model's "
                f"{self.shape.positions} positions",
                fix="Shorten the window or raise positions",
            )

    def as_dict(self) -> dict[str, Any]:
        """Nested plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class LadderConfig:
    """A whole ladder: one corpus, one tokenizer, many runs."""

    name: str
    runs: tuple[RunSpec, ...]
    data: DataSpec = DataSpec(corpus="python")
    tokenizer: TokenizerSpec = TokenizerSpec()
    seed: int = 0

    def __post_init__(self) -> None:
        ranges.check_fields(self, command=LADDER)
        names = [run.name for run in self.runs]
        if not names:
            raise SparsityLabError(f"The ladder {self.name} has no runs", fix="Give it one RunSpec or more")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise SparsityLabError(
                f"Two runs of {self.name} have the same name: {', '.join(twice)}",
                fix="Remove the value or the entry of `runs` that occurs twice",
            )

    def with_seed(self, seed: int) -> LadderConfig:
        """The same ladder with another seed of split, initial weights and order."""
        return replace(self, seed=seed, runs=tuple(replace(run, seed=seed) for run in self.runs))

    def with_corpus(self, corpus: str) -> LadderConfig:
        """The same ladder on a corpus of that name instead of its own text."""
        data = replace(self.data, corpus=corpus, files=(), dataset=None, dataset_config=None)
        return replace(self, data=data)

    def as_dict(self) -> dict[str, Any]:
        """Nested plain values, for JSON and YAML."""
        return {**asdict(self), "runs": [run.as_dict() for run in self.runs]}
