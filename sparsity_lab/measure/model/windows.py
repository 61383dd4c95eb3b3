"""One token stream, cut into windows of fixed length: no padding, ever.

A text is tokenized without special tokens (`tokenizers`); where the tokenizer uses a BOS, one goes in front of
each window and is not counted. Loss is taken over every next-token prediction inside a window.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sparsity_lab import tokenization
from sparsity_lab.errors import RunError, SparsityLabError
from sparsity_lab.labels import counted
from sparsity_lab.measure.model.tokenizers import TextTokenizer, as_text_tokenizer, bos_of
from sparsity_lab.reading.texts.documents import Packed
from sparsity_lab.reading.texts.text_file import TextFile
from sparsity_lab.settings import HEAD, SPREAD, THE_CORPUS, THIS_TEXT, WHOLE

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

WHOLE_TEXT_BYTES = 64 * 1024 * 1024
BYTES_PER_TOKEN = 32  # generous: only this much of a larger file is tokenized for each wanted token
DEFAULT_WINDOW = 1024


@dataclass(frozen=True)
class Windows:
    """Validation text ready for a model.

    Attributes:
        ids: int64 [windows, window], the valid tokens.
        bos_id: token put in front of each window, or None.
        sha256: hash of `ids` as little-endian int64.
        notes: what tokenizing lost or switched off, in words.
        sample: `spread` over a text, its `head`, or the `whole` of it.
        units: of each window the number of its document, where that is known; else windows are units of their own.
        source: what the text is and which documents the windows come from; no part of what determines the numbers.
    """

    ids: torch.Tensor
    bos_id: int | None
    sha256: str
    notes: tuple[str, ...] = ()
    sample: str = HEAD
    units: tuple[int, ...] | None = None
    source: Mapping[str, Any] | None = field(default=None, compare=False)

    @property
    def count(self) -> int:
        """Number of windows."""
        return int(self.ids.shape[0])

    @property
    def window(self) -> int:
        """Valid tokens of one window."""
        return int(self.ids.shape[1])

    @property
    def tokens(self) -> int:
        """Valid tokens in all."""
        return int(self.ids.numel())

    def sampling(self) -> dict[str, Any]:
        """Where the windows lie and what errors from them speak of, under the keys of a record."""
        return {
            "sample": self.sample,
            "errors_hold_for": THE_CORPUS if self.sample == SPREAD else THIS_TEXT,
            "text_source": None if self.source is None else dict(self.source),
        }

    @property
    def largest_id(self) -> int:
        """The largest id a model reads here, the BOS among them."""
        return max(int(self.ids.max()), -1 if self.bos_id is None else self.bos_id)

    @property
    def predictions_per_window(self) -> int:
        """Next-token predictions of one window: all tokens after a BOS, else all but the first."""
        return self.window if self.bos_id is not None else self.window - 1

    def inputs(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Model inputs of the windows `rows`: int64 [rows, window (+ 1 for the BOS)]."""
        chosen = self.ids[torch.from_numpy(rows)]
        if self.bos_id is None:
            return chosen
        return torch.cat([torch.full((len(rows), 1), self.bos_id, dtype=torch.int64), chosen], dim=1)


@dataclass(frozen=True)
class TokenizedText:
    """The token ids of a text and what is to be said about them.

    Attributes:
        ids: int64 [tokens].
        bos_id: token to put in front of each window, or None.
        spans: characters [start, end) of each id, or None where the tokenizer does not say.
        notes: what the text lost, and what the tokenizer's files disagree about.
        length: tokens of the whole text, of which these are the first.
    """

    ids: torch.Tensor
    bos_id: int | None
    spans: list[tuple[int, int]] | None
    notes: tuple[str, ...]
    length: int

    def windows(self, window: int, *, source: Path | str | None = None) -> Windows:
        """The ids cut into windows of `window` tokens; see `cut`."""
        rows = cut(self.ids, window=window, bos_id=self.bos_id, source=source)
        is_whole = self.length < rows.tokens + window
        return replace(rows, notes=self.notes, sample=WHOLE if is_whole else HEAD)


def cut(
    ids: torch.Tensor, *, window: int, bos_id: int | None = None, source: Path | str | None = None
) -> Windows:
    """Cut a token stream [tokens] into whole windows; a last piece shorter than a window is left out.

    Args:
        ids: tokens, int64 [tokens].
        window: tokens of one window.
        bos_id: put in front of each window where given.
        source: the text's file, for what errors say.

    Raises:
        SparsityLabError: fewer tokens than two windows, or a window of fewer than two tokens.
    """
    refuse_no_prediction(window)
    whole = ids.numel() // window
    if whole < 2:
        raise RunError(
            f"The text {'' if source is None else f'{source} '}has {ids.numel()} tokens: "
            f"too short for two windows of {window}",
            why="The error of a loss is estimated from the spread between windows",
            fix="Give a longer text or more --tokens, or a smaller --window",
        )
    return of_rows(ids[: whole * window].reshape(whole, window), bos_id=bos_id)


def refuse_no_prediction(window: int) -> None:
    """Refuse a window of fewer than two tokens.

    Raises:
        RunError: it is.
    """
    if window < 2:
        raise RunError(
            f"A window of {counted(window, 'token')} has nothing to predict", fix="Use --window 2 or more"
        )


def of_rows(rows: torch.Tensor, *, bos_id: int | None) -> Windows:
    """Windows of token ids [windows, window]."""
    ids = rows.to(torch.int64).contiguous()
    return Windows(ids, bos_id, hashlib.sha256(ids.numpy().astype("<i8").tobytes()).hexdigest())


