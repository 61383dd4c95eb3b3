"""A spread sample of a large text, passage by passage: where its windows begin, and what is read around there.

Of a list of documents the stretches are of equal bytes where there are at most 16 documents for each window. Where
there are more, they are of equally many documents; 16 neighbors of each are drawn, and a place in their bytes: a
document weighs as its bytes do, a little more where its neighbors happen to be short. So the windows depend on the
documents alone, not on the form of the file, and no more than 16 documents are read for each window.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
import torch

from sparsity_lab import tokenization
from sparsity_lab.errors import RunError
from sparsity_lab.measure.model.tokenizers import TextTokenizer, bos_of
from sparsity_lab.measure.model.windows import Windows, file_notes, of_rows, tell
from sparsity_lab.reading.texts.documents import TextSource
from sparsity_lab.reading.texts.passages import Passage, Position, line_end_notes
from sparsity_lab.settings import SPREAD, Sampling

AHEAD_BYTES = 256  # read ahead of a place, so that the first token is the one it is in the text
FIRST_GUESS = 5.0  # bytes of a token before any are known
SPARE = 1.3  # how much more than a window takes is read
MOST_SHORT = 20_000  # documents in a row that hold no window: nobody waits for more
RUN = 16  # documents that a place is drawn among, where there are many


class _Few:
    """Stretches of equal bytes, of all documents.

    Args:
        text: the documents.
        count: of stretches.
        seed: draws the places.
    """

    def __init__(self, text: TextSource, count: int, seed: int) -> None:
        self.shares = np.random.default_rng(seed).random(count)
        self.ends = list(accumulate(text.size_of(number) for number in range(text.count())))
        self.stretch = self.ends[-1] / count

    def place(self, number: int, end: Position, *, room: float) -> Position:
        """A place in a stretch, at or behind `end` and with so many bytes behind it."""
        begun = self.ends[end.document - 1] if end.document else 0
        low = max(begun + end.byte, self.stretch * number)
        place = int(low + self.shares[number] * max(self.stretch * (number + 1) - room - low, 0.0))
        document = bisect_right(self.ends, place)
        return Position(document, place - (self.ends[document - 1] if document else 0))


class _Many:
    """Stretches of equally many documents, `RUN` or more; arguments as in `_Few`.

    A run goes on at its stretch's beginning where the stretch ends, so that all documents are equally often in one.
    """

    def __init__(self, text: TextSource, count: int, seed: int) -> None:
        generator = np.random.default_rng(seed)
        self.text, self.shares, self.runs = text, generator.random(count), generator.random(count)
        self.firsts = [number * text.count() // count for number in range(count + 1)]

    def place(self, number: int, end: Position, *, room: float) -> Position:
        """A place in a stretch, at or behind `end`."""
        first, last = self.firsts[number : number + 2]
        begin = int(self.runs[number] * (last - first))
        run = sorted(first + (begin + i) % (last - first) for i in range(RUN))
        sizes = [self.text.size_of(document) for document in run]
        ends = list(accumulate(sizes))
        byte = int(self.shares[number] * ends[-1])
        chosen = min(bisect_right(ends, byte), RUN - 1)
        return max(end, Position(run[chosen], byte - (ends[chosen - 1] if chosen else 0)))


def _back(text: TextSource, place: Position, size: int) -> Position:
    """The place so many bytes ahead of another."""
    document, byte = place
    while size > byte and document:
        size, document = size - byte, document - 1
        byte = text.size_of(document)
    return Position(document, max(byte - size, 0))


def _distance(text: TextSource, begin: Position, end: Position) -> int:
    """Bytes between two places."""
    between = sum(text.size_of(number) for number in range(begin.document, end.document))
    return between + end.byte - begin.byte


@dataclass(frozen=True)
class _Taken:
    """One window of a passage.

    Attributes:
        ids: int64 [window].
        covered: the characters it represents.
        line_ends: line ends CR LF or CR in the passage.
        begin: where it begins.
        end: the place at or behind its last character.
    """

    ids: Sequence[int]
    covered: str
    line_ends: int
    begin: Position
    end: Position


class Passages:
    """A spread sample of a large text, passage by passage.

    Args:
        reader: the tokenizer.
        text: the file, or the documents.
        asked: how many windows, and how.
    """

    def __init__(self, reader: TextTokenizer, text: TextSource, asked: Sampling) -> None:
        self.reader, self.text, self.asked = reader, text, asked
        self.bytes_per_token, self.taken, self.short = FIRST_GUESS, list[_Taken](), 0
        self.count = text.count()
        self.is_many = self.count > RUN * asked.windows

    def windows(self) -> Windows | None:
        """The windows; None where the text ends before there are as many as were asked for."""
        count, text = self.asked.windows, self.text
        stretches = (_Many if self.is_many else _Few)(text, count, self.asked.seed)
        for number in range(count):
            end = self.taken[-1].end if self.taken else Position(0, 0)
            place = stretches.place(number, end, room=self.asked.window * self.bytes_per_token)
            taken = self._from(place, least=end)
            if taken is None and self.is_many:
                taken = self._ahead(place, least=end)
            if taken is None:
                return None
            self.taken.append(taken)
            each = _distance(text, taken.begin, taken.end) / self.asked.window
            self.bytes_per_token += (each - self.bytes_per_token) / (number + 1)
        bos_id, notes = bos_of(self.reader) if self.asked.bos else (None, [])
        notes = [*self._notes(), *notes, *short_notes(self.short, self.short + count, self.asked)]
        tell(notes)
        rows = torch.tensor([list(taken.ids) for taken in self.taken], dtype=torch.int64)
        found = replace(of_rows(rows, bos_id=bos_id), sample=SPREAD, notes=tuple(notes))
        units = tuple(taken.begin.document for taken in self.taken)
        return replace(found, units=units) if text.has_documents else found

    def _from(self, place: Position, *, least: Position) -> _Taken | None:
        """The window that begins at a place; in a document that ends too soon further ahead, or in the next one.

        None where there is none up to the end of the text; `least` is where the window before it ends.
        """
        after, short = int(self.asked.window * self.bytes_per_token * SPARE), 0
        while place.document < self.count:
            passage = self._passage(place, after)
            taken, missing = self._window(passage, place)
            if taken is not None:
                return taken
            begin = Position(place.document if self.text.has_documents else 0, 0)
            if not passage.ends:
                after *= 2
            elif place > max(least, begin):
                place = _back(self.text, place, int(missing * self.bytes_per_token * SPARE) + 1)
                place = max(least, begin, place)
            else:
                short, self.short = short + 1, self.short + (begin >= least)
                if short == MOST_SHORT:
                    raise too_short(self.text, self.asked, place.document)
                place = Position(place.document + 1 if self.text.has_documents else self.count, 0)
        return None

    def _ahead(self, place: Position, *, least: Position) -> _Taken | None:
        """The window nearest ahead of a place behind which there is none; raises where there is none either."""
        after = int(self.asked.window * self.bytes_per_token * SPARE)
        for document in range(min(place.document, self.count) - 1, least.document - 1, -1):
            begin = max(least, Position(document, 0))
            passage = self._passage(begin, max(after, self.text.size_of(document)))
            taken, _ = self._window(passage, begin)
            if taken is not None:
                return taken
            if place.document - document == MOST_SHORT:
                break
        raise too_short(self.text, self.asked, place.document)

    def _passage(self, place: Position, after: int) -> Passage:
        try:
            return self.text.passage_at(place, before=AHEAD_BYTES, after=after)
        except OSError as error:
            raise RunError(
                f"Cannot read the text {self.text.path}",
                why=error.strerror or str(error),
                fix="Name a UTF-8 file",
            ) from error

    def _window(self, passage: Passage, place: Position) -> tuple[_Taken | None, int]:
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
        end = passage.place_of(ends[1], place)
        return _Taken(ids, passage.text[slice(*ends)], passage.line_ends, place, end), 0

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
    """Where to begin tokenizing: at the first white space, all before which may be a part of a word."""
    return next((i for i, letter in enumerate(passage.text[: passage.at]) if letter.isspace()), 0)


def _first_from(encoded: tokenization.Encoded, at: int) -> int:
    """The first token that begins at or behind a character."""
    for number in range(len(encoded.ids)):
        span = encoded.span(number)
        if span is not None and span[0] >= at:
            return number
    return len(encoded.ids)


def too_short(text: TextSource, asked: Sampling, number: int) -> RunError:
    """The error that nothing but short documents was found up to one."""
    return RunError(
        f"{MOST_SHORT:,} documents of {text.path} in a row, up to number {number + 1:,}, hold no window of "
        f"{asked.window} tokens",
        why="A window never goes over the border between two documents",
        fix="Use a smaller --window, or --pack, which joins documents",
    )


def short_notes(short: int, documents: int, asked: Sampling) -> list[str]:
    """What is said of documents that were left out."""
    if not short:
        return []
    return [
        f"{short:,} of {documents:,} documents looked at hold no window of {asked.window} tokens and are left out: "
        "numbers are of the longer ones (--pack joins documents, a smaller --window takes more of them)"
    ]
