"""A checkpoint's tokenizer: tokenizer.json decides how text becomes ids, whatever class the checkpoint names.

Some classes of transformers build a tokenizer of their own from the vocabulary of tokenizer.json and leave out its
normalizer and pre-tokenizer; which classes do depends on the version installed. What a class and tokenizer_config.json
say about the tokens around a text (BOS) is kept.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsity_lab import tokenization
from sparsity_lab.errors import SparsityLabError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer of transformers, and what its files disagree about.

    Attributes:
        name: of the checkpoint, for what is said.
        hf: the tokenizer of transformers, giving the ids of tokenizer.json.
        alone: tokenizer.json read by the `tokenizers` library, or None if there is no such file.
        as_built: what transformers loaded, where that is not tokenizer.json.
        switched_off: truncation, padding and the like that the files ask for.
        adds_bos: `add_bos_token` of tokenizer_config.json, or None where it says nothing.
        origin: what is to be said where it is not the checkpoint's own, else empty.
    """

    name: str
    hf: Any
    alone: Any = None
    as_built: Any = None
    switched_off: tuple[str, ...] = ()
    adds_bos: bool | None = None
    origin: str = ""

    @property
    def encoder(self) -> Any:
        """What turns text into ids."""
        return self.hf if self.alone is None else self.alone


def text_tokenizer(hf: Any, *, name: str, folder: Path | None = None) -> TextTokenizer:
    """A loaded tokenizer of transformers put right by the tokenizer.json of its folder.

    Args:
        hf: as transformers loaded it; its truncation and padding are switched off in place.
        name: of the checkpoint.
        folder: where tokenizer.json is, or None where there is none.

    Raises:
        SparsityLabError: tokenizer.json cannot be read.
    """
    alone = None if folder is None else tokenization.read_tokenizer(folder)
    backend = tokenization.backend_of(hf)
    switched_off = tuple(tokenization.disturbances(alone if alone is not None else hf))
    adds_bos = None if folder is None else tokenization.tokenizer_config(folder).get("add_bos_token")
    alone = None if alone is None else tokenization.plain(alone)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()
    if alone is None or (backend is not None and _steps(backend) == _steps(alone)):
        return TextTokenizer(name, hf, alone, None, switched_off, adds_bos)
    return TextTokenizer(name, _rebuilt(hf, alone), alone, hf, switched_off, adds_bos)


def _rebuilt(hf: Any, alone: Any) -> Any:
    """A tokenizer of transformers around tokenizer.json, with the special tokens' names and template of another."""
    from transformers import PreTrainedTokenizerFast

    whole, backend = copy.deepcopy(alone), tokenization.backend_of(hf)
    if backend is not None and _around_alike(backend, alone):
        whole.post_processor = backend.post_processor
    added = {token.content for token in alone.get_added_tokens_decoder().values()}
    names = {
        key: text
        for key, text in hf.special_tokens_map.items()
        if isinstance(text, str)
        and (text in added or (key in ("bos_token", "eos_token") and alone.token_to_id(text) is not None))
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=whole, name_or_path=hf.name_or_path, model_max_length=hf.model_max_length,
        split_special_tokens=alone.encode_special_tokens, chat_template=getattr(hf, "chat_template", None),
        clean_up_tokenization_spaces=False, **names,
    )  # fmt: skip


def _around_alike(built: Any, alone: Any) -> bool:
    """Whether what a tokenizer puts around a text has the ids in tokenizer.json that it has in its own vocabulary."""
    try:
        before, after = tokenization.around(built)
    except SparsityLabError:
        return False
    return all(built.id_to_token(token) == alone.id_to_token(token) for token in (*before, *after))


def tokenizer_folder(model: str, *, revision: str | None = None) -> Path | None:
    """The folder of a model's tokenizer.json: its directory, or where this machine keeps the Hub id's files."""
    if Path(model).is_dir():
        return Path(model)
    from transformers.utils import cached_file

    path = cached_file(
        model, "tokenizer.json", revision=revision,
        _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False,
    )  # fmt: skip
    return None if path is None else Path(path).parent


