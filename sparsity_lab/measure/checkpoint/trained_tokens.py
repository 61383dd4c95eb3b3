"""How many tokens a checkpoint was trained on: what its curve is drawn against, and no part of its numbers.

The first of these that knows it says so:

1. a CSV of the user's, with columns `checkpoint` and `trained_tokens`;
2. `sparsity_lab.json` next to the weights, key `trained_tokens`;
3. `trainer_state.json` of transformers, key `num_input_tokens_seen` (0 where the Trainer did not count);
4. steps times the tokens of a step, where the latter are given; steps from `trainer_state.json`
   (`global_step`), else from the name: `step143000`, `checkpoint-500`, `stage1-step1000-tokens5B`;
5. the tokens a name speaks of, `tokens5B`, which are rounded.

Names of later stages (`stage2-...`) count from that stage's own start, so neither 4 nor 5 reads them.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.measure.checkpoint.source import Source
from sparsity_lab.reading import csv_numbers, units
from sparsity_lab.reading.csv_file import read_csv
from sparsity_lab.reading.json_file import read_object
from sparsity_lab.reading.units import Unit

logger = logging.getLogger(__name__)

COLUMNS = ("checkpoint", "trained_tokens")
MOST_TOKENS = 10**18
NAME_IT = "Name another unit in the column's own name: trained_tokens_b, trained_tokens (1e6), or trained_tokens (1)"
MEND_BESIDE = "Copy it again from where the checkpoint was made, or remove it"
STEPS = re.compile(r"(?:^|[^a-z])(?:steps?|checkpoint|ckpt|iter)[-_]?(\d+)([km]?)(?![a-z0-9])", re.IGNORECASE)
TOKENS = re.compile(r"(?:^|[^a-z])tokens?[-_]?(\d+(?:\.\d+)?)([kmbt]?)(?![a-z0-9.])", re.IGNORECASE)
LATER_STAGE = re.compile(r"(?:^|[^a-z])(?:stage[-_]?(?:[2-9]|1\d)|ingredient)", re.IGNORECASE)
UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}


class Origin(Enum):
    """Where the trained tokens of a checkpoint were found, and how a note says so."""

    TABLE = "the CSV"
    ABOUT = "sparsity_lab.json"
    STATE = "trainer_state.json"
    STEPS = "steps times --tokens-per-step"
    NAME = "the tokens said in their names"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class TokenCounts:
    """Sources of trained tokens other than the checkpoints' own files.

    Attributes:
        table: of the user's CSV, tokens by checkpoint name; empty without one.
        tokens_per_step: tokens of one training step, or None.
    """

    table: Mapping[str, int] = field(default_factory=dict)
    tokens_per_step: int | None = None

    def of(self, source: Source) -> tuple[int | None, Origin]:
        """Trained tokens of a checkpoint, or None, and where they were found.

        Raises:
            SparsityLabError: a file next to the weights cannot be read.
        """
        names = [name for name in names_of(source) if name in self.table]
        if names:
            return self.table[names[0]], Origin.TABLE
        about, state = (_beside(source, origin.value) for origin in (Origin.ABOUT, Origin.STATE))
        for key, values, origin in (
            ("trained_tokens", about, Origin.ABOUT),
            ("num_input_tokens_seen", state, Origin.STATE),
        ):
            if found := _count(values.get(key), f"{key} of {source.folder}/{origin.value}"):
                return found, origin
        return self._of_name(source, steps=state.get("global_step"))

    def _of_name(self, source: Source, *, steps: object) -> tuple[int | None, Origin]:
        name = _last_name(source)
        if self.tokens_per_step is not None:
            done = steps if isinstance(steps, int) else steps_in(name)
            if done is not None:
                return done * self.tokens_per_step, Origin.STEPS
        said = tokens_in(name)
        return said, Origin.UNKNOWN if said is None else Origin.NAME


def steps_in(name: str) -> int | None:
    """Steps that a revision's or a folder's name speaks of, or None."""
    return _last(STEPS, name)


def tokens_in(name: str) -> int | None:
    """Tokens that a revision's or a folder's name speaks of, `tokens5B`, or None."""
    return _last(TOKENS, name)


def names_of(source: Source) -> list[str]:
    """What a CSV may call a checkpoint, the fullest first.

    Those are ID@REVISION or the path as given, then the revision, or the last two and the last part of the path.
    """
    if source.revision is not None:
        return [str(source), source.revision]
    path = Path(source.model)
    if source.folder is None:
        return [source.model]
    parts = path.resolve().parts
    return [source.model, str(path), str(path.resolve()), "/".join(parts[-2:]), parts[-1]]


def read_table(path: Path) -> dict[str, int]:
    """Tokens by checkpoint name, from a CSV with columns `checkpoint` and `trained_tokens`.

    The second may name its unit: `trained_tokens_b`, `trained_tokens (1e9)`.

    Raises:
        SparsityLabError: unreadable, a column missing, a checkpoint without a name or there twice, or a value that
            is no count; row and column are named.
    """
    table: dict[str, int] = {}
    header, rows = read_csv(path, fix=f"Give a CSV in UTF-8 with {' and '.join(COLUMNS)}")
    unit = _unit(path, header)
    for line, row in rows:
        name, tokens = _row(path, line, row, unit)
        if name in table:
            raise SparsityLabError(
                f"Row {line} of {path}: the checkpoint {name!r} is there twice",
                fix="Remove one of the rows",
            )
        table[name] = tokens
    if not table:
        raise SparsityLabError(f"The table {path} has no rows", fix="Give it one for each checkpoint")
    units.check(unit, list(map(float, table.values())), table=str(path), fix=NAME_IT)
    logger.info("%s: %s read in %s.", path.name, unit.column, unit)
    return table


def refuse_strangers(counts: TokenCounts, sources: Iterable[Source], *, path: Path) -> None:
    """Refuse a table of which no row is about any of the checkpoints.

    Raises:
        SparsityLabError: no row names one.
    """
    named = list(sources)
    if not any(name in counts.table for source in named for name in names_of(source)):
        raise SparsityLabError(
            f"No row of {path} is about a checkpoint of this run",
            why=f"It names {next(iter(counts.table))!r} first, the first checkpoint is {named[0]}",
            fix="Write checkpoints as on the command line, as ID@REVISION, or by their revision or folder name",
        )


def tell_origins(origins: Iterable[Origin], *, tokens_per_step: int | None) -> None:
    """Note where the trained tokens of a run's checkpoints come from, where any are known or asked for."""
    found = Counter(origins)
    if set(found) == {Origin.UNKNOWN} and tokens_per_step is None:
        return
    logger.info(
        "trained tokens: %s",
        ", ".join(
            f"{count} {'' if origin is Origin.UNKNOWN else 'from '}{origin.value}"
            for origin, count in found.items()
        ),
    )
    if tokens_per_step is not None and Origin.STEPS not in found:
        logger.warning(
            "--tokens-per-step was not used: the checkpoints say their tokens themselves, or no steps"
        )


