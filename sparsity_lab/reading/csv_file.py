"""Tables of users as spreadsheets, loggers and pandas write them: a header and rows of text, read where that is sure.

Separators (comma, semicolon, tab), encodings with a mark, blanks around cells, comment lines above the header, and
numbers as `0,5`, `1 000 000` or `1,000,000` (`csv_numbers`) are read; what may mean two things is refused, with the
row and the change to make. Cells keep their text, except that a number is written as Python writes it.
"""

from __future__ import annotations

import codecs
import csv
import io
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.labels import counted
from sparsity_lab.reading import csv_numbers
from sparsity_lab.reading.texts.text_file import other_kind
from sparsity_lab.reading.unreadable import conflict, stand_in

logger = logging.getLogger(__name__)

MEASURED = "content_key"  # only a table of `measure` has it; its units are known
FAILED, FLAGS = "failed", "flags"  # its columns of why a row has no number, and of findings about the number
Rows = list[tuple[int, dict[str, str]]]
Lines = list[tuple[int, list[str]]]  # cells, each with the number of their last line in the file
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
CELL_BYTES = 1 << 24
_BLANKS = " \t\r\n\f\v\u00a0\u2007\u202f\u2009\u200b\ufeff"
_DECLARED = re.compile(r"\"?sep=([,;\t|])\"?[ \t]*(?:\r\n|\r|\n|$)", re.IGNORECASE)
_COMMENT = re.compile(r"[ \t]*(?:#[^\r\n]*)?(?:\r\n|\r|\n)")
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def read_csv(
    path: Path, *, fix: str = "Give a CSV in UTF-8 with a header", as_written: bool = False
) -> tuple[list[str], Rows]:
    """The header, and each row with the number of its last line; empty lines are left out.

    Rows of a table of `measure` whose checkpoint failed are left out as well; that, and flags, are noted.

    Args:
        path: which file.
        fix: what to do where it is not a table.
        as_written: for display: numbers keep their spelling, columns may have numbers for names, and an empty file has
            no columns.

    Raises:
        SparsityLabError: unreadable, in an unknown encoding, empty, without a header, a column twice, a row of another
            length, or a number that may be two; names the row.
    """
    text, above = _below_comments(_text(path, fix), path)
    text, declared = _without_declaration(text)
    lines = _lines(path, text, above + bool(declared), declared)
    if not lines and as_written:
        return [], []
    if not lines:
        raise SparsityLabError(f"The table {path} is empty", fix="Give a CSV with a header and rows")
    header, rows = lines[0][1], lines[1:]
    if not as_written:
        _refuse_no_header(path, header, rows)
    rows = _whole_rows(path, header, rows)
    columns = _columns(path, header, rows)
    cells = {header[at]: [row[at] for _, row in rows] for at in columns}
    if not as_written:
        cells = _plain_numbers(path, cells, [line for line, _ in rows])
    read = [(line, {n: c[at] for n, c in cells.items()}) for at, (line, _) in enumerate(rows)]
    return list(cells), _noted(path, read) if MEASURED in cells and not as_written else read


def has_failed(row: Mapping[str, object]) -> bool:
    """Whether a row is one of `measure` whose checkpoint failed."""
    return MEASURED in row and bool(row.get(FAILED))


def _noted(path: Path, rows: Rows) -> Rows:
    """The rows that hold numbers; notes count those that do not, and those with flags."""
    kept = [(line, row) for line, row in rows if not has_failed(row)]
    if left_out := [line for line, row in rows if has_failed(row)]:
        logger.warning(
            "%s: left out %s of checkpoints that failed (line %s).",
            path.name, counted(len(left_out), "row"), ", ".join(map(str, left_out)),
        )  # fmt: skip
    flagged = [row[FLAGS].split() for _, row in kept if row.get(FLAGS)]
    if flagged:
        counts = Counter(flag for flags in flagged for flag in flags)
        logger.warning(
            "%s: %d of %s with flags, whose numbers are used: %s.",
            path.name, len(flagged), counted(len(kept), "row"),
            ", ".join(f"{n} {flag}" for flag, n in sorted(counts.items())),
        )  # fmt: skip
    return kept


