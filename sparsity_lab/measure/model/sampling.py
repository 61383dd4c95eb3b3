"""Where in a text its windows lie: spread over all of it, or at its head.

A measurement on the first tokens of a text describes only these, however many there are: neighboring windows
are of one document or one subject. Windows spread over the whole text describe the corpus, at the same cost and with
a smaller error. A spread sample cuts the text into as many stretches as there are windows and takes one window from
each, at a place that the seed draws (stratified sampling). Of a large file only the bytes around these places are
read. A text with no more tokens than are wanted is taken as a whole.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from sparsity_lab.errors import RunError
from sparsity_lab.labels import counted
from sparsity_lab.measure.model.spread import MOST_SHORT, Passages, short_notes, too_short
from sparsity_lab.measure.model.tokenizers import TextTokenizer, as_text_tokenizer, bos_of
from sparsity_lab.measure.model.windows import (
    Windows,
    of_rows,
    refuse_no_prediction,
    tell,
    tokenize,
    whole_or_head,
)
from sparsity_lab.reading.texts.documents import Documents, Packed, TextSource
from sparsity_lab.reading.texts.text_file import TextFile
from sparsity_lab.settings import HEAD, SPREAD, WHOLE, Sampling

logger = logging.getLogger(__name__)

LEAST_REPEATED = 0.01  # share of repeated windows from which they are reported
LEAST_WINDOWS = 4  # of a spread sample: fewer have no error worth the name
WHOLE_BYTES_PER_TOKEN = 16  # a text no longer than this for each token wanted is tokenized as a whole
MOST_NOTES = 3  # of what single documents lose on their way to ids
MOST_RANGES = 1000  # of documents' numbers in a record


def sampled(tokenizer: TextTokenizer, text: TextSource, asked: Sampling) -> Windows:
    """Windows of a text, or of a list of documents; none goes over the border between two.

    Args:
        tokenizer: reads it; a `TextTokenizer`, or a live tokenizer of transformers.
        text: where to take them from.
        asked: how many, and how.

    Raises:
        RunError: a text that is not text where it was read, or too short for the window.
        SparsityLabError: the tokenizer cannot write the text.
    """
    found = _sampled(tokenizer, text, asked)
    count = {"documents": text.count()} if found.sample != HEAD and not isinstance(text, TextFile) else {}
    repeated = _repeated_notes(found, text)
    tell(repeated)
    source = {**text.described(), **count, **_documents_used(found)}
    found = replace(found, source=source, notes=(*found.notes, *repeated))
    if found.units is not None and asked.sample == SPREAD and len(set(found.units)) < LEAST_WINDOWS:
        raise RunError(
            f"The windows come from {counted(len(set(found.units)), 'document')} of {text.path}",
            why=f"The error of a number comes from the spread between documents, {LEAST_WINDOWS} or more",
            fix="Use more --tokens, a smaller --window, or --pack, which joins documents",
        )
    return found


def _sampled(tokenizer: TextTokenizer, text: TextSource, asked: Sampling) -> Windows:
    refuse_no_prediction(asked.window)
    if asked.sample == SPREAD and text.is_larger(asked.tokens * WHOLE_BYTES_PER_TOKEN):
        refuse_few(asked)
        found = Passages(as_text_tokenizer(tokenizer), text, asked).windows()
        if found is not None:
            return found
    if text.has_documents:
        return _of_documents(as_text_tokenizer(tokenizer), text, asked)
    if asked.sample != SPREAD:
        assert isinstance(text, (TextFile, Packed))
        return whole_or_head(tokenizer, text, tokens=asked.tokens, window=asked.window, bos=asked.bos)
    whole = tokenize(tokenizer, next(text.each()).whole(), tokens=None, bos=asked.bos)
    length = whole.ids.numel()
    if length // asked.window <= asked.windows:
        return whole.windows(asked.window, source=text.path)
    refuse_few(asked)
    stretch = length / asked.windows
    shares = np.random.default_rng(asked.seed).random(asked.windows)
    starts = [int(stretch * number + share * (stretch - asked.window)) for number, share in enumerate(shares)]
    rows = torch.stack([whole.ids[start : start + asked.window] for start in starts])
    return replace(of_rows(rows, bos_id=whole.bos_id), sample=SPREAD, notes=whole.notes)


def _repeated_notes(windows: Windows, text: TextSource) -> list[str]:
    """What is said where windows, or the documents read last, are the same as others."""
    rows, what = [hash(row.tobytes()) for row in windows.ids.numpy()], "windows"
    if len(set(rows)) == len(rows) and isinstance(text, Documents) and windows.units is not None:
        used, what = set(windows.units), "documents looked at"
        rows = [hash(each.whole()) for number, each in text.held().items() if number in used]
    equal = len(rows) - len(set(rows))
    if equal <= LEAST_REPEATED * len(rows):
        return []
    return [
        f"{equal:,} of {len(rows):,} {what} hold the same as another one: the text repeats itself, and errors, which "
        "take windows or documents for independent, are too small"
    ]


def _documents_used(windows: Windows) -> dict[str, Any]:
    """What a record says of the documents that windows come from, where these are known."""
    if windows.units is None:
        return {}
    ranges = list[list[int]]()
    for number in sorted(set(windows.units)):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    used = {
        "documents_used": len(set(windows.units)),
        "first_document": ranges[0][0],
        "last_document": ranges[-1][1],
    }
    return {**used, **({"document_ranges": ranges} if len(ranges) <= MOST_RANGES else {})}


def _of_documents(reader: TextTokenizer, text: TextSource, asked: Sampling) -> Windows:
    """Windows of documents that are all read, or of the first ones where the head is asked for."""
    rows, units, notes, short = list[torch.Tensor](), list[int](), dict[str, None](), 0
    behind = 0  # documents in a row without a window
    bos_id = bos_of(reader)[0] if asked.bos else None
    number, is_whole = -1, True
    for number, document in enumerate(text.each()):
        if asked.sample != SPREAD and len(rows) >= asked.windows:
            is_whole = False
            break
        read = tokenize(reader, document.whole(), tokens=None, bos=asked.bos, say=False)
        notes |= dict.fromkeys(read.notes)
        count = read.ids.numel() // asked.window
        short, behind = short + (count == 0), 0 if count else behind + 1
        if behind == MOST_SHORT and asked.sample != SPREAD:
            raise too_short(text, asked, number)
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
    told = [*list(notes)[:MOST_NOTES], *short_notes(short, looked_at, asked)]
    if len(notes) > MOST_NOTES:
        told.append(f"{len(notes) - MOST_NOTES:,} more such notes on other documents are left out here")
    tell(told)
    found = of_rows(torch.stack([rows[i] for i in chosen]), bos_id=bos_id)
    sample = WHOLE if asked.sample != SPREAD and is_whole and len(rows) <= asked.windows else asked.sample
    return replace(found, sample=sample, notes=tuple(told), units=tuple(units[i] for i in chosen))


def refuse_few(asked: Sampling) -> None:
    """Refuse a spread sample of a few windows.

    Raises:
        RunError: fewer than `LEAST_WINDOWS`.
    """
    if asked.windows < LEAST_WINDOWS:
        raise RunError(
            f"{asked.tokens} tokens are {counted(asked.windows, 'window')} of {asked.window}: "
            "too few to be spread over a text",
            why=f"The error of a number comes from the spread between windows, {LEAST_WINDOWS} or more",
            fix=f"Use --tokens {LEAST_WINDOWS * asked.window} or more, a smaller --window, or --sample head",
        )