def refuse_same_tokens(texts: Mapping[str, Windows]) -> None:
    """Refuse two texts, by name, of which a model reads the same tokens.

    Raises:
        SparsityLabError: names both.
    """
    seen: dict[str, str] = {}
    for name, one in texts.items():
        other = seen.setdefault(one.sha256, name)
        if other != name:
            raise SparsityLabError(
                f"The texts {other!r} and {name!r} are the same {one.tokens} tokens",
                fix="Give two different texts, or more --tokens if they part later",
            )


def tokenize(
    tokenizer: Any, text: str, *, tokens: int | None, bos: bool = True, spans: bool = False, say: bool = True
) -> TokenizedText:
    """The first token ids of a text, and a BOS where the tokenizer puts one in front of a text.

    Args:
        tokenizer: a `TextTokenizer`, or a live tokenizer of transformers, left as it is.
        text: the whole text; of a `FileText` the notes are kept.
        tokens: how many ids at most; None for all.
        bos: ask for a BOS; False never gives one.
        spans: find which characters each id represents.
        say: log the notes.

    Raises:
        SparsityLabError: the ids do not hold the text, or the tokenizer puts several tokens in front.
    """
    reader = as_text_tokenizer(tokenizer)
    whole = tokenization.encoded(reader.encoder, text)
    ids = whole.ids[:tokens]
    count, covered = _covered(reader, text, whole, len(ids))
    bos_id, notes = bos_of(reader) if bos else (None, [])
    notes = [*getattr(text, "notes", ()), *file_notes(reader, covered), *notes]
    notes += tokenization.text_notes(reader.encoder, covered, ids[:count], name=reader.name)
    tell(notes if say else ())
    where = (
        [whole.span(i) or (0, 0) for i in range(len(ids))] if spans and whole.encoding is not None else None
    )
    if bos_id is not None and ids[:1] == [bos_id]:  # windows begin with one already
        ids, where = ids[1:], where and where[1:]
    return TokenizedText(torch.tensor(ids, dtype=torch.int64), bos_id, where, tuple(notes), len(whole.ids))


def tell(notes: Iterable[str]) -> None:
    """Log what tokenizing lost or switched off."""
    for note in notes:
        logger.warning("%s", note)


def whole_or_head(tokenizer: Any, text: TextFile | Packed, *, tokens: int, window: int, bos: bool) -> Windows:
    """The first windows of a text; raises as `tokenize` and `cut` do."""
    read = text.whole(max(WHOLE_TEXT_BYTES, tokens * BYTES_PER_TOKEN))
    return tokenize(tokenizer, read, tokens=tokens, bos=bos).windows(window, source=text.path)


def _covered(reader: TextTokenizer, text: str, whole: tokenization.Encoded, count: int) -> tuple[int, str]:
    """How many of a text's first `count` ids end where a character does, and the part of it that they represent."""
    if count == len(whole.ids):
        return count, text
    while count and whole.cuts(count):
        count -= 1
    back, last = (
        tokenization.decoded(reader.encoder, whole.ids[:count]),
        whole.span(count - 1) if count else (0, 0),
    )
    if last is None:
        return count, text[: len(back)]
    # Some tokenizers leave blanks out of a span.
    end, blanks = len(text[: last[1]].rstrip()), len(back) - len(back.rstrip())
    while blanks and text[end : end + 1].isspace():
        end, blanks = end + 1, blanks - 1
    return count, text[:end]


def file_notes(reader: TextTokenizer, text: str) -> list[str]:
    """What tokenizer.json asks for and does not get, and a class that would give other ids."""
    notes = [reader.origin] if reader.origin else []
    if reader.switched_off:
        off = " and ".join(reader.switched_off)
        notes.append(f"The tokenizer files of {reader.name} ask for {off}: switched off")
    if reader.as_built is not None:
        built, wanted = _ids(reader.as_built, text), tokenization.encoded(reader.alone, text).ids
        if built != wanted:
            gives = "cannot read the text" if built is None else f"gives {len(built):,} ids for the text"
            notes.append(
                f"transformers loads the tokenizer of {reader.name} as a {type(reader.as_built).__name__}, which "
                f"{gives} where its tokenizer.json gives {len(wanted):,}: those of tokenizer.json are used"
            )
    return notes


def _ids(tokenizer: Any, text: str) -> list[int] | None:
    """The ids of a text, or None where the tokenizer cannot read it."""
    try:
        return tokenization.encoded(tokenizer, text).ids
    except SparsityLabError:
        return None


def encode(tokenizer: Any, text: str, *, tokens: int | None) -> torch.Tensor:
    """The first `tokens` token ids (all of them for None) of a text, without special tokens, int64 [tokens]."""
    return tokenize(tokenizer, text, tokens=tokens, bos=False).ids


def choose_window(wanted: int | None, *, positions: int | None, bos: bool) -> int:
    """The window to use: the wanted one where the model can take it, by default up to 1,024 tokens.

    Raises:
        SparsityLabError: a window beyond the model's positions, or fewer than two of these.
    """
    room = None if positions is None else positions - int(bos)
    if room is not None and room < 2:
        raise SparsityLabError(
            f"The model takes {positions} positions: too few to predict a token",
            why="That is max_position_embeddings of its config",
            fix="Compare config.json with the model's own",
        )
    if wanted is None:
        chosen = DEFAULT_WINDOW if room is None else min(DEFAULT_WINDOW, room)
        logger.info("window %d tokens: the model takes %s", chosen, positions or "any length")
        return chosen
    if room is not None and wanted > room:
        raise SparsityLabError(
            f"A window of {wanted} tokens{' and a BOS' if bos else ''} is beyond the model's {positions} positions",
            fix=f"Use --window {room} or less",
        )
    return wanted
