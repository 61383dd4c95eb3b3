"""Which columns of a table are what, and in which unit each is read."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.laws._law import AS_IN_TABLE, DATA, RATIO, Law, Variable
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
_QUANTITY_OF = {"parameters": units.PARAMETERS, "tokens": units.TOKENS, "nats per token": units.LOSS}


@dataclass(frozen=True)
class Columns:
    """Which columns of a CSV are what; None, or no x, where the usual names hold.

    Attributes:
        x: one column, or one for each input of a law of several.
        y: of the values fitted.
        group: tells series apart; for several inputs, names the run that a point belongs to.
        se: standard errors of y.
        exclude: true in the rows to leave out.
        by: for several inputs, tells apart the groups that a law of their own is fitted to.
        unit: units that were asked for, each as `COLUMN=UNIT` or `QUANTITY=UNIT`.
        holdout: the rows with its largest values are held out, to be predicted from the others.
    """

    x: tuple[str, ...] = ()
    y: str | None = None
    group: str | None = None
    se: str | None = None
    exclude: str | None = None
    by: str | None = None
    unit: tuple[str, ...] = ()
    holdout: str | None = None

    @property
    def several(self) -> bool:
        """Whether the law has several inputs."""
        return len(self.x) > 1


@dataclass(frozen=True)
class Resolved:
    """The columns of one table.

    Attributes:
        asked: the columns that were named.
        x, y, se: as in `Columns`, none of x and y missing.
        group: columns that tell series apart. size: of the parameter count; None where there is none.
        units: column -> its unit, of those that have one. measured: whether `measure` wrote the table.
        law: whose inputs the columns are, where there are several; None where that is not known.
    """

    asked: Columns
    x: tuple[str, ...]
    y: str
    se: str | None
    group: tuple[str, ...]
    size: str | None
    units: Mapping[str, Unit]
    measured: bool
    law: Law | None = None

    def is_tokens(self, column: str) -> bool:
        """Whether a column holds trained tokens."""
        return column in self.units and self.units[column].quantity is units.TOKENS

    @property
    def in_tokens(self) -> bool:
        """Whether x is trained tokens alone, which are read in tokens/1e9."""
        return len(self.x) == 1 and self.is_tokens(self.x[0])

    @property
    def y_is_ratio(self) -> bool:
        """Whether y is an activation ratio."""
        return self.y in self.units and self.units[self.y].quantity is units.RATIO

    @property
    def x_variables(self) -> tuple[Variable, ...]:
        """What each input is; tokens alone are tokens/1e9, several inputs are what the law says."""
        if self.law is not None and len(self.x) > 1:
            return self.law.inputs
        return (DATA,) if self.in_tokens else tuple(self._variable(column) for column in self.x)

    @property
    def y_variable(self) -> Variable:
        """What y is; a ratio is a fraction."""
        if self.law is not None and len(self.x) > 1:
            return self.law.output
        return RATIO if self.y_is_ratio else self._variable(self.y)

    def factor(self, column: str) -> float:
        """What a cell is multiplied by to be in the unit that laws are fitted in; 1 where it stays as it is."""
        if column not in self.units:
            return 1.0
        inputs = self.x if len(self.x) > 1 or self.in_tokens else ()
        outputs = (self.y, self.se) if len(self.x) > 1 or self.y_is_ratio else ()
        return self.units[column].factor if column in (self.size, *inputs, *outputs) else 1.0

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
            return Variable(column, column, AS_IN_TABLE)
        return Variable(column, column, unit.quantity.unit if len(self.x) > 1 else unit.name)


def resolve(header: list[str], mapping: Columns, path: Path, *, law: Law | None = None) -> Resolved:
    """The columns and their units.

    Args:
        header: of the table. mapping: what was named. path: of the table, for errors.
        law: says what several inputs are, where their columns' names do not.

    Raises:
        SparsityLabError: a column is missing or asked for twice, or a unit is not one.
    """
    named = (mapping.y, mapping.group, mapping.se, mapping.exclude, mapping.by, mapping.holdout)
    for column in (*mapping.x, *named):
        if column is not None and column not in header:
            raise _missing(path, (column,), header)
    usual = called(TOKENS, header)
    x = mapping.x or (() if usual is None else (usual,))
    y = mapping.y or called((RATIO_COLUMN,), header)
    if not x or y is None:
        raise _missing(path, TOKENS if not x else (RATIO_COLUMN,), header)
    numbers = [*x, y, *([mapping.se] if mapping.se else [])]
    if twice := [column for column in numbers if numbers.count(column) > 1]:
        raise SparsityLabError(
            f"The column {twice[0]!r} is asked for twice", fix="Name another with --x, --y or --se"
        )
    asked = Asked.of(mapping.unit)
    if len(x) > 1:
        read = _units_of_several(x, y, law, asked, path)
        asked.refuse_unused(read.values(), table=str(path))
        if mapping.se and y in read:
            read[mapping.se] = _unit_of_error(mapping.se, read[y])
        by = () if mapping.by is None else (mapping.by,)
        return Resolved(mapping, x, y, mapping.se, by, None, read, MEASURED in header, law)
    activation = first(ACTIVATIONS, header)
    se = mapping.se or called((ERROR_COLUMN,) if _is_ratio(y) else (), header)
    group = (mapping.group,) if mapping.group is not None else _groups(header, mapping, activation, path)
    size = called(SIZES, header)
    read = _units(x[0], y, se, size, asked)
    asked.refuse_unused(read.values(), table=str(path))
    return Resolved(mapping, x, y, se, group, size, read, MEASURED in header)


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
            column
            for column in names
            if units.base_of(column, scales) == base and units.parts(column) != list(base)
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
    read = {}
    for column in (x, y):
        quantity = units.RATIO if _is_ratio(column) else units.quantity_of(column)
        if quantity is not None:
            read[column] = units.read_unit(column, quantity, asked)
    if se is not None and _is_ratio(y):
        read[se] = _unit_of_error(se, read[y])
    if size is not None:
        read[size] = units.read_unit(size, units.PARAMETERS, asked)
    return read


def _unit_of_error(se: str, of_y: Unit) -> Unit:
    """The unit of a column of standard errors: that of y, unless its own name says another."""
    by_name = units.read_unit(se, of_y.quantity)
    if by_name.origin != units.UNNAMED:
        return by_name
    return Unit(se, of_y.quantity, of_y.factor, of_y.origin)


def _units_of_several(
    x: tuple[str, ...], y: str, law: Law | None, asked: Asked, path: Path
) -> dict[str, Unit]:
    """Column -> its unit: of what the law says it is, or else of what its name says."""
    variables: list[Variable | None] = [None] * (len(x) + 1)
    if law is not None and len(law.inputs) == len(x):
        variables = [*law.inputs, law.output]
    symbols = [None if variable is None else variable.symbol for variable in variables]
    read = {}
    for column, variable in zip((*x, y), variables, strict=True):
        by_law = None if variable is None else _QUANTITY_OF.get(variable.unit)
        by_name = units.quantity_of(column)
        if by_law is not None and asked.key_of(column, by_law) is None:
            other = by_name.name if by_name is not None and by_name is not by_law else None
            if column in symbols and variable is not None and column != variable.symbol:
                other = column
            if by_law is units.LOSS and units.PER_SOMETHING_ELSE & set(units.parts(column)):
                other = "a loss per something else than a token, or no loss"
            if other is not None:
                raise _misplaced(column, by_law, other, path)
        if (quantity := by_law or by_name) is not None:
            read[column] = units.read_unit(column, quantity, asked)
    return read


def _misplaced(column: str, wanted: units.Quantity, other: str, path: Path) -> SparsityLabError:
    return SparsityLabError(
        f"{path}: the column {column!r} is in the place of {wanted.name}, in {wanted.unit}",
        why=f"By its name it holds {other}",
        fix="Name columns in the order of the law's inputs, --x A,B, and --y in the law's unit; or say that it is so: "
        f"--unit {wanted.name}={'nats' if wanted is units.LOSS else '1'}",
    )


def _is_ratio(column: str) -> bool:
    return units.base_of(column, units.RATIO.scales) == units.base_of(RATIO_COLUMN)


def _groups(header: list[str], mapping: Columns, activation: str | None, path: Path) -> tuple[str, ...]:
    name = first(NAMES, header)
    if name is None:
        if not mapping.x and mapping.y is None:
            raise _missing(path, ("series", "model"), header)
        return ()
    extra = tuple(column for column in QUANTITIES if column in header)
    # A series column names the run in full; a model column does so only together with the activation.
    return (name, *((activation,) if name == "model" and activation else ()), *extra)


def _missing(path: Path, wanted: tuple[str, ...], header: list[str]) -> SparsityLabError:
    return SparsityLabError(
        f"{path}: row 1 (the header) has no column {' or '.join(repr(name) for name in wanted)}",
        why=f"It has: {', '.join(header) or 'nothing'}"[:400],
        fix="Rename a column, or name yours with --x, --y, --group and --se",
    )
