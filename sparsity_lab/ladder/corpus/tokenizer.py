"""A byte-level BPE trained on the spot, so that small vocabularies fit small models.

Byte-level means that every text can be written: the 256 bytes are tokens, merges are learnt on top. The
one special token ends a document; there is no BOS, so windows hold nothing but text.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sparsity_lab import tokenization
from sparsity_lab.errors import SparsityLabError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from sparsity_lab.measure.model.tokenizers import TextTokenizer

logger = logging.getLogger(__name__)
END_OF_TEXT = "<|endoftext|>"
SMALLEST_VOCABULARY = 257  # the bytes and the end of text


def train_tokenizer(texts: Iterable[str], *, vocabulary: int, max_bytes: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE; the same texts give the same merges.

    Args:
        texts: documents; those after `max_bytes` are not looked at.
        vocabulary: token ids in all, the end of text and the 256 bytes among them.
        max_bytes: bytes of text to learn merges from.

    Raises:
        SparsityLabError: the vocabulary is too small to hold the bytes, or the text too short to fill it.
    """
    refuse_small_vocabulary(vocabulary)
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_first_bytes(texts, max_bytes), trainer=trainer)
    if tokenizer.get_vocab_size() != vocabulary:
        raise SparsityLabError(
            f"The text gives only {tokenizer.get_vocab_size():,} of {vocabulary:,} tokens",
            why="There are no more pairs to merge",
            fix="Give more text or a smaller vocabulary",
        )
    return _hf_tokenizer(tokenizer)


def refuse_small_vocabulary(vocabulary: int) -> None:
    """Refuse a vocabulary that cannot hold the bytes.

    Raises:
        SparsityLabError: it is too small.
    """
    if vocabulary < SMALLEST_VOCABULARY:
        raise SparsityLabError(
            f"A vocabulary of {vocabulary} tokens is too small",
            why=f"The 256 bytes and the end of text take {SMALLEST_VOCABULARY}",
            fix=f"Set `vocabulary` under tokenizer to {SMALLEST_VOCABULARY} or more",
        )


def load_tokenizer(name: str | Path) -> PreTrainedTokenizerFast:
    """A tokenizer from a directory or the Hub, giving the ids of its tokenizer.json.

    Raises:
        SparsityLabError: there is none, or it names no end of text.
    """
    return _loaded(name).hf


def given_tokenizer(
    name: str | Path, *, vocabulary: int, sample: str
) -> tuple[PreTrainedTokenizerFast, tuple[str, ...]]:
    """A tokenizer of the user's, ready to prepare data with, and what is to be said of it.

    Args:
        name: directory or Hub id.
        vocabulary: rows of the embedding.
        sample: some of the corpus, to see what the tokenizer makes of it.

    Raises:
        SparsityLabError: no tokenizer, an id beyond the vocabulary, or a corpus that it cannot write.
    """
    from sparsity_lab.measure.model.windows import tokenize

    reader = _loaded(name)
    refuse_ids_beyond(reader.hf, vocabulary, name=name)
    notes = list(tokenize(reader, sample, tokens=None, bos=False).notes)
    if any(tokenization.around(reader.hf)):
        notes.append(
            f"The tokenizer {name} puts special tokens around a text. Training windows are text and end-of-text tokens "
            "alone, so the prepared tokenizer does not"
        )
        logger.warning("%s", notes[-1])
    return _put_nothing_around(reader.hf), tuple(notes)


def for_training(name: str | Path) -> PreTrainedTokenizerFast:
    """A tokenizer of the user's as data are prepared with it: it puts nothing around a text.

    Raises:
        SparsityLabError: there is none, or it names no end of text.
    """
    return _put_nothing_around(load_tokenizer(name))


def refuse_ids_beyond(tokenizer: PreTrainedTokenizerFast, vocabulary: int, *, name: object) -> None:
    """Refuse a tokenizer with an id that an embedding of `vocabulary` rows does not have; ids may have gaps.

    Raises:
        SparsityLabError: says which.
    """
    largest = tokenization.largest_id(tokenizer)
    if largest >= vocabulary:
        raise SparsityLabError(
            f"The tokenizer {name} has {len(tokenizer):,} ids, the largest is {largest:,}",
            why=f"The vocabulary is set to {vocabulary:,}",
            fix=f"Set vocabulary: {largest + 1} or more under tokenizer",
        )


def _loaded(name: str | Path) -> TextTokenizer:
    from transformers import AutoTokenizer

    from sparsity_lab.measure.checkpoint import hub
    from sparsity_lab.measure.checkpoint.source import Source
    from sparsity_lab.measure.model.tokenizers import text_tokenizer, tokenizer_folder

    source = Source.of(str(name))
    try:
        tokenizer = AutoTokenizer.from_pretrained(**source.options(), trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise SparsityLabError(
            f"There is no tokenizer at {name}",
            why=hub.reason(error) or str(error).split("\n")[0],
            fix=hub.advice(error, source.model)
            or "Check `path` under tokenizer, or remove the prepared data that lost their own",
        ) from error
    if tokenizer.eos_token_id is None:
        raise SparsityLabError(
            f"The tokenizer {name} has no end-of-text token",
            why="Documents are joined by it",
            fix="Name it as eos_token in tokenizer_config.json, or take another tokenizer",
        )
    return text_tokenizer(
        tokenizer, name=str(name), folder=tokenizer_folder(source.model, revision=source.revision)
    )


def _put_nothing_around(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """The tokenizer itself; one that puts nothing around a text is left as it is."""
    from tokenizers.processors import TemplateProcessing

    if any(tokenization.around(tokenizer)):
        for flag in ("add_bos_token", "add_eos_token"):
            if getattr(tokenizer, flag, False):
                setattr(tokenizer, flag, False)
            tokenizer.init_kwargs[flag] = False
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single="$A", pair="$A $B", special_tokens=[]
        )
    return tokenizer


def _hf_tokenizer(tokenizer: object) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END_OF_TEXT, clean_up_tokenization_spaces=False
    )


def _first_bytes(texts: Iterable[str], max_bytes: int) -> Iterator[str]:
    seen = 0
    for text in texts:
        if seen >= max_bytes:
            return
        seen += len(text.encode())
        yield text
