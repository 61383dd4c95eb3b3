"""The commands that are killed, each small enough to run in a second or a few."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

from tests.faults.soak import Command

LADDER = {
    "name": "tiny",
    "seed": 3,
    "tokenizer": {"vocabulary": 300, "train_bytes": 50_000},
    "model": {
        "hidden_size": 32, "layers": 2, "head_dim": 16, "intermediate_size": 48, "activation": ["relu", "silu"],
    },
    "training": {
        "tokens": 2_000, "batch_size": 4, "window": 32, "warmup_steps": 4, "checkpoints": 4,
        "first_checkpoint_tokens": 512, "log_every_steps": 5,
    },
}  # fmt: skip
# What only going on from a checkpoint needs; the newest one has it until its run is finished.
RESUMING = ("optimizer.pt", "scheduler.pt", "rng_state.pth")


def measure(checkpoints: Path, text: Path) -> Command:
    """Four checkpoints, by both rules."""
    words = (
        "--quiet", "measure", checkpoints, "--text", text, "--tokens", 512, "--window", 64,
        "--ppl-increase", "5%", "--stabilise", "last:2", "--per-checkpoint",
    )  # fmt: skip
    return Command("measure", words, costly="records/*.json")


def train(texts: list[Path], folder: Path) -> Command:
    """Two runs of four checkpoints."""
    data = {"max_bytes": 400_000, "validation_share": 0.1, "files": [str(text) for text in texts]}
    config = folder / "ladder.yaml"
    config.write_text(json.dumps({**LADDER, "data": data}), encoding="utf-8")  # JSON is YAML
    return Command(
        "train",
        ("--quiet", "train", config),
        costly="runs/*/step-*/model.safetensors",
        in_the_making=_training,
    )


def _training(name: PurePosixPath, output: Path) -> bool:
    """Data without a manifest; checkpoints without their name; the log of a run that goes on."""
    if name.parts[0] == "data":
        return not (output / "data" / "manifest.json").exists()
    if name.name == "loss.csv":
        return not (output / "checkpoints.csv").exists()
    named_so = any(part.startswith(("checkpoint-", "resume-")) for part in name.parts)
    return named_so or name.name in RESUMING


def fit(table: Path) -> Command:
    """One short series, with its plots and its lock."""
    words = ("--quiet", "fit", table, "--bootstrap", 3, "--jobs", 1, "--rivals", "power", "--lock", "A test")
    return Command("fit", words, in_the_making=_fitting)


def _fitting(name: PurePosixPath, output: Path) -> bool:
    """Series that are kept until all is done, and the page until it names the figures."""
    return name.parts[0] == "parts" or (name.name == "fits.md" and (output / "parts").exists())


def report(folder: Path) -> Command:
    """One page of everything below a folder."""
    return Command("report", ("--quiet", "report", folder))
