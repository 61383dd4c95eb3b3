"""From a corpus to what runs read: a tokenizer, two token files, and the held-out text.

    data/tokenizer/        as transformers saves it
    data/train.bin         token ids, see `tokens.py`
    data/validation.bin
    data/validation.txt    the held-out text, for `sparsity-lab measure --text`
    data/manifest.json     specification, sizes, hashes, licence note; written last

A folder with a manifest is whole and is used again; the manifest is the last file written.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsity_lab import records
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder import ranks
from sparsity_lab.ladder.corpus import Corpus, held_out
from sparsity_lab.ladder.sources import open_corpus
from sparsity_lab.ladder.spec import DataSpec, TokenizerSpec
from sparsity_lab.ladder.tokenizer import given_tokenizer, train_tokenizer
from sparsity_lab.ladder.tokens import TokenWriter
from sparsity_lab.progress import SILENT, Progress

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

logger = logging.getLogger(__name__)

_LARGEST_VALIDATION_TEXT_BYTES = 20_000_000  # measuring never needs more
_SAMPLE_BYTES = 200_000  # of the corpus, to see what a given tokenizer makes of it


@dataclass(frozen=True)
class PreparedData:
    """The files of a prepared corpus."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def tokenizer(self) -> Path:
        """Directory `AutoTokenizer` loads."""
        return self.folder / "tokenizer"

    @property
    def train(self) -> Path:
        """Token file of the training part."""
        return self.folder / "train.bin"

    @property
    def validation(self) -> Path:
        """Token file of the held-out part."""
        return self.folder / "validation.bin"

    @property
    def validation_text(self) -> Path:
        """The held-out part as text."""
        return self.folder / "validation.txt"

    @property
    def train_tokens(self) -> int:
        """Tokens of the training part."""
        return int(self.manifest["train"]["tokens"])

    @property
    def train_sha256(self) -> str:
        """Hash of the training token file."""
        return str(self.manifest["train"]["sha256"])


def prepare_data(
    data: DataSpec,
    *,
    tokenizer: TokenizerSpec,
    output: Path,
    seed: int = 0,
    progress: Progress = SILENT,
) -> PreparedData:
    """Gather, split and tokenize a corpus into `output`, or take up what is there already.

    Raises:
        SparsityLabError: the folder holds data of another specification, or the corpus is too small.
    """
    if (found := existing_data(data, tokenizer=tokenizer, output=output, seed=seed)) is not None:
        return found
    if not ranks.is_main():
        ranks.wait_for(output / "manifest.json")
        return prepare_data(data, tokenizer=tokenizer, output=output, seed=seed)
    records.prepare_output(output)
    corpus = open_corpus(data)
    made, notes = make_tokenizer(corpus, data, tokenizer, seed=seed)
    made.save_pretrained(output / "tokenizer")
    sizes = _tokenize(corpus, data, made, output=output, seed=seed, progress=progress)
    manifest = {
        **_wanted(data, tokenizer, seed),
        "source": corpus.source,
        "license_note": corpus.license_note,
        "tokenizer_notes": list(notes),
        **sizes,
    }
    records.write_json(output / "manifest.json", manifest)
    _say(manifest)
    return PreparedData(output, manifest)


def make_tokenizer(
    corpus: Corpus, data: DataSpec, spec: TokenizerSpec, *, seed: int
) -> tuple[PreTrainedTokenizerFast, tuple[str, ...]]:
    """The given tokenizer, or one trained on the training part; and what is to be said of a given one.

    Raises:
        SparsityLabError: the given one has ids beyond the vocabulary or cannot write the text, or that is too short.
    """
    if spec.path is None:
        texts = corpus.documents(max_bytes=data.max_bytes)
        kept = (text for text in texts if not held_out(text, share=data.validation_share, seed=seed))
        return train_tokenizer(kept, vocabulary=spec.vocabulary, max_bytes=spec.train_bytes), ()
    sample = "\n".join(corpus.documents(max_bytes=_SAMPLE_BYTES))
    return given_tokenizer(spec.path, vocabulary=spec.vocabulary, sample=sample)


def _tokenize(
    corpus: Corpus,
    data: DataSpec,
    tokenizer: PreTrainedTokenizerFast,
    *,
    output: Path,
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """Write both parts in one walk over the corpus."""
    held: list[str] = []
    with (
        TokenWriter(output / "train.bin", tokenizer=tokenizer) as train,
        TokenWriter(output / "validation.bin", tokenizer=tokenizer) as validation,
        progress.track("tokenize", data.max_bytes) as advance,
    ):
        for text in corpus.documents(max_bytes=data.max_bytes):
            out = held_out(text, share=data.validation_share, seed=seed)
            (validation if out else train).add(text)
            if out and validation.text_bytes <= _LARGEST_VALIDATION_TEXT_BYTES:
                held.append(text)
            advance(len(text.encode()))
        _refuse_empty(train, validation, data)  # inside, so that nothing is left of either
    records.write_text(output / "validation.txt", "\n".join(held))
    return {"eos_token_id": tokenizer.eos_token_id, "train": train.about(), "validation": validation.about()}


def _refuse_empty(train: TokenWriter, validation: TokenWriter, data: DataSpec) -> None:
    if not train.documents or not validation.documents:
        part = "validation" if train.documents else "training"
        raise SparsityLabError(
            f"The corpus leaves no {part} text",
            why=f"It has {train.documents + validation.documents} documents; validation_share is "
            f"{data.validation_share:g}",
            fix="Give more text, or another validation_share",
        )


def _say(manifest: dict[str, Any]) -> None:
    train, held = manifest["train"]["tokens"], manifest["validation"]["tokens"]
    logger.info(
        "corpus: %s, %s training and %s validation tokens", manifest["source"], f"{train:,}", f"{held:,}"
    )
    logger.info("licence: %s", manifest["license_note"])
    inside = sum(manifest[part]["end_of_text_inside_documents"] for part in ("train", "validation"))
    if inside:
        logger.warning(
            "The documents hold the end-of-text token themselves %s times: each ends a document there",
            f"{inside:,}",
        )


def existing_data(
    data: DataSpec, *, tokenizer: TokenizerSpec, output: Path, seed: int = 0
) -> PreparedData | None:
    """Data prepared before, or None where there are none.

    Raises:
        SparsityLabError: the folder holds data of another specification.
    """
    wanted, folder = _wanted(data, tokenizer, seed), output
    path = folder / "manifest.json"
    if not path.exists():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SparsityLabError(f"Cannot read {path}", why=str(error), fix=f"Remove {folder}") from error
    if {key: manifest.get(key) for key in wanted} != json.loads(json.dumps(wanted)):
        raise SparsityLabError(
            f"{folder} holds the data of another configuration",
            why="Its seed, corpus or tokenizer differs from what is asked",
            fix="Name another directory with --output, or remove this one",
        )
    return PreparedData(folder, manifest)


def _wanted(data: DataSpec, tokenizer: TokenizerSpec, seed: int) -> dict[str, Any]:
    return {"data": asdict(data), "tokenizer": asdict(tokenizer), "seed": seed}