def _text(path: Path, fix: str) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        why = error.strerror or str(error)
        raise SparsityLabError(f"Cannot read the table {path}", why=why, fix=fix) from error
    if (kind := other_kind(raw[:8], name=str(path), table=True)) is not None:
        raise SparsityLabError(f"The table {path} is {kind[0]}, not a CSV", fix=kind[1])
    if why := stand_in(raw):
        raise SparsityLabError(f"There is another file in place of the table {path}", why=why, fix=fix)
    if why := conflict(raw):
        raise SparsityLabError(
            f"Cannot read the table {path}", why=why, fix="Resolve it, and read the table again"
        )
    mark, encoding = next(((m, e) for m, e in _MARKS if raw.startswith(m)), (b"", "utf-8"))
    try:
        text = raw[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        row = raw[: error.start].count(b"\n") + 1
        raise SparsityLabError(
            f"The table {path} is not in UTF-8: row {row} has a byte that is not",
            why="Which letter it stands for depends on the encoding it was written in",
            fix="Save it as CSV in UTF-8, or convert it, for example with `iconv -f latin1 -t utf-8`",
        ) from error
    if "\0" in text:
        raise SparsityLabError(
            f"The table {path} holds NUL bytes",
            why="It is UTF-16 without a byte order mark, or not text",
            fix="Save it as CSV in UTF-8, or convert it, for example with `iconv -f utf-16le -t utf-8`",
        )
    return text


def _below_comments(text: str, path: Path) -> tuple[str, int]:
    """The text from the first line that is neither blank nor a comment, and how many lines are above it."""
    at = count = comments = 0
    while (match := _COMMENT.match(text, at)) is not None:
        comments += bool(match[0].strip())
        at, count = match.end(), count + 1
    if comments:
        logger.info("%s: left out %s above the header.", path.name, counted(comments, "comment line"))
    return text[at:], count


def _without_declaration(text: str) -> tuple[str, str | None]:
    """The text below Excel's `sep=;`, and the separator that this names."""
    match = _DECLARED.match(text)
    return (text, None) if match is None else (text[match.end() :], match[1])


def _lines(path: Path, text: str, above: int, declared: str | None) -> Lines:
    """The cells of each line that has any, split by whichever separator the lines agree on."""
    if declared is not None:
        return _split(path, text, declared, above)
    by_mark: dict[str, Lines] = {}
    faults: list[SparsityLabError] = []
    for mark in [mark for mark in SEPARATORS if mark in text] or [","]:
        try:
            by_mark[mark] = _split(path, text, mark, above)
        except SparsityLabError as error:  # quotes do not fit where the separator is another
            faults.append(error)
    several = {mark: lines for mark, lines in by_mark.items() if lines and len(lines[0][1]) > 1}
    agreeing = [mark for mark, lines in several.items() if _agree(lines)]
    if len(agreeing) > 1:
        first, other = (SEPARATORS[mark] for mark in agreeing[:2])
        raise SparsityLabError(
            f"The separator of the table {path} is not certain",
            why=f"Its lines have as many cells as its header whether they are split at {first} or at {other}",
            fix=f"Put quotes around the cells that hold {other} or {first}",
        )
    if faults and not agreeing:
        raise faults[0]
    mark = (agreeing or list(several) or list(by_mark))[0]
    if mark != "," and several:
        logger.info("%s: its cells are separated by %s.", path.name, SEPARATORS[mark])
    elif not several:
        _refuse_other_separators(path, by_mark[mark])
    return by_mark[mark]


def _split(path: Path, text: str, mark: str, above: int) -> Lines:
    csv.field_size_limit(CELL_BYTES)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, skipinitialspace=True, strict=True)
    lines: Lines = []
    try:
        for cells in reader:
            stripped = [cell.strip(_BLANKS) for cell in cells]
            if any(stripped):
                lines.append((above + reader.line_num, stripped))
    except csv.Error as error:
        first = lines[-1][0] + 1 if lines else above + 1
        raise SparsityLabError(
            f"Cannot read the table {path}: row {first} or a later one is not CSV",
            why=f"The reader says: {error}",
            fix="Close the quotation marks there, and write one inside a quoted cell twice",
        ) from error
    return lines


