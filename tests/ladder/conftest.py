"""A ladder small enough to train in seconds, on real Python sources."""

import email
import json
from dataclasses import replace
from pathlib import Path

import pytest

from sparsity_lab.ladder.config.ladder_config import parse_config
from sparsity_lab.ladder.corpus.data import prepare_data

CONTENT = {
    "name": "tiny",
    "seed": 3,
    "data": {"max_bytes": 400_000, "validation_share": 0.1},
    "tokenizer": {"vocabulary": 300, "train_bytes": 50_000},
    "model": {"hidden_size": 32, "layers": 2, "head_dim": 16, "intermediate_size": 48, "activation": "relu"},
    "training": {
        "tokens": 4_000,
        "batch_size": 4,
        "window": 32,
        "warmup_steps": 4,
        "checkpoints": 4,
        "first_checkpoint_tokens": 512,
        "log_every_steps": 5,
    },
}


@pytest.fixture(scope="session")
def text_files(tmp_path_factory):
    """The standard library's mail and JSON packages as text files, one document each."""
    folder = tmp_path_factory.mktemp("text")
    for package in (email, json):
        for source in Path(package.__file__).parent.glob("*.py"):
            (folder / f"{package.__name__}-{source.stem}.txt").write_text(source.read_text(encoding="utf-8"))
    return folder


@pytest.fixture(scope="session")
def content(text_files):
    """The config as YAML would give it."""
    return {**CONTENT, "data": {**CONTENT["data"], "files": [str(text_files / "*.txt")]}}


@pytest.fixture(scope="session")
def tiny(content):
    return parse_config(content)


@pytest.fixture(scope="session")
def tiny_data(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return prepare_data(tiny.data, tokenizer=tiny.tokenizer, output=folder, seed=tiny.seed)


@pytest.fixture
def with_training(tiny):
    """The one run of the tiny ladder with other training."""

    def change(**fields):
        run = tiny.runs[0]
        return replace(run, training=replace(run.training, **fields))

    return change
