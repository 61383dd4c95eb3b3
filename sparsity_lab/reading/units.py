"""In which unit a column of a user's table is read, and whether its values can be what they are said to be.

A unit is named by the column (`tokens_b`, `tokens (1e9)`, `D [B tokens]`, `params_m`, `activation_ratio_pct`) or by a
flag (`tokens=1e9`), which wins. Where neither names one, cells are read as they are: whole tokens, parameters, FLOPs,
a fraction, nats. Values that cannot be that stop the run, since a wrong factor changes every number silently.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.reading.unit_names import ONE, UNCLEAR
from sparsity_lab.reading.unit_names import parts as parts

BY_NAME, BY_FLAG, UNNAMED = "by the column's name", "as asked for", "no other unit is named"
LARGEST_FRACTION = 1e6  # a count that is computed rather than counted may have a fraction, but is large
_WORDS = {
    1e3: "k thousand thousands kilo", 1e6: "m mm mn mio mil mill mln million millions mega",
    1e9: "b bn g bil bill bln mrd billion billions giga", 1e12: "t tn tril trln trillion trillions tera",
    1e15: "p peta", 1e18: "e exa", 1e21: "z zetta",
}  # fmt: skip
_SCALES = {
    ONE: 1.0, "counts": 1.0,
    **{word: scale for scale, words in _WORDS.items() for word in words.split()},
    **{f"{sign}e{power}": 10.0**power for power in range(3, 25, 3) for sign in ("", "1")},
    **{f"{sign}{power}": 10.0**power for power in range(3, 25) for sign in ("1e", "10^")},
}  # fmt: skip
_SHARES = {
    "%": 0.01, "pct": 0.01, "percent": 0.01, "percentage": 0.01, "perc": 0.01,
    "‰": 0.001, "permille": 0.001, "permil": 0.001,
    "fraction": 1.0, "share": 1.0, ONE: 1.0,
}  # fmt: skip
_NATS = {"nats": 1.0, "nat": 1.0, "bits": math.log(2.0), "bit": math.log(2.0)}
_PREFIX = re.compile(r"(kilo|mega|giga|tera|peta|exa|zetta|[kmbgtpez])(.*)")  # as in btokens and PFLOPs
# What makes another quantity of it: tokens_per_step, log_tokens, token_id, mean_token_accuracy, param_norm.
_OTHER = frozenset({
    "per", "log", "ln", "lg", "log2", "log10", "sqrt", "exp", "id", "ids", "ratio", "type", "name", "index", "rate",
    "throughput", "day", "days", "hour", "hours", "second", "seconds", "sec", "secs", "accuracy", "acc", "norm", "rms",
    "std", "var", "lr", "entropy", "length", "len", "prob", "scale", "byte", "bytes", "char", "chars", "character",
})  # fmt: skip
_COUNT = r"(?:tokens?|params?|parameters?|flops?)"
_PER = re.compile(rf"\b{_COUNT}\s*/\s*(?:{_COUNT}|s|sec|step)\b", re.IGNORECASE)


# A loss, but not in nats per token: by no factor, unless a flag says so.
PER_SOMETHING_ELSE = frozenset(
    {"byte", "bytes", "char", "chars", "character", "bpb", "bpc", "ppl", "perplexity"}
)


@dataclass(frozen=True)
class Quantity:
    """A kind of number that columns hold.

    Attributes:
        name: as errors and `--unit` call it. words: what a column's name calls it. unit: the unit that cells have where
            none is named, and that all are converted to.
        scales: words of a unit -> what a cell is multiplied by.
        least: where every value is below it, the cells are in another unit. most: where one is above it, they are.
        counted: whether values are whole.
        example: a unit to try, as in `tokens=1e9`.
    """

    name: str
    words: frozenset[str]
    unit: str
    scales: Mapping[str, float]
    least: float = 0.0
    most: float = math.inf
    counted: bool = False
    example: str = "1e9"


TOKENS = Quantity(
    "tokens", frozenset({"tokens", "token", "toks", "tok", "d"}), "tokens", _SCALES, 1e4, 1e15, True
)
PARAMETERS = Quantity(
    "params",
    frozenset({"params", "param", "parameters", "parameter", "n"}),
    "parameters",
    _SCALES,
    1e4,
    1e15,
    True,
)
FLOPS = Quantity(
    "flops", frozenset({"flops", "flop", "compute"}), "FLOPs", _SCALES, 1e9, 1e30, example="1e18"
)
RATIO = Quantity("activation_ratio", frozenset({"ratio"}), "fraction", _SHARES, most=1.0, example="percent")
LOSS = Quantity(
    "loss", frozenset({"loss", "nll", "losses"}), "nats per token", _NATS, most=30.0, example="bits"
)
QUANTITIES = (LOSS, TOKENS, PARAMETERS, FLOPS)


@dataclass(frozen=True)
class Unit:
    """How a column is read.

    Attributes:
        column: its name. quantity: what it holds. factor: what a cell is multiplied by to be in `quantity.unit`.
        origin: who named the unit: `BY_NAME`, `BY_FLAG` or `UNNAMED`.
    """

    column: str
    quantity: Quantity
    factor: float
    origin: str

    def __str__(self) -> str:
        return f"{self.name} ({self.origin})"

    @property
    def name(self) -> str:
        """The unit itself: 1e9 tokens, percent, bits."""
        if self.factor == 1.0:
            return self.quantity.unit
        words = {RATIO.name: {0.01: "percent"}, LOSS.name: {math.log(2.0): "bits"}}.get(
            self.quantity.name, {}
        )
        times = re.sub(r"e\+?(-?)0*", r"e\1", f"{self.factor:g}")
        return words.get(self.factor, f"{times} {self.quantity.unit}")


@dataclass(frozen=True)
class Asked:
    """Units that a flag names: column or quantity -> word of a unit, `tokens` -> `1e9`."""

    words: Mapping[str, str]

    @classmethod
    def of(cls, pairs: Sequence[str]) -> Asked:
        """`tokens=1e9` and the like.

        Raises:
            SparsityLabError: a word that is not COLUMN=UNIT, or a column twice.
        """
        words: dict[str, str] = {}
        for pair in pairs:
            name, equals, word = (part.strip() for part in pair.rpartition("="))
            if not (name and equals and word):
                raise SparsityLabError(f"--unit {pair!r} is not understood", fix="Write --unit tokens=1e9")
            if name in words:
                raise SparsityLabError(f"--unit names {name!r} twice", fix="Name each column once")
            words[name] = word
        return cls(words)

    def key_of(self, column: str, quantity: Quantity) -> str | None:
        """The name under which a flag speaks of a column: its own, or that of its quantity."""
        return next((name for name in (column, quantity.name) if name in self.words), None)

    def refuse_unused(self, units: Iterable[Unit], *, table: str) -> None:
        """Refuse a flag that is about none of the columns read.

        Raises:
            SparsityLabError: there is one.
        """
        read = list(units)
        used = {self.key_of(unit.column, unit.quantity) for unit in read}
        if idle := [name for name in self.words if name not in used]:
            raise SparsityLabError(
                f"--unit {idle[0]}={self.words[idle[0]]} is about no column read of {table}",
                why=f"Columns with a unit are {', '.join(unit.column for unit in read) or 'not among them'}",
                fix="Name one of them, or leave it out",
            )


NOTHING_ASKED = Asked({})


def base_of(column: str, scales: Mapping[str, float] = _SCALES) -> tuple[str, ...]:
    """The words of a column's name that are not a unit: (`trained`, `tokens`) for `trained_tokens (1e9)`."""
    return tuple(word for word in parts(column) if word not in scales and word not in ("in", "x"))


