"""The words of a column's name, its amounts written in one way: `1e9` of `10^9`, `1,000,000,000`, `1B` and `10⁹`.

An amount is a unit when it is in brackets, `tokens (100M)`, or behind the quantity, `tokens_1e9`, `tokens/1B`.
Any other number in a name is the name of something else: `tokens.1`, `run-2`.
"""

from __future__ import annotations

import re

UNCLEAR = "?"  # an amount that is not a power of ten, or may as well be the size of a model
ONE = "count"  # tokens (1)
_LETTERS = {"k": 3, "m": 6, "b": 9, "g": 9, "t": 12}
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_POWER = re.compile(r"\b10\s*(?:\^|\*\*)\s*\{?(\d+)\}?|10([⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
_GROUPED = re.compile(r"(?<![\d.])\d{1,3}(?:([,_' ])\d{3})(?:\1\d{3})*(?!\d)")
_EXPONENT = re.compile(r"(?<=\d)[eE]\+?0*(?=\d)")
_TIMES = re.compile(r"(?<![A-Za-z])[xX](?=\d)")
_AMOUNT = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?(?:e\d+)?)([kmbgt]?)(?![a-z0-9.^*])", re.IGNORECASE)
_BRACKETED = re.compile(r"[(\[{][^)\]}]*[)\]}]?")
_WORD = re.compile(r"\d+e\d+|[a-z]+\d*|\d+|%|‰|\?")


def parts(column: str) -> list[str]:
    """The words of a column's name in lower case, amounts as `1e9`: `D [B tokens]` and `tokensB` as well."""
    metric = column.rpartition(" - ")[2]  # of W&B's RUN - METRIC
    text = _POWER.sub(lambda m: f"1e{m[1] or m[2].translate(_SUPERSCRIPTS)}", metric)
    text = _GROUPED.sub(lambda m: re.sub(r"\D", "", m[0]), text)
    text = _TIMES.sub(" ", _EXPONENT.sub("e", text))
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).replace("_", " ").replace("^", " ^")
    text = _BRACKETED.sub(lambda m: _AMOUNT.sub(_in_brackets, m[0]), text)
    return _WORD.findall(_AMOUNT.sub(_outside, text).lower())


def power_of_ten(amount: str) -> int | None:
    """9 of `1e9` and `1000000000`; None for what is not a power of ten."""
    exact = re.fullmatch(r"(10*)(?:\.0*)?(?:e(\d{1,2}))?", amount)
    return exact and len(exact[1]) - 1 + int(exact[2] or 0)


def _in_brackets(amount: re.Match[str]) -> str:
    power = power_of_ten(amount[1].lower())
    if power is None:
        return UNCLEAR
    power += _LETTERS.get(amount[2].lower(), 0)
    return f"1e{power}" if power else ONE


def _outside(amount: re.Match[str]) -> str:
    """A power of ten from a thousand on, and 1 with a letter; a number with a letter may be the size of a model."""
    power, letter = power_of_ten(amount[1].lower()), amount[2].lower()
    if letter:
        return f"1e{_LETTERS[letter]}" if power == 0 else UNCLEAR
    return amount[0] if power is None or power < 3 else f"1e{power}"
