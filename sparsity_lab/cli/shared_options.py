"""Options that several commands share, each declared once; a command's own class inherits them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparsity_lab.cli.console.config import read_defaults
from sparsity_lab.cli.console.options import fill
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.settings import (
    OUTPUT,
    TEXT,
    TOKENS,
    WHAT,
    WHERE,
    Flag,
    LaunchSettings,
    RecordSettings,
    WindowSettings,
)
from sparsity_lab.store.bundled import TEXT as TEXT_OF_NONE

if TYPE_CHECKING:
    from sparsity_lab.measure.neurons.spec import NeuronSpec
    from sparsity_lab.measure.sources.named import NamedText
    from sparsity_lab.measure.spec import Checkpoint
    from sparsity_lab.measure.work.launchers import Options
    from sparsity_lab.reading.texts.dataset_name import TextPlace

FOLDER_HELP = "Folder for the results; created if missing."


def stay_offline(wanted: bool) -> bool:
    """Tell Hugging Face's libraries, which are imported later, to stay on this machine."""
    if wanted:
        os.environ.update({"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"})
    return wanted


Output = Annotated[Path, Flag(FOLDER_HELP, OUTPUT, flags=("--output", "-o"))]
OutputOfName = Annotated[Path | None, Flag(FOLDER_HELP, OUTPUT, flags=("--output", "-o"), shown="runs/NAME")]
Log = Annotated[
    tuple[str, ...],
    Flag(
        "Also log to tensorboard or wandb; a failing logger never fails the run. Repeatable.",
        OUTPUT,
        metavar="LOGGER",
    ),
]
Thresholds = Annotated[
    tuple[Path, ...],
    Flag(
        "A record of `measure` for all models, one for each in their order, or the folder that `measure` wrote.",
        WHAT,
    ),
]
DryRun = Annotated[bool, Flag("Print what would be done, and write nothing.", OUTPUT)]
Config = Annotated[
    Path | None,
    typer.Option(
        is_eager=True,
        callback=read_defaults,
        rich_help_panel=OUTPUT,
        help="YAML file of options; flags override it.",
    ),
]


TEXT_HELP = "a UTF-8 file, JSON lines, a parquet file, or a folder of one kind of these."
BUNDLED = f"the bundled novel {TEXT_OF_NONE}"
DATASET_HELP = (
    "a dataset of the datasets library: a Hub id, a folder, or a short name: wikitext, c4, fineweb-edu, pile."
)
DATASET_FORM = "NAME[@REVISION][:CONFIG[:SPLIT]]"


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """The one text of a command; with the settings of `TextSettings`, all words about texts."""

    text: Annotated[
        Path | None, Flag(f"The text: {TEXT_HELP}", TEXT, shown=f"{BUNDLED}, in measure alone")
    ] = None
    dataset: Annotated[
        str | None, Flag(f"In place of --text, {DATASET_HELP}", TEXT, metavar=DATASET_FORM)
    ] = None

    def place(self) -> TextPlace:
        """The text.

        Raises:
            SparsityLabError: as `the_text`.
        """
        from sparsity_lab.measure.sources.named import the_text

        return the_text(self.text, self.dataset)

    def place_or_bundled(self) -> TextPlace:
        """The text, or the bundled one where none was given.

        Raises:
            SparsityLabError: as `the_text`, except where there is no text.
        """
        from sparsity_lab.measure.sources.named import bundled_text

        return bundled_text() if self.text is None and self.dataset is None else self.place()


@dataclass(frozen=True, kw_only=True)
class TextsOptions:
    """The texts of a command that takes several."""

    texts: Annotated[
        tuple[str, ...],
        Flag(
            f"A text: {TEXT_HELP} Each is a domain. Repeatable.",
            TEXT,
            flags=("--text",),
            shown=f"{BUNDLED}; in affinity the texts of the records",
            metavar="[NAME=]FILE",
        ),
    ] = ()
    datasets: Annotated[
        tuple[str, ...],
        Flag(
            f"As --text, {DATASET_HELP} Repeatable.",
            TEXT,
            flags=("--dataset",),
            metavar=f"[NAME=]{DATASET_FORM}",
        ),
    ] = ()

    def named(self) -> tuple[NamedText, ...]:
        """The texts, or the bundled one where none was given.

        Raises:
            SparsityLabError: as `texts_of`.
        """
        from sparsity_lab.measure.sources.named import NamedText, bundled_text, texts_of

        return texts_of(self.texts, self.datasets) or (NamedText(TEXT_OF_NONE, bundled_text()),)


