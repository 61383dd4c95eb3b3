"""How texts differ, compared with the errors within them: the rows of `texts.csv`, and what `transfer.md` says of them.

For each checkpoint there is a row on the activation ratios that the texts find, each with its own thresholds. The
calibrations' errors count here, which hold the noise of the knob found; those of the matrix hold at fixed thresholds.
A further row is on the loss rises with own thresholds. A requested value is not a finding: at PPL-p% there is no row on
the rise, at an activation ratio none on the ratio. With four texts or more, a row for each calibration is on the loss
rises that its thresholds cause on the others, with errors at these thresholds. Two others would give intervals of
Student's t of 12.7, and nothing that the matrix does not show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sparsity_lab.measure.texts.random_effects import Pooled, pooled
from sparsity_lab.measure.work.failures import FAILED, measured
from sparsity_lab.settings import THE_CORPUS, THIS_TEXT
from sparsity_lab.store import tables
from sparsity_lab.store.table_columns.measured import TEXTS

Row = dict[str, Any]
CALIBRATION = "calibration"  # of a row of a transfer: the record that its thresholds are of
RATIO, RISE = "activation_ratio", "loss_rise_nats"
WORDS = {RATIO: ("activation ratio", 4), RISE: ("loss rise (nats)", 5)}
SAME_FOR_ALL = (
    "series", "model", "revision", "criterion", "rule", "ppl_increase_target", "activation_ratio_target",
)  # fmt: skip
LEAST_OTHERS = 3  # texts that a calibration's thresholds are carried to, for a row on them
HEADINGS = ("", "texts", "mean [95 %]", "sd between texts", "mean error within", "new text [95 %]")
ABOUT = (
    "The mean's interval allows for errors within texts and for differences between them. A standard deviation of 0 "
    "means that the errors alone are enough to explain the differences. *New text* is where the number of a further "
    "text of the same kind lies; the error of measuring it comes on top.\n"
)
TWO = "Two texts say little about others: Student's t of one degree of freedom is 12.7.\n"


@dataclass(frozen=True)
class _Numbers:
    """What several measurements say of one quantity, a text each.

    Attributes:
        quantity: `RATIO` or `RISE`.
        calibrated_on: the text whose thresholds were applied, or None where each text has its own.
        texts: names of the texts measured on.
        records: of the measurements.
    """

    quantity: str
    calibrated_on: str | None
    texts: Sequence[str]
    records: Sequence[Row]

    def values(self) -> list[float]:
        """The number of each text."""
        if self.quantity == RATIO:
            return [record["activation_ratio"] for record in self.records]
        return [record["loss_sparse_nats"] - record["loss_dense_nats"] for record in self.records]

    def errors(self) -> list[float]:
        """The standard error of each, within its text."""
        key = "activation_ratio_se" if self.quantity == RATIO else "loss_delta_se_nats"
        return [record[key] for record in self.records]

    def flags(self) -> str:
        """The flags of all measurements, each once."""
        words = (word for record in self.records for word in _flags(record))
        return " ".join(dict.fromkeys(words))

    def local(self) -> list[str]:
        """The texts whose errors hold for that text alone."""
        return [
            name
            for name, record in zip(self.texts, self.records, strict=True)
            if record.get("errors_hold_for") == THIS_TEXT
        ]


def between_rows(rows: Sequence[Row]) -> list[Row]:
    """The rows of `texts.csv`, of the rows of a transfer; checkpoints that failed keep their row."""
    sound = measured(rows)
    models = dict.fromkeys((row["model"], row["revision"]) for row in sound)
    of_models = ([row for row in sound if (row["model"], row["revision"]) == model] for model in models)
    return [_row(group[0], numbers) for group in of_models for numbers in _numbers(group)] + [
        row for row in rows if row.get(FAILED)
    ]


def between_markdown(rows: Sequence[Row]) -> list[str]:
    """What the texts of one checkpoint say of others of their kind, for readers.

    Args:
        rows: of the transfer, of one checkpoint.
    """
    groups = _numbers(rows)
    lines = [_shown(_row(rows[0], numbers)) for numbers in groups]
    notes = [ABOUT]
    if any(len(numbers.texts) == 2 for numbers in groups):
        notes.append(TWO)
    if local := sorted({name for numbers in groups for name in numbers.local()}):
        notes.append(
            f"The errors within {', '.join(local)} are too small for the text as a whole, and what they lack counts as "
            "a difference between texts. The intervals stand.\n"
        )
    own = [_each(numbers) for numbers in groups if numbers.calibrated_on is None]
    return ["between texts\n", *own, tables.to_markdown(lines, HEADINGS), *notes]


def _numbers(rows: Sequence[Row]) -> list[_Numbers]:
    """What a checkpoint's transfer is asked: own thresholds first, then each text's on the others."""
    own = {row["calibrated_on"]: row[CALIBRATION] for row in rows}
    asked = {RATIO: rows[0]["activation_ratio_target"], RISE: rows[0]["ppl_increase_target"]}
    found = [
        _Numbers(quantity, None, list(own), list(own.values()))
        for quantity in (RATIO, RISE) if asked[quantity] is None
    ]  # fmt: skip
    for name in own if len(own) > LEAST_OTHERS else ():
        others = [row for row in rows if row["calibrated_on"] == name != row["measured_on"]]
        found.append(_Numbers(RISE, name, [row["measured_on"] for row in others], others))
    return found


def _row(first: Row, numbers: _Numbers) -> Row:
    """The row of `texts.csv` on some numbers of a checkpoint, whose first row of a transfer is given."""
    together = pooled(np.array(numbers.values()), np.array(numbers.errors()))
    return {
        **{key: first[key] for key in SAME_FOR_ALL},
        "knob": first["knob"] if first["rule"] == "fixed" else None,
        "quantity": numbers.quantity,
        "calibrated_on": numbers.calibrated_on,
        "texts": len(numbers.texts),
        **_columns(together, is_ratio=numbers.quantity == RATIO),
        "errors_hold_for": THIS_TEXT if numbers.local() else THE_CORPUS,
        "flags": numbers.flags(),
    }


def _columns(together: Pooled, *, is_ratio: bool) -> Row:
    """The numbers under the table's keys; intervals of a ratio end at 0 and 1."""
    values = {name: float(value) for name, value in asdict(together).items()}
    if is_ratio:
        for name in ("low", "high", "new_low", "new_high"):
            values[name] = min(max(values[name], 0.0), 1.0)
    keys = {"low": "mean_low", "high": "mean_high", "between": "between_sd", "within": "within_se"}
    return {keys.get(name, name): value for name, value in values.items()}


