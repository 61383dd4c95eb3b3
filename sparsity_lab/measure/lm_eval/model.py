"""A live model for lm-eval: one BOS in front of a text at most, and a note of what tokenizing loses."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from sparsity_lab import tokenization
from sparsity_lab.errors import SparsityLabError
from sparsity_lab.labels import counted
from sparsity_lab.measure.model.tokenizers import TextTokenizer, as_text_tokenizer, bos_of, refuse_ids_beyond
from sparsity_lab.measure.model.windows import tokenize

CHECKED_LETTERS = 50_000  # of the requests' texts


def lm_eval_model(model: Any, tokenizer: Any, *, batch_size: int | str, notes: dict[str, None]) -> Any:
    """lm-eval's HFLM with one BOS at most.

    lm-eval 0.4 lets the tokenizer put its BOS in front of a context, and puts one in front of a rolling document
    itself: there the tokenizer's own is left out. A template that adds a second BOS, or an end of text, is not used.

    Args:
        model: a causal language model of transformers.
        tokenizer: a `TextTokenizer`, or a tokenizer of transformers; left as it is.
        batch_size: as HFLM takes it.
        notes: gets, as keys, what is to be said of the tokenizer and of the texts it reads.

    Raises:
        SparsityLabError: the tokenizer has no token to begin with, or one that the model does not know.
    """
    reader = as_text_tokenizer(tokenizer)
    bos_id, said = bos_of(reader)
    hf = _with_one_bos(reader, bos_id, said)
    notes.update(dict.fromkeys(said))
    first = _first_token(reader, bos_id)
    refuse_ids_beyond(int(model.get_input_embeddings().weight.shape[0]), largest=first, source=reader.name)
    kind = _one_bos_class(reader, notes)
    return kind(pretrained=model, tokenizer=hf, batch_size=batch_size, prefix_token_id=first)


def _one_bos_class(reader: TextTokenizer, notes: dict[str, None]) -> Any:
    """A class of lm-eval's HFLM that notes what is lost of the texts it reads; lm-eval is imported on use."""
    from lm_eval.models.huggingface import HFLM

    cuts = _Cuts(notes)

    class OneBos(HFLM):
        """HFLM that knows when a document is scored by a rolling log-likelihood."""

        rolling = False

        def tok_encode(
            self, string: str, add_special_tokens: bool | None = None, **options: Any
        ) -> list[int]:
            if not self.rolling:
                return list(super().tok_encode(string, add_special_tokens=add_special_tokens, **options))
            ids = list(super().tok_encode(string, add_special_tokens=False, **options))
            return ids[1:] if ids[:1] == [self.prefix_token_id] else ids

        def tok_batch_encode(self, strings: list[str], *words: Any, **options: Any) -> Any:
            if (room := options.get("left_truncate_len")) is not None:
                cut = [text for text in strings if len(self.tok_encode(text)) > room]
                cuts.add(cut, "prompt", room=room)
            return super().tok_batch_encode(strings, *words, **options)

        def _loglikelihood_tokens(self, requests: Sequence[Any], *words: Any, **options: Any) -> Any:
            room = self.max_length + 1
            if not self.rolling:
                cut = [text for text, before, after in requests if len(before) + len(after) > room]
                cuts.add(cut, "question with its answer", room=room)
            return super()._loglikelihood_tokens(requests, *words, **options)

        def loglikelihood(self, requests: Sequence[Any], *words: Any, **options: Any) -> Any:
            _check(reader, requests, notes)
            return super().loglikelihood(requests, *words, **options)

        def generate_until(self, requests: Sequence[Any], *words: Any, **options: Any) -> Any:
            _check(reader, requests, notes)
            return super().generate_until(requests, *words, **options)

        def loglikelihood_rolling(self, requests: Sequence[Any], *words: Any, **options: Any) -> Any:
            _check(reader, requests, notes)
            self.rolling = True
            try:
                return super().loglikelihood_rolling(requests, *words, **options)
            finally:
                self.rolling = False

    return OneBos


def _first_token(reader: TextTokenizer, bos_id: int | None) -> int:
    """The token in front of a text without a context: the BOS, else the end of text, as in lm-eval."""
    for token in (bos_id, reader.hf.bos_token_id, reader.hf.eos_token_id):
        if token is not None:
            return int(token)
    raise SparsityLabError(
        f"The tokenizer of {reader.name} has neither a BOS nor an end-of-text token",
        why="lm-eval puts one in front of a text",
        fix="Name it as bos_token or eos_token in tokenizer_config.json",
    )


def _with_one_bos(reader: TextTokenizer, bos_id: int | None, said: list[str]) -> Any:
    """The tokenizer, or a copy that puts the BOS in front of a text once and nothing after it."""
    before, after = tokenization.around(reader.hf)
    if len(before) < 2 and not after:
        return reader.hf
    if tokenization.backend_of(reader.hf) is None:
        raise SparsityLabError(
            f"The tokenizer of {reader.name} adds {counted(len(before), 'token')} before a text "
            f"and {len(after)} after it",
            why="lm-eval would take those after a question for a part of the answer",
            fix="Save the tokenizer as tokenizer.json with at most one BOS in its post_processor",
        )
    from tokenizers.processors import TemplateProcessing

    if after:
        said.append(
            f"The tokenizer of {reader.name} adds {counted(len(after), 'token')} after a text: left out, "
            "they would part question and answer"
        )
    start = [] if bos_id is None else ["BOS"]
    special = (
        [{"id": "BOS", "ids": [bos_id], "tokens": [reader.hf.convert_ids_to_tokens(bos_id)]}] if start else []
    )
    copied = copy.deepcopy(reader.hf)
    backend = tokenization.backend_of(copied)
    assert backend is not None, "it has one in the original"
    backend.post_processor = TemplateProcessing(
        single=[*start, "$A"], pair=[*start, "$A", "$B"], special_tokens=special
    )
    return copied


class _Cuts:
    """Counts texts longer than the model takes, whose beginnings lm-eval leaves out; keeps one note of each kind."""

    def __init__(self, notes: dict[str, None]) -> None:
        self.notes = notes
        self.counts: dict[tuple[str, int], int] = {}

    def add(self, texts: Sequence[Any], kind: str, *, room: int) -> None:
        """Count texts of one kind that have more than `room` tokens."""
        if texts:
            before = self.counts.get((kind, room), 0)
            self.notes.pop(self._note(kind, room, before), None)
            self.counts[kind, room] = before + len(texts)
            self.notes[self._note(kind, room, before + len(texts))] = None

    @staticmethod
    def _note(kind: str, room: int, count: int) -> str:
        return (
            f"{counted(count, 'time')} a {kind} has more than {room} tokens, and lm-eval leaves out its beginning: "
            "give fewer --num-fewshot examples, or a model of a longer context"
        )


def _check(reader: TextTokenizer, requests: Sequence[Any], notes: dict[str, None]) -> None:
    """Read some of the requests' texts, and note what is lost."""
    texts, letters = [], 0
    for request in requests:
        text = "".join(part for part in request.args if isinstance(part, str))
        texts.append(text)
        letters += len(text)
        if letters > CHECKED_LETTERS:
            break
    joined = "\n".join(texts)[:CHECKED_LETTERS]
    if joined.strip():
        notes.update(dict.fromkeys(tokenize(reader, joined, tokens=None, say=False).notes))
