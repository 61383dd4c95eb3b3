"""Numbers as people and spreadsheets write them: `0,5`, `1 000 000`, `1,000,000.5`, `1_000` and `1.000.000,5`.

A mark is a decimal one or separates thousands. One cell often says which, and if not, another of its column may. What
neither says, such as `1,234`, stays as it is, and whoever needs a number there refuses it with `problem`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# What spreadsheets and people write for a missing value. `nan` is not among them: programs write it for a failure.
MISSING = frozenset({"", "n/a", "na", "#n/a", "-", "--", "\N{EN DASH}", "\N{EM DASH}", "none", "null", "?"})
_PARTS = re.compile(r"([+-]?)([0-9][0-9., ]*|[.,][0-9]+)((?:[eE][+-]?[0-9]+)?)")
_PLAIN = re.compile(r"([+-]?)([0-9]+)(?:\.([0-9]+))?((?:[eE][+-]?[0-9]+)?)")
_GAPS = re.compile(r"(?<=[0-9])[\u00a0\u2007\u202f\u2009'\u2019_ ](?=[0-9])")
_DIGIT = re.compile("[0-9]")
_GROUPED = re.compile(r"[0-9]{1,3}(?:([., ])[0-9]{3})(?:\1[0-9]{3})*")
_UNCLEAR = re.compile(r"[1-9][0-9]{0,2}([.,])[0-9]{3}")
_WITH_UNIT = re.compile(r"[+-]?[0-9][0-9.,]*(?:[eE][+-]?[0-9]+)?\s*[A-Za-z\u00b5][\w/ ]{0,20}")
_PYTHON = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
DECIMAL, THOUSANDS = "decimal", "thousands"
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b.*|\d{4}-\d{2}-\d{2}T.*")


@dataclass(frozen=True)
class _Reading:
    """A cell that is a number.

    Attributes:
        sign, exponent: as written. whole, fraction: digits before and behind the decimal mark; of an unclear number
            those around its mark.
        decimal: the decimal mark, or empty. thousands: the mark of thousands, or empty.
        unclear: the mark that may be either, or empty.
    """

    sign: str
    whole: str
    fraction: str
    exponent: str
    decimal: str = ""
    thousands: str = ""
    unclear: str = ""

    def text(self, *, thousands: bool = False) -> str:
        """The number as Python writes it; an unclear mark is a decimal one unless it separates thousands."""
        if thousands:
            return f"{self.sign}{self.whole}{self.fraction}"
        return f"{self.sign}{self.whole or '0'}{'.' if self.fraction else ''}{self.fraction}{self.exponent}"


def _read(text: str) -> _Reading | None:
    """What a cell says as a number; None where it is none."""
    if (usual := _PLAIN.fullmatch(text)) is not None:
        sign, whole, fraction, exponent = usual.groups(default="")
        if exponent or len(fraction) != 3 or len(whole) > 3 or whole[0] == "0":  # else 1.234 is not clear
            return _Reading(sign, whole, fraction, exponent, decimal="." if fraction else "")
    if _DIGIT.search(text) is None:
        return None
    parts = _PARTS.fullmatch(_GAPS.sub(" ", text.replace("\N{MINUS SIGN}", "-")))
    if parts is None:
        return None
    sign, digits, exponent = parts[1], parts[2], parts[3]
    if not exponent and (mark := _UNCLEAR.fullmatch(digits)):
        whole, fraction = digits.split(mark[1])
        return _Reading(sign, whole, fraction, "", unclear=mark[1])
    if digits.endswith(","):
        return None
    if grouped := _GROUPED.fullmatch(digits):
        if exponent and grouped[1] != " " and digits.count(grouped[1]) == 1:  # 1,234e9 has a decimal comma
            whole, fraction = digits.split(grouped[1])
            return _Reading(sign, whole, fraction, exponent, decimal=grouped[1])
        if digits[0] != "0":
            return _Reading(sign, re.sub("[^0-9]", "", digits), "", exponent, thousands=grouped[1])
    marks = [at for at, letter in enumerate(digits) if letter in ".,"]
    whole, fraction = (digits[: marks[-1]], digits[marks[-1] + 1 :]) if marks else (digits, "")
    inside = _GROUPED.fullmatch(whole)
    if not (fraction.isdigit() or not fraction) or not (whole.isdigit() or not whole or inside):
        return None
    thousands, decimal = inside[1] if inside else "", digits[marks[-1]] if marks else ""
    if thousands and thousands == decimal:
        return None
    return _Reading(sign, re.sub("[^0-9]", "", whole), fraction, exponent, decimal, thousands)


def is_number(text: str) -> bool:
    """Whether a cell is a number in any spelling, clear or not."""
    return _read(text) is not None


class CellNumbers:
    """The cells of a column, each read as a number once."""

    def __init__(self, cells: Sequence[str]) -> None:
        """Read them."""
        self.cells = cells
        self._readings = [_read(text) for text in cells]

    @property
    def decimal_commas(self) -> bool:
        """Whether a cell has a comma that can only be a decimal one."""
        return any(reading is not None and reading.decimal == "," for reading in self._readings)

    def unclear_point(self, *, commas: bool) -> int | None:
        """The place of a number whose point may separate thousands, which no other cell decides.

        Args:
            commas: the table has decimal commas.
        """
        said = _said(self._readings, ".")
        if said in (DECIMAL, THOUSANDS) or (said == "" and not commas):
            return None
        unclear = (at for at, one in enumerate(self._readings) if one is not None and one.unclear == ".")
        return next(unclear, None)

    def plain(self) -> list[str]:
        """The cells, each number that is clear as Python writes it; all else unchanged.

        A column in which more than half of the cells are not numbers is one of names, and is unchanged.
        """
        filled = sum(text.lower() not in MISSING for text in self.cells)
        if 2 * sum(one is not None for one in self._readings) < filled:
            return list(self.cells)
        said = {mark: _said(self._readings, mark) for mark in ".,"}
        return [_plain(text, one, said) for text, one in zip(self.cells, self._readings, strict=True)]


def number(text: str) -> float:
    """The number of a cell as Python writes it.

    Raises:
        ValueError: it is none.
    """
    if "_" in text:  # Python reads 1_0 as 10
        raise ValueError(f"{text!r} is not a number")
    return float(text)


def _plain(text: str, reading: _Reading | None, said: dict[str, str]) -> str:
    if reading is None:
        return text
    if reading.unclear == ".":
        return reading.text(thousands=said["."] == THOUSANDS)
    if reading.unclear:
        return reading.text(thousands=said[","] == THOUSANDS) if said[","] in (DECIMAL, THOUSANDS) else text
    return text if _PYTHON.fullmatch(text) else reading.text()


def _said(readings: Iterable[_Reading | None], mark: str) -> str:
    """What a column's clear numbers say of a mark: decimal, thousands, both, or nothing."""
    numbers = [reading for reading in readings if reading is not None]
    decimal, thousands = (
        any(reading.decimal == mark for reading in numbers),
        any(reading.thousands == mark for reading in numbers),
    )
    return DECIMAL * decimal + THOUSANDS * thousands


def problem(text: str, *, percent: str = "") -> tuple[str, str]:
    """Why a cell is not a number, and how to write it; for errors.

    Args:
        text: the cell. percent: what else to do about a percent sign, or empty.
    """
    reading = _read(text)
    if reading is not None and reading.unclear:
        wide, narrow = reading.text(thousands=True), reading.text()
        return f"It may be {wide} or {narrow}", f"Write it as {wide} or as {narrow}"
    if text.endswith(("%", "\u2030")):
        return "It has a percent sign", f"Write the number alone{percent}"
    if text.lower() in ("true", "false", "yes", "no"):
        return "That is not a number", "Name a column of numbers, or write 1 and 0"
    if _DATE.fullmatch(text):
        return "That is not a number but a date", "Name a column of numbers"
    if _WITH_UNIT.fullmatch(text) and not re.fullmatch(r"0[xX].*", text):
        return "It has a unit or a word behind the number", (
            "Write the number alone, and the unit into the column's name, as in tokens (1e9)"
        )
    return "That is not a number", "Correct the cell, or remove its row"