def _flags(record: Row) -> Sequence[str]:
    """The flags of a record, or of a row of a transfer, which holds them as text."""
    flags = record["flags"]
    return flags.split() if isinstance(flags, str) else flags


def _each(numbers: _Numbers) -> str:
    """The numbers of all texts with their errors, in one line."""
    words, digits = WORDS[numbers.quantity]
    each = (
        f"{name} {value:.{digits}f} ± {error:.{digits}f}"
        for name, value, error in zip(numbers.texts, numbers.values(), numbers.errors(), strict=True)
    )
    return f"{words} with own thresholds, the noise of finding them included: {', '.join(each)}\n"


def _shown(row: Row) -> Row:
    """A row as readers see it."""
    words, digits = WORDS[row["quantity"]]
    whose = f"thresholds of {row['calibrated_on']} on others" if row["calibrated_on"] else "own thresholds"
    number = {key: f"{row[key]:.{digits}f}" for key in TEXTS.header if isinstance(row.get(key), float)}
    cells = (
        f"{words}, {whose}",
        row["texts"],
        f"{number['mean']} [{number['mean_low']}, {number['mean_high']}]",
        number["between_sd"],
        number["within_se"],
        f"[{number['new_low']}, {number['new_high']}]",
    )
    return dict(zip(HEADINGS, cells, strict=True))
