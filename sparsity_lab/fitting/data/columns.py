"""Which columns of a table are what, and in which unit each is read."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.laws._law import DATA, RATIO, Variable
from sparsity_lab.reading import units
from sparsity_lab.reading.csv_file import MEASURED
from sparsity_lab.reading.units import Asked, Unit

logger = logging.getLogger(__name__)

# In a table of `measure` the column tokens counts the text measured on, so the other name comes first.
TOKENS = ("trained_tokens", "tokens")
RATIO_COLUMN = "activation_ratio"
ERROR_COLUMN = "activation_ratio_se"
NAMES = ("series", "model")
ACTIVATIONS = ("activation", "activation_function")
# What else sets one quantity apart from another in a table of `measure`.
QUANTITIES = ("criterion", "rule", "ppl_increase_target")
SIZES = ("params_nonembedding", "params_total", "parameters", "params")


@dataclass(frozen=True)
class Columns:
    """Which columns of a foreign CSV are what; None where the usual names hold.

    Attributes:
        unit: units that were asked for, each as `COLUMN=UNIT` or `QUANTITY=UNIT`.
    """

    x: str | None = None
    y: str | None = None
    group: str | None = None
    se: str | None = None
    unit: tuple[str, ...] = ()


@dataclass(frozen=True)
class Resolved:
    """The columns of one table. `size` is that of the parameter count; None where there is none."""

    x: str
    y: str
    se: str | None
    group: tuple[str, ...]
    size: str | None
    units: Mapping[str, Unit]
    measured: bool

    @property
    def in_tokens(self) -> bool:
        """Whether x is trained tokens."""
        return self.x in self.units and self.units[self.x].quantity is units.TOKENS

    @property
    def y_is_ratio(self) -> bool:
        """Whether y is an activation ratio."""
        return self.y in self.units and self.units[self.y].quantity is units.RATIO

    @property
    def x_variable(self) -> Variable:
        """What x is; tokens are tokens/1e9, all else stays as the table has it."""
        return DATA if self.in_tokens else self._variable(self.x)

    @property
    def y_variable(self) -> Variable:
        """What y is; a ratio is a fraction, all else stays as the table has it."""
        return RATIO if self.y_is_ratio else self._variable(self.y)

    def factor(self, column: str) -> float:
        """What a cell is multiplied by: tokens become tokens, a ratio a fraction, sizes parameters; 1 elsewhere."""
        converted = {
            self.size,
            *({self.x} if self.in_tokens else ()),
            *({self.y, self.se} if self.y_is_ratio else ()),
        }
        return self.units[column].factor if column in self.units and column in converted else 1.0

    def check(self, column: str, values: Iterable[float], *, table: str) -> None:
        """Refuse cells, as `factor` leaves them, that cannot be in the unit the column is read in.

        Raises:
            SparsityLabError: they cannot; names the flag.
        """
        unit = self.units.get(column)
        if unit is not None and not self.measured:
            left = unit.factor / self.factor(column)
            units.check(unit, [value * left for value in values], table=table)

    def _variable(self, column: str) -> Variable:
        unit = self.units.get(column)
        if unit is None:
            return Variable(column, column, "as in the table")
        return Variable(column, column, unit.name)


def resolve(header: list[str], mapping: Columns, path: Path) -> Resolved:
    """The columns and their units.

    Raises:
        SparsityLabError: a column is missing, or a unit is not one.
    """
    for named in (mapping.x, mapping.y, mapping.group, mapping.se):
        if named is not None and named not in header:
            raise _missing(path, (named,), header)
    x = mapping.x or called(TOKENS, header)
    y = mapping.y or called((RATIO_COLUMN,), header)
    if x is None or y is None:
        raise _missing(path, TOKENS if x is None else (RATIO_COLUMN,), header)
    if x == y or mapping.se in (x, y):
        raise SparsityLabError(
            f"The column {mapping.se or y!r} is asked for twice", fix="Name another with --x, --y or --se"
        )
    activation = first(ACTIVATIONS, header)
    se = mapping.se or called((ERROR_COLUMN,) if _is_ratio(y) else (), header)
    group = (mapping.group,) if mapping.group is not None else _groups(header, mapping, activation, path)
    size = called(SIZES, header)
    asked = Asked.of(mapping.unit)
    read = _units(x, y, se, size, asked)
    asked.refuse_unused(read.values(), table=str(path))
    return Resolved(x, y, se, group, size, read, MEASURED in header)


def called(wanted: Iterable[str], header: Iterable[str]) -> str | None:
    """The first column of such a name, with or without a unit behind it: tokens, tokens_b, tokens (1e9)."""
    names = list(header)
    for name in wanted:
        if name in names:
            return name
        scales = units.RATIO.scales if name in (RATIO_COLUMN, ERROR_COLUMN) else units.TOKENS.scales
        base = units.base_of(name, scales)
        # Only a unit may set it apart: a blank or a capital is a slip of whoever wrote the table.
        alike = [
            one for one in names if units.base_of(one, scales) == base and units.parts(one) != list(base)
        ]
        if len(alike) == 1:
            return alike[0]
    return None


def first(wanted: Iterable[str], header: Iterable[str]) -> str | None:
    """The first of some names that is there."""
    return next((name for name in wanted if name in header), None)


def say_units(read: Mapping[str, str], table: Path) -> None:
    """Note in which unit each column of a table is read."""
    if read:
        logger.info(
            "%s: %s.", table.name, "; ".join(f"{column} read in {unit}" for column, unit in read.items())
        )


def _units(x: str, y: str, se: str | None, size: str | None, asked: Asked) -> dict[str, Unit]:
    """Column -> its unit, of those that have one."""
    found = {}
    for column in (x, y):
        quantity = units.RATIO if _is_ratio(column) else units.quantity_of(column)
        if quantity is not None:
            found[column] = units.read_unit(column, quantity, asked)
    if se is not None and _is_ratio(y):
        own = units.read_unit(se, units.RATIO)
        found[se] = (
            own if own.origin != units.UNNAMED else Unit(se, units.RATIO, found[y].factor, found[y].origin)
        )
    if size is not None:
        found[size] = units.read_unit(size, units.PARAMETERS, asked)
    return found


def _is_ratio(column: str) -> bool:
    return units.base_of(column, units.RATIO.scales) == units.base_of(RATIO_COLUMN)


def _groups(header: list[str], mapping: Columns, activation: str | None, path: Path) -> tuple[str, ...]:
    name = first(NAMES, header)
    if name is None:
        if mapping.x is None and mapping.y is None:
            raise _missing(path, ("series", "model"), header)
        return ()
    extra = tuple(column for column in QUANTITIES if column in header)
    # A series column names the run in full; a model column does so only together with the activation.
    return (name, *((activation,) if name == "model" and activation else ()), *extra)


def _missing(path: Path, wanted: tuple[str, ...], header: list[str]) -> SparsityLabError:
    return SparsityLabError(
        f"{path}: row 1 (the header) has no column {' or '.join(repr(name) for name in wanted)}",
        why=f"It has: {', '.join(header) or 'nothing'}",
        fix="Rename a column, or name yours with --x, --y, --group and --se",
    )
