"""Settings that the command line and the specifications in Python share: default, meaning and form, each said once.

A specification inherits a class from here, and so does the class of a command's options. The `Flag` of a field says
what it means; `cli/console/options.py` makes the flags of them. The range of a number goes by its name, in `ranges.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

TOKENS = 65_536
CRITERION = "cett"
PPL_INCREASE = 0.01
AUTO = "auto"
BOOTSTRAP = 400
SPARE = 2  # points beyond the coefficients, below which a fit says nothing
DELTA = 1e-3
SPREAD, HEAD, WHOLE = "spread", "head", "whole"  # where in a text its windows lie
THE_CORPUS, THIS_TEXT = "the corpus", "this text"  # what errors hold for
EVEN, POWER = NOISES = ("even", "power")  # what the noise of a fit is taken for
D0_TOKENS = 1e12
HARNESS = "not stated"
WORLDS = 200
WORLD_KINDS = ("standard",)
DTYPES = ("float32", "bfloat16", "float16")
BASES = ("coactivation", "input-weights")
SHAPES = ((1536, 576), (8192, 2048))
WHAT, TEXT, TABLE, HOW, WHERE, OUTPUT = PANELS = ("What", "Text", "Table", "How", "Where", "Output")


@dataclass(frozen=True)
class Flag:
    """What the command line says of a field.

    Attributes:
        help: a whole phrase.
        panel: the part of `--help` that it is in.
        flags: the words for it, where they are not the field's name.
        shown: its default in words, where the value would not tell.
        metavar: what to write for its value, where the type would not tell.
        choices: the only words it takes.
        auto: on the command line, `auto` is None.
    """

    help: str
    panel: str = HOW
    flags: tuple[str, ...] = ()
    shown: str = ""
    metavar: str = ""
    choices: tuple[str, ...] = ()
    auto: bool = False


Seed = Annotated[int, Flag("Seed of all random choices.")]
TextColumn = Annotated[
    str | None,
    Flag(
        "Key or column of the text in JSON lines, parquet files and datasets.",
        TEXT,
        shown="text, or a short name's own",
    ),
]
Pack = Annotated[
    bool, Flag("Join documents, so that windows may cross their borders (by default, none does).", TEXT)
]


@dataclass(frozen=True, kw_only=True)
class WeightSettings:
    """What is allowed of a checkpoint's weights, and what is said of them because their files do not."""

    allow_pickle_weights: Annotated[
        bool,
        Flag(
            "Read pytorch_model.bin where there are no safetensors: torch does, with weights_only=True, and a pickle "
            "that contains anything but tensors is refused (SECURITY.md)."
        ),
    ] = False
    hidden_act: Annotated[
        str | None,
        Flag(
            "Activation function of a GGUF file, whose metadata rarely hold it, by transformers' name: silu, relu.",
            shown="as the model's files say; needed for GGUF files of families that have several",
            metavar="NAME",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ModelSettings(WeightSettings):
    """Where and how a model runs."""

    device: Annotated[str, Flag("Torch device, or auto.")] = "auto"
    dtype: Annotated[str, Flag("Dtype of weights and activations.", choices=("auto", *DTYPES))] = "auto"
    architecture_file: Annotated[
        Path | None,
        Flag("Your own Python file that defines where the model's FFN parts are. It is EXECUTED."),
    ] = None

    def of_model(self) -> ModelSettings:
        """These settings alone, of a specification that has more."""
        return ModelSettings(**{field.name: getattr(self, field.name) for field in fields(ModelSettings)})


@dataclass(frozen=True, kw_only=True)
class TextSettings(ModelSettings):
    """How a model reads a text; a text_column of None is `text`, or that of a dataset's short name."""

    bos: Annotated[bool, Flag("Put a BOS in front of each window, if the tokenizer uses one.", TEXT)] = True
    sample: Annotated[
        str | None,
        Flag(
            "Where windows are taken from in a text longer than --tokens: spread over all of it, so that errors hold "
            "for the corpus, or its head, whose errors hold for these tokens only.",
            TEXT,
            shown="spread; head with --compat, and in heat",
            choices=(SPREAD, HEAD),
        ),
    ] = None
    text_column: TextColumn = None
    pack: Pack = False


@dataclass(frozen=True, kw_only=True)
class SampleSettings(TextSettings):
    """How windows are taken from a text."""

    window: Annotated[int | None, Flag("Tokens per window.", TEXT, shown="up to 1024")] = None


@dataclass(frozen=True, kw_only=True)
class WindowSettings(SampleSettings):
    """How a model reads a text, window by window; a batch_size of None is found by trying."""

    batch_size: Annotated[
        int | None, Flag("Windows per batch (does not affect results).", metavar="INTEGER|auto", auto=True)
    ] = None
    seed: Seed = 0


@dataclass(frozen=True)
class Sampling:
    """How much of a text is wanted, and from where.

    Attributes:
        tokens: valid tokens at most.
        window: tokens of one window.
        sample: `spread` or `head`.
        seed: draws the places of a spread sample.
        bos: put a BOS in front of each window where the tokenizer uses one.
    """

    tokens: int
    window: int
    sample: str = SPREAD
    seed: int = 0
    bos: bool = True

    @property
    def windows(self) -> int:
        """Whole windows at most."""
        return self.tokens // self.window


@dataclass(frozen=True, kw_only=True)
class AgainSettings:
    """What becomes of cells that have a record."""

    again: Annotated[
        bool, Flag("Repeat measurements that have a record; a new record replaces the old one once complete.")
    ] = False


@dataclass(frozen=True, kw_only=True)
class RecordSettings(AgainSettings):
    """What becomes of cells that have a record, and of those that fail."""

    fail_fast: Annotated[bool, Flag("Stop at the first failure, with exit code 2.")] = False


@dataclass(frozen=True, kw_only=True)
class EvalSettings(RecordSettings, SampleSettings):
    """How lm-eval is run, and how a text is read whose perplexity is reported along with its scores."""

    dense: Annotated[bool, Flag("Also run without thresholds.", WHAT)] = True
    include_path: Annotated[
        Path | None,
        Flag("Folder of additional task files (YAML). Code that they reference is EXECUTED.", WHAT),
    ] = None
    tokens: Annotated[int, Flag("Number of tokens to read from the text.", TEXT)] = TOKENS
    num_fewshot: Annotated[int | None, Flag("Examples in the prompt.", TEXT, shown="as the task says")] = None
    limit: Annotated[int | None, Flag("At most N documents per task, for a trial.", WHAT, metavar="N")] = None
    batch_size: Annotated[str, Flag("Windows per batch.", metavar="INTEGER|auto")] = "auto"
    seed: Seed = 0


@dataclass(frozen=True, kw_only=True)
class HeatSettings(AgainSettings, TextSettings):
    """Which part of a text is shown."""

    line: Annotated[
        int,
        Flag(
            "First line of the text to show; for a set of documents, of the first or the drawn document.",
            TEXT,
        ),
    ] = 1
    tokens: Annotated[int, Flag("Show at most N tokens.", TEXT, metavar="N")] = 200
    seed: Annotated[int, Flag("With --sample spread: draws the document, or the line, that is shown.")] = 0


@dataclass(frozen=True, kw_only=True)
class MeasureSettings(RecordSettings, WindowSettings):
    """What `measure` takes in the same form on the command line and from Python.

    Several checkpoints of one series may be untrained without `allow_untrained`.
    """

    thresholds: Annotated[
        Path | None, Flag("Apply the thresholds of this record, which were found on another text.", WHAT)
    ] = None
    trained_tokens: Annotated[
        Path | None,
        Flag("CSV with the columns checkpoint and trained_tokens; overrides all other sources.", WHAT),
    ] = None
    tokens_per_step: Annotated[
        int | None,
        Flag("Tokens per training step, where names or trainer_state.json give only the steps.", WHAT),
    ] = None
    compat: Annotated[
        str | None, Flag("Run a released algorithm, reproduced here, instead (slow): sparsinglaw.", WHAT)
    ] = None
    text_shards: Annotated[
        int,
        Flag(
            "Split each text into N parts measured by separate workers; only with --thresholds or a knob that needs "
            "no calibration."
        ),
    ] = 1
    allow_untrained: Annotated[
        bool, Flag("Measure a model whose perplexity is above half its vocabulary, and flag it as untrained.")
    ] = False


@dataclass(frozen=True, kw_only=True)
class LaunchSettings:
    """How many processes work, and where."""

    launcher: Annotated[
        str, Flag("How work is distributed to processes: inline (this machine), ray or slurm.", WHERE)
    ] = "inline"
    jobs: Annotated[
        int,
        Flag(
            "Checkpoints measured at a time, sharing the cores; for slurm, jobs of the array.",
            WHERE,
            flags=("--jobs", "-j"),
        ),
    ] = 1
    address: Annotated[
        str | None,
        Flag("Ray: address of a running cluster, or auto.", WHERE, shown="a new one on this machine"),
    ] = None
    task_cpus: Annotated[int, Flag("Ray, slurm: cores per worker.", WHERE)] = 1
    task_gpus: Annotated[int, Flag("Ray, slurm: GPUs per worker; a model is spread over several.", WHERE)] = 0
    task_memory_gb: Annotated[
        float | None,
        Flag("Ray, slurm: memory per worker, in GB (1e9 bytes).", WHERE, flags=("--task-memory",)),
    ] = None
    retries: Annotated[int, Flag("Ray, slurm: retries per lost worker.", WHERE)] = 3


@dataclass(frozen=True, kw_only=True)
class WritingSettings:
    """What a model writes while its neurons are watched."""

    written_tokens: Annotated[
        int, Flag("Tokens that the model writes after each prompt; 0 for none.", TEXT)
    ] = 64
    prompts: Annotated[int, Flag("Number of prompts, which are beginnings of windows.", TEXT)] = 32


@dataclass(frozen=True, kw_only=True)
class GroupSettings:
    """How neurons are grouped, and what the groups are compared with."""

    clusters: Annotated[int, Flag("Experts of equal size in each layer.", WHAT)] = 16
    by: Annotated[
        str, Flag("Group neurons by how they fire, or by their input weights.", WHAT, choices=BASES)
    ] = BASES[0]
    routed: Annotated[
        int, Flag("Best clusters that a token is routed to, for the simulated cache.", WHAT)
    ] = 4
    cache_ratio: Annotated[float, Flag("Clusters that the cache holds, as a multiple of --routed.", WHAT)] = (
        2.0
    )
    draws: Annotated[
        int, Flag("Random partitions to compare with; the smallest p is 1/(1 + draws).", WHAT)
    ] = 199
    permutations: Annotated[
        int, Flag("Permutations of the texts' labels; the smallest p is 1/(1 + permutations).", WHAT)
    ] = 4999
    most_neurons: Annotated[
        int, Flag("Examine a seeded sample of this size in layers with more neurons.", WHAT)
    ] = 2048


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Which predictors are trained, and how often they may err."""

    ranks: Annotated[
        tuple[int, ...], Flag("Rank of the predictors. Repeatable.", WHAT, flags=("--rank",))
    ] = (4, 16, 64)
    budgets: Annotated[
        tuple[float, ...],
        Flag(
            "Neurons named per token, as a multiple of the mean number of active ones. Repeatable.",
            WHAT,
            flags=("--budget",),
        ),
    ] = (1.0, 1.5, 2.0)
    epochs: Annotated[int, Flag("Passes over the training half of the text.", HOW)] = 20


@dataclass(frozen=True, kw_only=True)
class CostSettings:
    """What reading costs."""

    bytes_per_weight: Annotated[float, Flag("Bytes per weight: 2 for bfloat16, 0.5 for 4 bits.", WHAT)] = 2.0
    bytes_per_kv: Annotated[float, Flag("Bytes per entry of the KV cache.", WHAT)] = 2.0
    context_tokens: Annotated[int, Flag("Tokens in the KV cache.", WHAT, flags=("--context",))] = 0
    predictor_cost: Annotated[
        float | None, Flag("Weights of an assumed perfect predictor, as a share of the FFN's.", WHAT)
    ] = None


@dataclass(frozen=True, kw_only=True)
class TimingSettings:
    """How often is timed, and at which planted activation ratios."""

    pairs: Annotated[int, Flag("Timed pairs of dense and sparse runs, in turn.")] = 21
    ratios: Annotated[
        tuple[float, ...], Flag("Planted activation ratio to time. Repeatable.", flags=("--ratio",))
    ] = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
    seed: Seed = 0
