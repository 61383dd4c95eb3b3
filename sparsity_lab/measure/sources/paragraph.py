"""A paragraph of a text, to be shown token by token: its beginning, or one that a seed draws."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.model.windows import BYTES_PER_TOKEN, WHOLE_TEXT_BYTES
from sparsity_lab.measure.sources.named import name_of
from sparsity_lab.measure.sources.texts import open_text
from sparsity_lab.reading.texts.documents import Packed, TextSource
from sparsity_lab.reading.texts.passages import FileText, Position
from sparsity_lab.reading.texts.text_file import TextFile
from sparsity_lab.settings import SPREAD, HeatSettings


def paragraph_of(text: Any, asked: HeatSettings) -> tuple[FileText, dict[str, Any]]:
    """What is shown of a text, and what a record says of where it comes from.

    Args:
        text: a path, or the name of a dataset.
        asked: how many tokens, from which line; with `sample: spread` the seed draws a document, or of one text the
            line where counting begins.

    Returns:
        The text from that line on; and `text`, its name, with `text_source`.

    Raises:
        SparsityLabError: as `open_text`, or there is no such line.
    """
    source = open_text(text, column=asked.text_column, pack=asked.pack)
    number, read = (_drawn if asked.sample == SPREAD else _first)(source, asked)
    where = {"first_document": number} if source.has_documents or isinstance(source, Packed) else {}
    only = {"last_document": number, "documents_used": 1} if source.has_documents else {}
    said = {**source.described(), **where, **only, "first_line": asked.line}
    if asked.sample == SPREAD:
        said["drawn_by_seed"] = asked.seed
    return from_line(read, asked.line, name=str(text)), {"text": name_of(text), "text_source": said}


def from_line(text: FileText, line: int, *, name: str) -> FileText:
    """A text from one of its lines on, the first being 1.

    Raises:
        SparsityLabError: it has no such line.
    """
    lines = text.splitlines(keepends=True)
    if not 1 <= line <= len(lines):
        raise SparsityLabError(f"{name} has {len(lines)} lines, no line {line}", fix="Name another --line")
    rest = FileText("".join(lines[line - 1 :]).strip())
    rest.line_ends = text.line_ends
    return rest


def _first(source: TextSource, asked: HeatSettings) -> tuple[int, FileText]:
    """The beginning of a text, or its first document that is not blank, and that one's number."""
    if isinstance(source, TextFile | Packed):
        return 0, source.whole(max(WHOLE_TEXT_BYTES, asked.tokens * BYTES_PER_TOKEN))
    whole = ((number, document.whole()) for number, document in enumerate(source.each()))
    return next((number, text) for number, text in whole if text.strip())


def _drawn(source: TextSource, asked: HeatSettings) -> tuple[int, FileText]:
    """A document that the seed draws, where packed with those behind it, or a text from a line that it draws."""
    share = np.random.default_rng(asked.seed).random()
    after = WHOLE_TEXT_BYTES + asked.tokens * BYTES_PER_TOKEN
    if isinstance(source, TextFile):
        passage = source.passage_at(Position(0, int(share * source.size)), before=0, after=after)
        begun = FileText(passage.text[passage.at :].partition("\n")[2])
        begun.line_ends = passage.line_ends
        return (0, begun) if begun.strip() else _first(source, asked)
    begin, count = int(share * source.count()), source.count()
    numbers = ((begin + i) % count for i in range(count))
    number = next(each for each in numbers if source.document(each).whole().strip())
    if not isinstance(source, Packed):
        return number, source.document(number).whole()
    passage = source.passage_at(Position(number, 0), before=0, after=after)
    packed = FileText(passage.text)
    packed.line_ends = passage.line_ends
    return number, packed