def quantity_of(column: str) -> Quantity | None:
    """What a column's name says it holds; None where it says nothing known, or something made of it."""
    words = {_bare(word) for word in parts(column)}
    if words & _OTHER or _PER.search(column):
        return None
    # A letter alone is a quantity only next to a unit: N (1e9), D [B].
    base = set(base_of(column))
    alone = base if len(base) < len(parts(column)) == 2 else set()
    return next(
        (one for one in QUANTITIES if (words | alone) & {w for w in one.words if len(w) > 1 or w in alone}),
        None,
    )


def read_unit(column: str, quantity: Quantity, asked: Asked = NOTHING_ASKED) -> Unit:
    """The unit of a column.

    Raises:
        SparsityLabError: a flag's word is not a unit of the quantity, or the name has two, or an amount that may be
            something else.
    """
    if (key := asked.key_of(column, quantity)) is not None:
        return Unit(column, quantity, _factor(asked.words[key], quantity, column), BY_FLAG)
    factors = list(dict.fromkeys(_factors(column, quantity)))
    named = [factor for factor in factors if factor is not None]
    if len(factors) > 1 or len(named) < len(factors):
        raise SparsityLabError(
            f"The unit in the name of the column {column!r} is not clear",
            why="It names two" if len(factors) > 1 else "It may be the size of a model, or the name of a run",
            fix=f"Say which: --unit {quantity.name}={quantity.example}, or =1 for none",
        )
    return Unit(column, quantity, *((named[0], BY_NAME) if named else (1.0, UNNAMED)))


