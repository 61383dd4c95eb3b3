"""Where in a text its windows lie: spread over all of it, or at its head.

What is measured on the first tokens of a text tells of these alone, however many there are: neighbouring windows
are of one document or one subject. Windows spread over the whole of it tell of the corpus, at the same cost and with
a smaller error. A spread sample cuts the text into as many stretches as there are windows and takes one window from
each, at a place that the seed draws (stratified sampling). Of a large file only the bytes around these places are
read. A text with no more tokens than are wanted is taken as a whole.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from sparsity_lab import tokenization
from sparsity_lab.errors import RunError
from sparsity_lab.measure.model.tokenizers import TextTokenizer, as_text_tokenizer, bos_of
from sparsity_lab.measure.model.windows import (
    Windows,
    file_notes,
    of_rows,
    refuse_no_prediction,
    tell,
    tokenize,
    whole_or_head,
)
from sparsity_lab.reading.texts.documents import Packed, TextSource
from sparsity_lab.reading.texts.text_file import Passage, TextFile, line_end_notes
from sparsity_lab.settings import SPREAD, WHOLE, Sampling

logger = logging.getLogger(__name__)

LEAST_WINDOWS = 4  # of a spread sample: fewer have no error worth the name
WHOLE_BYTES_PER_TOKEN = 16  # a text no longer than this for each token wanted is tokenised as a whole
AHEAD_BYTES = 256  # read ahead of a place, so that the first token is the one it is in the text
FIRST_GUESS = 5.0  # bytes of a token before any are known
SPARE = 1.3  # how much more than a window takes is read
MOST_NOTES = 3  # of what single documents lose on their way to ids


def sampled(tokenizer: TextTokenizer, text: TextSource, asked: Sampling) -> Windows:
    """Windows of a text, or of a list of documents; none goes over the border between two.

    Args:
        tokenizer: reads it; a `TextTokenizer`, or a live tokenizer of transformers.
        text: where to take them from.
        asked: how many, and how.

    Raises:
        RunError: a text that is no text where it was read, or too short for the window.
        SparsityLabError: the tokenizer cannot write the text.
    """
    found = _sampled(tokenizer, text, asked)
    if found.units is not None and asked.sample == SPREAD and len(set(found.units)) < LEAST_WINDOWS:
        raise RunError(
            f"The windows come from {len(set(found.units))} document(s) of {text.path}",
            why=f"The error of a number comes from the spread between documents, {LEAST_WINDOWS} or more",
            fix="Use more --tokens, a smaller --window, or --pack, which joins documents",
        )
    return found


def _sampled(tokenizer: TextTokenizer, text: TextSource, asked: Sampling) -> Windows:
    refuse_no_prediction(asked.window)
    if asked.sample == SPREAD and text.size > asked.tokens * WHOLE_BYTES_PER_TOKEN:
        refuse_few(asked)
        found = _Passages(as_text_tokenizer(tokenizer), text, asked).windows()
        if found is not None:
            return found
    if text.has_documents:
        return _of_documents(as_text_tokenizer(tokenizer), text, asked)
    if asked.sample != SPREAD:
        assert isinstance(text, (TextFile, Packed))
        return whole_or_head(tokenizer, text, tokens=asked.tokens, window=asked.window, bos=asked.bos)
    whole = tokenize(tokenizer, next(text.each()), tokens=None, bos=asked.bos)
    length = whole.ids.numel()
    if length // asked.window <= asked.windows:
        return whole.windows(asked.window, source=text.path)
    refuse_few(asked)
    stretch = length / asked.windows
    shares = np.random.default_rng(asked.seed).random(asked.windows)
    starts = [int(stretch * number + share * (stretch - asked.window)) for number, share in enumerate(shares)]
    rows = torch.stack([whole.ids[start : start + asked.window] for start in starts])
    return replace(of_rows(rows, bos_id=whole.bos_id), sample=SPREAD, notes=whole.notes)


def _of_documents(reader: TextTokenizer, text: TextSource, asked: Sampling) -> Windows:
    """Windows of documents that are all read, or of the first ones where the head is asked for."""
    rows, units, notes, short = list[torch.Tensor](), list[int](), dict[str, None](), 0
    bos_id = bos_of(reader)[0] if asked.bos else None
    number, is_whole = -1, True
    for number, document in enumerate(text.each()):
        if asked.sample != SPREAD and len(rows) >= asked.windows:
            is_whole = False
            break
        read = tokenize(reader, document, tokens=None, bos=asked.bos, say=False)
        notes |= dict.fromkeys(read.notes)
        count = read.ids.numel() // asked.window
        short += count == 0
        rows += read.ids[: count * asked.window].reshape(count, asked.window)
        units += [number] * count
    looked_at = number + is_whole
    if len(rows) < 2:
        raise RunError(
            f"Of the {looked_at} documents of {text.path} too few hold a window of {asked.window} tokens",
            why="A window never goes over the border between two documents",
            fix="Use a smaller --window, or --pack, which joins them",
        )
    chosen = np.arange(min(len(rows), asked.windows))
    if len(rows) > asked.windows and asked.sample == SPREAD:
        refuse_few(asked)
        shares = np.random.default_rng(asked.seed).random(asked.windows) + chosen
        chosen = (shares * len(rows) / asked.windows).astype(int)
    told = [*list(notes)[:MOST_NOTES], *_short_notes(short, looked_at, asked)]
    if len(notes) > MOST_NOTES:
        told.append(f"{len(notes) - MOST_NOTES:,} more such notes on other documents are left out here")
    tell(told)
    found = of_rows(torch.stack([rows[i] for i in chosen]), bos_id=bos_id)
    sample = WHOLE if asked.sample != SPREAD and is_whole and len(rows) <= asked.windows else asked.sample
    return replace(found, sample=sample, notes=tuple(told), units=tuple(units[i] for i in chosen))


def _short_notes(short: int, documents: int, asked: Sampling) -> list[str]:
    """What is said of documents that were left out."""
    if not short:
        return []
    return [
        f"{short:,} of {documents:,} documents looked at hold no window of {asked.window} tokens and are left out: "
        "numbers are of the longer ones (--pack joins documents, a smaller --window takes more of them)"
    ]


def refuse_few(asked: Sampling) -> None:
    """Refuse a spread sample of a few windows.

    Raises:
        RunError: fewer than `LEAST_WINDOWS`.
    """
    if asked.windows < LEAST_WINDOWS:
        raise RunError(
            f"{asked.tokens} tokens are {asked.windows} window(s) of {asked.window}: too few to be spread over a text",
            why=f"The error of a number comes from the spread between windows, {LEAST_WINDOWS} or more",
            fix=f"Use --tokens {LEAST_WINDOWS * asked.window} or more, a smaller --window, or --sample head",
        )


@dataclass(frozen=True)
class _Taken:
    """One window of a passage.

    Attributes:
        ids: int64 [window].
        covered: the characters it stands for.
        line_ends: line ends CR LF or CR in the passage.
        begin: byte of the text that it begins at.
        end: byte at or behind its last character.
        document: first byte of its document.
    """

    ids: Sequence[int]
    covered: str
    line_ends: int
    begin: int
    end: int
    document: int


class _Passages:
    """A spread sample of a large text, passage by passage.

    Args:
        reader: the tokenizer.
        text: the file.
        asked: how many windows, and how.
    """

    def __init__(self, reader: TextTokenizer, text: TextSource, asked: Sampling) -> None:
        self.reader, self.text, self.asked = reader, text, asked
        self.bytes_per_token, self.taken, self.short = FIRST_GUESS, list[_Taken](), 0

    def windows(self) -> Windows | None:
        """The windows; None where the text ends before there are as many as were asked for."""
        count, text = self.asked.windows, self.text
        stretch = text.size / count
        for number, share in enumerate(np.random.default_rng(self.asked.seed).random(count)):
            end = self.taken[-1].end if self.taken else 0
            low, room = max(end, stretch * number), self.asked.window * self.bytes_per_token
            place = int(low + share * max(stretch * (number + 1) - room - low, 0.0))
            taken = self._from(place, least=end)
            if taken is None:
                return None
            self.taken.append(taken)
            each = (taken.end - taken.begin) / self.asked.window
            self.bytes_per_token += (each - self.bytes_per_token) / (number + 1)
        bos_id, notes = bos_of(self.reader) if self.asked.bos else (None, [])
        notes = [*self._notes(), *notes, *_short_notes(self.short, self.short + count, self.asked)]
        tell(notes)
        rows = torch.tensor([list(taken.ids) for taken in self.taken], dtype=torch.int64)
        found = replace(of_rows(rows, bos_id=bos_id), sample=SPREAD, notes=tuple(notes))
        return (
            replace(found, units=tuple(one.document for one in self.taken)) if text.has_documents else found
        )

    def _from(self, place: int, *, least: int) -> _Taken | None:
        """The window that begins at a place; in a document that ends too soon further ahead, or in the next one.

        None where there is none up to the end of the text; `least` is where the window before it ends.
        """
        after = int(self.asked.window * self.bytes_per_token * SPARE)
        while place < self.text.size:
            passage = self._passage(place, after)
            taken, missing = self._window(passage, place)
            if taken is not None:
                return taken
            begin, end = passage.document
            if not passage.ends:
                after *= 2
            elif place > max(least, begin):
                place = max(least, begin, place - int(missing * self.bytes_per_token * SPARE) - 1)
            else:
                self.short += begin >= least
                place = end
        return None

    def _passage(self, place: int, after: int) -> Passage:
        try:
            return self.text.passage(place, before=AHEAD_BYTES, after=after)
        except OSError as error:
            raise RunError(
                f"Cannot read the text {self.text.path}",
                why=error.strerror or str(error),
                fix="Name a UTF-8 file",
            ) from error

    def _window(self, passage: Passage, place: int) -> tuple[_Taken | None, int]:
        """The first window of a passage at or behind its place, or how many tokens are missing."""
        window, begin = self.asked.window, _word_begin(passage)
        encoded = tokenization.encoded(self.reader.encoder, passage.text[begin:])
        first = 0
        if encoded.encoding is None:  # nobody knows where its tokens begin
            encoded = tokenization.encoded(self.reader.encoder, passage.text[passage.at :])
            begin = passage.at
        else:
            first = _first_from(encoded, passage.at - begin)
        ids = encoded.ids[first : first + window]
        spare = 0 if passage.ends else 1  # the last token may be cut
        if (missing := first + window + spare - len(encoded.ids)) > 0:
            return None, missing
        start, stop = encoded.span(first), encoded.span(first + window - 1)
        if start is None or stop is None:
            ends = passage.at, passage.at + len(tokenization.decoded(self.reader.encoder, ids))
        else:
            ends = begin + start[0], begin + stop[1]
        end = passage.byte_of(ends[1], place)
        covered = passage.text[slice(*ends)]
        return _Taken(ids, covered, passage.line_ends, place, end, passage.document[0]), 0

    def _notes(self) -> list[str]:
        """What the windows lost on their way to ids, and what the tokenizer's files disagree about."""
        notes = [*line_end_notes(sum(taken.line_ends for taken in self.taken))]
        notes += file_notes(self.reader, self.taken[0].covered)
        encoder, name = self.reader.encoder, self.reader.name
        lossy = [one for one in self.taken if tokenization.loses(encoder, one.covered, one.ids)]
        if lossy:
            covered = "".join(one.covered for one in lossy)
            notes += tokenization.text_notes(
                encoder, covered, [i for one in lossy for i in one.ids], name=name
            )
        return notes


def _word_begin(passage: Passage) -> int:
    """Where to begin tokenising: at the first white space, all before which may be a part of a word."""
    return next((i for i, letter in enumerate(passage.text[: passage.at]) if letter.isspace()), 0)


def _first_from(encoded: tokenization.Encoded, at: int) -> int:
    """The first token that begins at or behind a character."""
    for number in range(len(encoded.ids)):
        span = encoded.span(number)
        if span is not None and span[0] >= at:
            return number
    return len(encoded.ids)