@dataclass(frozen=True, kw_only=True)
class OfflineOptions:
    """Options of the commands that may look at the Hub."""

    offline: Annotated[
        bool,
        typer.Option(
            "--offline", callback=stay_offline, rich_help_panel=WHERE, help="Never touch the network."
        ),
    ] = False
    config: Config = None


@dataclass(frozen=True, kw_only=True)
class HubOptions(OfflineOptions):
    """Options of the commands that load models and read texts."""

    tokenizer: Annotated[
        str | None,
        Flag(
            "Folder or Hub id of the tokenizer that reads the text.",
            TEXT,
            shown="the checkpoint's, else its parent folder's",
        ),
    ] = None
    revisions: Annotated[
        str | None,
        Flag("Revisions of a Hub id, separated by commas.", WHAT, flags=("--revisions", "--revision")),
    ] = None

    def expanded(self, models: Sequence[str], *, gathered: bool = False) -> list[Checkpoint]:
        """The checkpoints of some models and of the revisions named; `gathered` as in `expand`.

        Raises:
            SparsityLabError: as `expand`, or an empty name among the revisions.
        """
        from sparsity_lab.measure.spec import expand

        names = [] if self.revisions is None else [name.strip() for name in self.revisions.split(",")]
        if not all(names):
            raise SparsityLabError(
                f"--revisions {self.revisions!r} holds an empty name",
                fix="Write names with commas between: step1000,step2000",
            )
        return expand(models, revisions=names, gathered=gathered, tokenizer=self.tokenizer)


Models = Annotated[
    list[str],
    typer.Argument(
        help="Checkpoint directories, directories of checkpoints, globs, GGUF files, Hub ids or ID@REVISION."
    ),
]


@dataclass(frozen=True, kw_only=True)
class ModelOptions(HubOptions):
    """Options of the commands that load one model or several."""

    model: Models

    def checkpoints(self) -> list[Checkpoint]:
        """The checkpoints named; raises as `expanded`."""
        return self.expanded(self.model)


@dataclass(frozen=True, kw_only=True)
class CheckpointOptions(HubOptions):
    """Options of the commands that go through many checkpoints."""

    models: Models
    limit: Annotated[int | None, Flag("At most N checkpoints.", WHAT, metavar="N")] = None
    dry_run: DryRun = False

    def checkpoints(self, *, gathered: bool = False) -> list[Checkpoint]:
        """The checkpoints named, `--limit` of them; `gathered` as in `expand`, raises as `expanded`."""
        return self.expanded(self.models, gathered=gathered)[: self.limit]


@dataclass(frozen=True, kw_only=True)
class LaunchOptions(LaunchSettings):
    """Options of the commands whose cells may be measured by several processes."""

    slurm: Annotated[
        tuple[str, ...],
        Flag("Parameters of the jobs, such as partition=gpu. Repeatable.", WHERE, metavar="KEY=VALUE"),
    ] = ()

    def crew(self) -> Options:
        """What the launcher is asked for.

        Raises:
            SparsityLabError: a parameter that is no pair, no such launcher, or an option that it does not take.
        """
        from sparsity_lab.measure.work.launchers import Options, check_options

        for word in self.slurm:
            if "=" not in word.strip("="):
                raise SparsityLabError(
                    f"--slurm {word} is not understood", fix="Write KEY=VALUE: partition=gpu"
                )
        options = fill(Options, self, slurm=dict(word.split("=", 1) for word in self.slurm))
        check_options(options)
        return options


@dataclass(frozen=True, kw_only=True)
class WatchOptions(RecordSettings, LaunchOptions, CheckpointOptions, TextsOptions, WindowSettings):
    """Options of the commands that watch neurons under the thresholds of records."""

    thresholds: Thresholds
    tokens: Annotated[int, Flag("Tokens to read of each text.", TEXT)] = TOKENS
    log: Log = ()

    def watch(self, **others: Any) -> NeuronSpec:
        """Texts, and how models read them."""
        from sparsity_lab.measure.neurons.spec import NeuronSpec

        return fill(NeuronSpec, self, texts=self.named(), **others)


@dataclass(frozen=True, kw_only=True)
class LadderOptions:
    """Options of the commands that train a ladder."""

    config: Annotated[str, typer.Argument(help="YAML file, or the name of a bundled config: demo, laptop.")]
    seed: Annotated[int | None, Flag("Seed of all random choices.", shown="the config's")] = None
    jobs: Annotated[
        int, Flag("Runs trained, or checkpoints measured, at a time.", WHERE, flags=("--jobs", "-j"))
    ] = LaunchSettings.jobs
    log: Log = ()
    output: OutputOfName = None
    dry_run: DryRun = False
