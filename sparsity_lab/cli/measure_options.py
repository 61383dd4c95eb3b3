"""The options of `sparsity-lab measure`."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from sparsity_lab.cli.console.config import Config as Config

ALL = "all"


def stay_offline(wanted: bool) -> bool:
    """Tell Hugging Face's libraries, which are imported later, to stay on this machine."""
    if wanted:
        os.environ.update({"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"})
    return wanted


class Dtype(str, Enum):
    """Dtypes of a forward pass."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


Models = Annotated[
    list[str],
    typer.Argument(
        help="Checkpoint directories, directories of checkpoints, globs, GGUF files, Hub ids or ID@REVISION."
    ),
]
Tokenizer = Annotated[
    str | None,
    typer.Option(
        "--tokenizer",
        help="Folder or Hub id of the tokenizer to read texts with.",
        show_default="the checkpoint's, else its parent folder's",
    ),
]
Text = Annotated[Path, typer.Option("--text", help="Validation text, UTF-8.")]
Criterion = Annotated[
    str | None,
    typer.Option(help="Which neurons are weak: see `ls criteria`; or all.", show_default="cett"),
]
KnobValue = Annotated[
    list[float] | None,
    typer.Option("--knob", help="Fix the criterion's number, e.g. the CETT. May be repeated."),
]
Increase = Annotated[
    list[str] | None,
    typer.Option("--ppl-increase", help="p of PPL-p%: 1% or 0.01. May be repeated.", show_default="1%"),
]
TargetRatio = Annotated[
    list[str] | None,
    typer.Option("--activation-ratio", help="Keep this share of neurons: 30% or 0.3. May be repeated."),
]
Thresholds = Annotated[
    Path | None,
    typer.Option("--thresholds", help="Apply the thresholds of this record, found on another text."),
]
Transfer = Annotated[
    list[str] | None,
    typer.Option(
        "--transfer",
        metavar="[NAME=]FILE",
        help="A further text; each text calibrates and its thresholds are applied to all. May be repeated.",
    ),
]
Stabilise = Annotated[
    str | None, typer.Option(help="last:5 finds one knob on the last five checkpoints of each series.")
]
PerCheckpoint = Annotated[
    bool, typer.Option("--per-checkpoint", help="With --stabilise, also measure each at its own knob.")
]
Revisions = Annotated[str | None, typer.Option(help="Revisions of a Hub id, with commas.")]
TokensPerStep = Annotated[
    int | None,
    typer.Option(min=1, help="Tokens of a training step, where names or trainer_state.json say the steps."),
]
TrainedTokens = Annotated[
    Path | None, typer.Option(help="CSV with columns checkpoint, trained_tokens; it wins over all else.")
]
Tokens = Annotated[
    str,
    typer.Option(
        help="Tokens of text to measure on; auto:10% takes more until the loss rise's error is 10 % of it."
    ),
]
Window = Annotated[int | None, typer.Option(min=1, help="Tokens of a window.", show_default="up to 1024")]
Bos = Annotated[bool, typer.Option("--bos/--no-bos", help="A BOS in front of windows, where one is used.")]
Device = Annotated[str, typer.Option(help="A torch device, or auto.")]
DtypeOption = Annotated[Dtype, typer.Option(help="Of the weights and the forward pass.")]
BatchSize = Annotated[str, typer.Option(help="Windows at once, or auto; speed only.")]
TextShards = Annotated[
    int,
    typer.Option(
        "--text-shards",
        min=1,
        help="Measure each text in so many parts, one a worker; at --thresholds or a knob that needs no calibration.",
    ),
]
Sweep = Annotated[
    bool, typer.Option("--sweep", help="With --criterion all: perplexity along each one's range.")
]
ArchitectureFile = Annotated[
    Path | None,
    typer.Option(help="A Python file of your own that says where the model's FFN parts are. It is EXECUTED."),
]
Compat = Annotated[
    str | None, typer.Option(help="Run a released algorithm reproduced here, slowly, instead: sparsinglaw.")
]
Launcher = Annotated[
    str, typer.Option(help="Who hands checkpoints to processes: inline (this machine), ray or slurm.")
]
Jobs = Annotated[
    int,
    typer.Option(
        "--jobs", "-j", min=1, help="Checkpoints at a time, the cores shared; slurm: jobs of the array."
    ),
]
Address = Annotated[
    str | None, typer.Option(help="ray: a running cluster, or auto.", show_default="one on this machine")
]
TaskCpus = Annotated[int, typer.Option("--task-cpus", min=1, help="ray, slurm: cores of a worker.")]
TaskGpus = Annotated[int, typer.Option("--task-gpus", min=0, help="ray, slurm: GPUs of a worker.")]
TaskMemory = Annotated[
    float | None, typer.Option("--task-memory", help="ray, slurm: memory of a worker, GB.")
]
Retries = Annotated[
    int, typer.Option(min=0, help="ray, slurm: how often work is begun again whose worker died.")
]
Slurm = Annotated[
    list[str] | None,
    typer.Option(
        "--slurm", metavar="KEY=VALUE", help="Parameters of the jobs, such as partition=gpu. Repeatable."
    ),
]
Log = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        metavar="LOGGER",
        help="Also show points in tensorboard or wandb; it cannot fail a run. Repeatable.",
    ),
]
AllowUntrained = Annotated[
    bool,
    typer.Option(
        "--allow-untrained",
        help="Measure a model whose perplexity is above half its vocabulary, and flag it untrained.",
    ),
]
FailFast = Annotated[
    bool, typer.Option("--fail-fast", help="Stop at the first checkpoint that fails, with exit code 2.")
]
Again = Annotated[
    bool,
    typer.Option(
        "--again", help="Measure anew what has a record; the new record replaces it when it is complete."
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first so many checkpoints.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the bootstrap and the pilot.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Where to write.")]
Offline = Annotated[bool, typer.Option("--offline", callback=stay_offline, help="Never touch the network.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")]