def as_text_tokenizer(tokenizer: Any) -> TextTokenizer:
    """A live tokenizer as a `TextTokenizer`; one that is one stays."""
    if isinstance(tokenizer, TextTokenizer):
        return tokenizer
    name = str(getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__)
    return TextTokenizer(name, tokenizer, switched_off=tuple(tokenization.disturbances(tokenizer)))


def bos_of(tokenizer: Any) -> tuple[int | None, list[str]]:
    """The one token to put before a text, None where the tokenizer puts none there; and what is to be said of it.

    Raises:
        SparsityLabError: it puts several different tokens there.
    """
    reader = as_text_tokenizer(tokenizer)
    before, _ = tokenization.around(reader.hf)
    if len(set(before)) > 1:
        raise SparsityLabError(
            f"The tokenizer of {reader.name} puts {len(before)} tokens in front of a text: {_named(reader, before)}",
            why="A window takes one BOS",
            fix="Name one BOS in the post_processor of tokenizer.json, or use --no-bos where the command has it",
        )
    notes = []
    if len(before) > 1:
        notes.append(
            f"The tokenizer of {reader.name} puts {_named(reader, before[:1])} {len(before)} times in front of a text; "
            "it is used once"
        )
    in_file = None if reader.alone is None else tokenization.around(reader.alone)[0]
    if in_file is not None and set(in_file) != set(before):
        notes.append(
            f"tokenizer.json of {reader.name} puts {_named(reader, in_file) or 'nothing'} in front of a text, its "
            f"tokenizer_config.json or class {_named(reader, before) or 'nothing'}: the latter is used"
        )
    if reader.adds_bos is not None and bool(reader.adds_bos) != bool(before):
        notes.append(
            f"tokenizer_config.json of {reader.name} says add_bos_token: {str(reader.adds_bos).lower()}, the tokenizer "
            f"puts {_named(reader, before) or 'nothing'} in front of a text: what it does is used"
        )
    return (before[0] if before else None), notes


def refuse_ids_beyond(vocabulary: int | None, *, largest: int, source: object) -> None:
    """Refuse a token id that a model of so many embeddings does not have; None knows no limit.

    Raises:
        SparsityLabError: the id is beyond the vocabulary.
    """
    if vocabulary is not None and largest >= vocabulary:
        raise SparsityLabError(
            f"The tokenizer of {source} gives token {largest}, the model knows {vocabulary}",
            fix="Put the model's own tokenizer next to its weights, or name it with --tokenizer",
        )


def refuse_foreign(reader: TextTokenizer, vocabulary: int | None) -> None:
    """Refuse a tokenizer that is not the checkpoint's own and has ordinary tokens beyond the model's embeddings.

    Raises:
        SparsityLabError: it has.
    """
    special = getattr(reader.hf, "added_tokens_decoder", {})
    ordinary = (number for number in reader.hf.get_vocab().values() if number not in special)
    largest = max(ordinary, default=-1)
    if vocabulary is not None and largest >= vocabulary:
        raise SparsityLabError(
            f"The tokenizer for {reader.name} goes up to token {largest}, the model knows {vocabulary}",
            why=reader.origin,
            fix="Name the tokenizer that the model was trained with, with --tokenizer",
        )


def _named(reader: TextTokenizer, ids: list[int]) -> str:
    return " ".join(str(reader.hf.convert_ids_to_tokens(token)) for token in ids)


def _steps(backend: Any) -> tuple[object, ...]:
    """All of a tokenizer that decides ids."""
    parts = (backend.normalizer, backend.pre_tokenizer, backend.model)
    added = {number: repr(token) for number, token in backend.get_added_tokens_decoder().items()}
    return (
        *(None if part is None else part.__getstate__() for part in parts),
        added,
        backend.encode_special_tokens,
    )