def tell_small(counts: Iterable[int | None]) -> None:
    """Note trained tokens that are so few throughout that they may be in another unit."""
    known = [count for count in counts if count]
    if known and max(known) < units.TOKENS.least:
        logger.info(
            "No checkpoint has more than %d trained tokens: are they counted in thousands or more?",
            max(known),
        )


def tell_unknown(origins: Iterable[tuple[str, Origin]]) -> None:
    """Note the series of several checkpoints of which no trained tokens are known, and how to name them.

    Args:
        origins: of each checkpoint its series, and where its trained tokens were found.
    """
    by_series: dict[str, list[Origin]] = {}
    for series, origin in origins:
        by_series.setdefault(series, []).append(origin)
    bare = [
        series for series, found in by_series.items() if len(found) > 1 and set(found) == {Origin.UNKNOWN}
    ]
    if bare:
        shown = ", ".join(bare[:4]) + (f" and {len(bare) - 4} more" if len(bare) > 4 else "")
        logger.warning(
            "No trained tokens are known of %s, and fit needs them: --trained-tokens CSV or --tokens-per-step N",
            shown,
        )


def _unit(path: Path, header: list[str]) -> Unit:
    """The column of tokens and its unit."""
    name, tokens = COLUMNS
    alike = [one for one in header if units.base_of(one) == units.base_of(tokens)]
    missing = [one for one, there in ((name, name in header), (tokens, bool(alike))) if not there]
    if missing:
        raise SparsityLabError(
            f"The table {path} has no column {missing[0]!r}",
            why=f"Its columns are {', '.join(header) or 'none'}"[:400],
            fix=f"Give it the columns {' and '.join(COLUMNS)}",
        )
    twice = [one for one in (name, *alike) if header.count(one) > 1 or (one in alike and len(alike) > 1)]
    if twice:
        raise SparsityLabError(
            f"The table {path} has the column {twice[0]!r} twice", fix="Rename or remove one of them"
        )
    return units.read_unit(alike[0], units.TOKENS)


def _row(path: Path, line: int, row: Mapping[str, str], unit: Unit) -> tuple[str, int]:
    name, text = row[COLUMNS[0]], row[unit.column]
    if not name:
        raise SparsityLabError(
            f"Row {line} of {path} has no name in the column 'checkpoint'",
            fix="Name the checkpoint, or remove the row",
        )
    try:
        csv_numbers.number(text)
        value = Decimal(text) * Decimal(unit.factor)
    except (ArithmeticError, ValueError):
        value = Decimal("NaN")
    if not value.is_finite() or not 0 <= value <= MOST_TOKENS or value != value.to_integral_value():
        raise SparsityLabError(
            f"Row {line} of {path}, column {unit.column!r}: {text[:80]!r} is not a count of tokens",
            why=f"The column is read in {unit}",
            fix=f"Write a whole number from 0 to {MOST_TOKENS:.0e}, such as 2097152000 or 5e9. {NAME_IT}",
        )
    return name, int(value)


def _count(value: object, where: str) -> int | None:
    """A count of tokens in a file next to the weights; None if the file has none.

    Raises:
        SparsityLabError: it is not a whole number, such as `"5B"`, or 4.2 for billions.
    """
    if value is None:
        return None
    if (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and 0 <= value <= MOST_TOKENS
        and value == int(value)
    ):
        return int(value)
    raise SparsityLabError(
        f"{where} is {value!r}"[:300], why="It is not a count of tokens",
        fix="Write a whole number, such as 5000000000, or name the tokens with --trained-tokens CSV",
    )  # fmt: skip


def _beside(source: Source, name: str) -> Mapping[str, Any]:
    """The JSON object of a file next to the weights; empty if there is no such file."""
    if source.folder is None or not (source.folder / name).is_file():
        return {}
    return read_object(source.folder / name, fix=MEND_BESIDE)


def _last_name(source: Source) -> str:
    """The revision, or the name of the folder or file; a Hub id without a revision has none of these."""
    if source.revision is not None:
        return source.revision
    if source.model.endswith(".gguf"):
        return Path(source.model).stem
    return "" if source.folder is None else source.folder.resolve().name


def _last(pattern: re.Pattern[str], name: str) -> int | None:
    if LATER_STAGE.search(name):
        return None
    found = pattern.findall(name)
    return int(Decimal(found[-1][0]) * UNITS[found[-1][1].lower()]) if found else None
