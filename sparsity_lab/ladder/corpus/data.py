"""From a corpus to what runs read: a tokenizer, two token files, and the held-out text.

    data/tokenizer/        as transformers saves it
    data/train.bin         token ids, see `tokens.py`
    data/validation.bin
    data/validation.txt    the held-out text, for `sparsity-lab measure --text`
    data/manifest.json     settings, sizes and hashes of the text read and of these files, license note; written last

A folder with a manifest is whole and is used again; the manifest is the last file written.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.ladder.config.spec import DataSpec, TokenizerSpec
from sparsity_lab.ladder.corpus import identity
from sparsity_lab.ladder.corpus.corpus import Corpus, held_out
from sparsity_lab.ladder.corpus.prepared import PreparedData, existing_data
from sparsity_lab.ladder.corpus.sources import open_corpus
from sparsity_lab.ladder.corpus.tokenizer import given_tokenizer, train_tokenizer
from sparsity_lab.ladder.corpus.tokens import TokenWriter
from sparsity_lab.ladder.train import ranks
from sparsity_lab.progress import SILENT, Progress
from sparsity_lab.store import records

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

logger = logging.getLogger(__name__)

_LARGEST_VALIDATION_TEXT_BYTES = 20_000_000  # measuring never needs more
_SAMPLE_BYTES = 200_000  # of the corpus, to see what a given tokenizer makes of it


def prepare_data(
    data: DataSpec,
    *,
    tokenizer: TokenizerSpec,
    output: Path,
    seed: int = 0,
    replace: bool = False,
    progress: Progress = SILENT,
) -> PreparedData:
    """Gather, split and tokenize a corpus into `output`, or take up what is there already.

    Args:
        data: the text. tokenizer: given, or trained on it.
        output: the folder.
        seed: of the split.
        replace: prepare again what other settings made there; the caller knows that nothing was trained on it.
        progress: receives the bytes read.

    Raises:
        SparsityLabError: the folder holds other data (`existing_data`), or the corpus is too small.
    """
    while True:
        existing = existing_data(data, tokenizer=tokenizer, output=output, seed=seed, replace=replace)
        if existing is not None:
            return existing
        if ranks.is_main():
            break
        ranks.wait_for(output / "manifest.json")
    records.prepare_output(output)
    (output / "manifest.json").unlink(missing_ok=True)  # until the new files are whole
    corpus = open_corpus(data)
    text = corpus.fingerprint()
    trained, notes = make_tokenizer(corpus, data, tokenizer, seed=seed)
    trained.save_pretrained(output / "tokenizer")
    sizes = _tokenize(corpus, data, trained, output=output, seed=seed, progress=progress)
    manifest = {
        "data": asdict(data),
        "tokenizer": asdict(tokenizer),
        "settings": identity.settings_of(data, tokenizer, seed=seed),
        "text": text,
        "source": corpus.source,
        "license_note": corpus.license_note,
        "tokenizer_notes": list(notes),
        **sizes,
        "prepared": identity.described(_files_of(output), root=output),
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


def _files_of(output: Path) -> list[Path]:
    """The files of prepared data, the manifest apart."""
    parts = [output / f"{part}.{kind}" for part in ("train", "validation") for kind in ("bin", "json")]
    return [*sorted((output / "tokenizer").iterdir()), *parts, output / "validation.txt"]


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
    logger.info("license: %s", manifest["license_note"])
    inside = sum(manifest[part]["end_of_text_inside_documents"] for part in ("train", "validation"))
    if inside:
        logger.warning(
            "The documents hold the end-of-text token themselves %s times: each ends a document there",
            f"{inside:,}",
        )