def check(unit: Unit, values: Sequence[float], *, table: str, fix: str = "") -> None:
    """Refuse values, in the quantity's own unit, that cannot be what the column is said to hold.

    What a flag or a name such as `tokens (1)` says is believed, but not beyond the largest there can be, unless the
    flag says that cells are that as written. Values of 0 or below are for whoever reads the table.

    Args:
        unit: of the column. values: its cells in `unit.quantity.unit`. table: its name.
        fix: what to do if there is no flag `--unit`.

    Raises:
        SparsityLabError: they cannot; names the flag.
    """
    positive, what = [value for value in values if value > 0], unit.quantity
    sure = unit.origin == BY_FLAG or (unit.origin == BY_NAME and unit.factor == 1.0)
    if not positive:
        return
    fault = None
    broken = [v for v in positive if what.counted and v < LARGEST_FRACTION and abs(v - round(v)) > 1e-6]
    if unit.origin == BY_FLAG and unit.factor == 1.0:
        return
    if max(positive) > what.most:
        fault = f"{max(positive):g} is above {what.most:g}"
    elif sure:
        return
    elif broken:
        fault = f"{broken[0]:g} is not a whole number"
    elif max(positive) < what.least:
        fault = f"all are below {what.least:g}"
    elif unit.factor == 0.01 and max(positive) <= 0.01:
        fault = "all are below 1 percent"
    if fault is not None:
        plain = "fraction" if what is RATIO else "nats" if what is LOSS else "1"
        raise SparsityLabError(
            f"{table}: the column {unit.column!r} is read in {unit}, and its values cannot be that",
            why=fault[0].upper() + fault[1:],
            fix=fix
            or f"Name the unit: --unit {what.name}={what.example}, or ={plain} if that is what they are",
        )


def _bare(word: str) -> str:
    """A word without the prefix of its unit: tokens of btokens and megatokens."""
    prefixed = _PREFIX.fullmatch(word)
    is_prefix = prefixed and any(prefixed[2] in q.words and len(prefixed[2]) > 2 for q in QUANTITIES)
    return prefixed[2] if prefixed and is_prefix else word


def _factors(column: str, quantity: Quantity) -> Iterator[float | None]:
    """What the words of a column's name say of the unit; None where that is not clear.

    A letter or an amount is a unit at the beginning of the name or behind the quantity; elsewhere, as in
    `model_b_tokens`, it may be anything.
    """
    begun = False
    for place, word in enumerate(parts(column)):
        if word == UNCLEAR and quantity.counted:
            yield None
        elif _bare(word) != word:
            yield quantity.scales.get(word.removesuffix(_bare(word)))
        elif word not in quantity.words and (factor := quantity.scales.get(word)) is not None:
            clear = begun or place == 0 or not quantity.counted or (len(word) > 3 and word.isalpha())
            yield factor if clear else None
        begun = begun or _bare(word) in quantity.words


def _factor(word: str, quantity: Quantity, column: str) -> float:
    """What a flag's word multiplies cells by: a word of a unit, or a number."""
    scale = quantity.scales.get(word.strip().lower())
    if scale is not None:
        return scale
    try:
        factor = float(word)
    except ValueError:
        factor = math.nan
    least = 1.0 if quantity.counted else 1e-6
    if not least <= factor <= (1.0 if quantity is RATIO else 1e30):
        raise SparsityLabError(
            f"--unit {column}={word} is not a unit of {quantity.name}",
            why=f"Units are {', '.join(list(quantity.scales)[:12])}, or a number",
            fix=f"Write --unit {quantity.name}={quantity.example}",
        )
    return factor