def _agree(lines: Lines) -> bool:
    """Whether each line has as many cells as the first, less empty ones at its end."""
    width = _filled(lines[0][1])
    return all(_filled(cells) <= width <= len(cells) for _, cells in lines[1:])


def _filled(cells: Sequence[str]) -> int:
    """The number of cells up to the last that is not empty."""
    return max((at + 1 for at, cell in enumerate(cells) if cell), default=0)


def _refuse_other_separators(path: Path, lines: Lines) -> None:
    """Refuse a table of one column that is several by another separator."""
    for mark, name in (("|", "bars"), (None, "blanks")):
        widths = {len([part for part in cells[0].split(mark) if part.strip()]) for _, cells in lines}
        if len(lines) > 1 and len(widths) == 1 and widths.pop() > 1:
            raise SparsityLabError(
                f"The cells of the table {path} seem to be separated by {name}",
                fix="Put commas, semicolons or tabs between them",
            )


def _refuse_no_header(path: Path, header: list[str], rows: Lines) -> None:
    """Refuse a first row of numbers, which names no columns."""
    numbers = [csv_numbers.is_number(cell) for cell in header if cell]
    below = [csv_numbers.is_number(cell) for cell in rows[0][1] if cell] if rows else []
    if all(numbers) or (any(numbers) and numbers == below):
        raise SparsityLabError(
            f"The table {path} has no column names: its first row is {', '.join(header)}"[:400],
            fix="Write the names of the columns into a first row, without a # in front",
        )


def _whole_rows(path: Path, header: list[str], rows: Lines) -> Lines:
    """Each row with as many cells as the header; the header repeated further down is left out.

    Raises:
        SparsityLabError: a row has more or fewer cells.
    """
    width, whole = _filled(header), []
    if again := [line for line, cells in rows if cells == header]:
        logger.info("%s: row %d repeats the header; it is left out.", path.name, again[0])
    for line, cells in rows:
        if cells == header:
            continue
        if len(cells) < width or any(cells[width:]):
            begins = f", column {header[len(cells)]!r}" if len(cells) < width else ""
            above = width == 1 and len({len(row) for _, row in rows}) == 1
            raise SparsityLabError(
                f"{path}: row {line}{begins}: the row has {len(cells)} cells, the header has {width}",
                fix="Remove what is above the names of the columns"
                if above
                else "Put a separator between all cells, write numbers with a decimal point and without separators "
                "of thousands",
            )
        whole.append((line, cells[:width]))
    return whole


def _columns(path: Path, header: list[str], rows: Lines) -> list[int]:
    """Places of the columns that have a name; of two that hold the same throughout, the first.

    Raises:
        SparsityLabError: two columns of one name differ.
    """
    places: dict[str, int] = {}
    for at, name in enumerate(header[: _filled(header)]):
        first = places.setdefault(name, at) if name else at
        if first == at:
            continue
        if not rows or any(cells[first] != cells[at] for _, cells in rows):
            raise SparsityLabError(
                f"{path}: row 1 (the header) has the column {name!r} twice",
                fix="Rename or remove one of them",
            )
        logger.info("%s: the column %r is there twice with equal cells; it is read once.", path.name, name)
    return list(places.values())


def _plain_numbers(
    path: Path, columns: Mapping[str, Sequence[str]], lines: Sequence[int]
) -> dict[str, list[str]]:
    """Cells by column, numbers of other spellings as Python writes them.

    Raises:
        SparsityLabError: the table has decimal commas, and a number with a point that may separate thousands.
    """
    read = {name: csv_numbers.CellNumbers(cells) for name, cells in columns.items()}
    commas = [name for name, column in read.items() if column.decimal_commas]
    if commas:
        logger.info("%s: numbers such as 0,5 are read as 0.5 (column %s).", path.name, ", ".join(commas))
    for name, cells in columns.items():
        if (at := read[name].unclear_point(commas=bool(commas))) is not None:
            raise SparsityLabError(
                f"{path}: row {lines[at]}, column {name!r}: {cells[at]} may be {cells[at].replace('.', '')} as well",
                why="The table has decimal commas, or points that separate thousands",
                fix="Write all its numbers with decimal points and without separators of thousands",
            )
    return {name: column.plain() for name, column in read.items()}
