"""What is known of the models behind lm-eval's results: the row of a table that is about each, and its size."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sparsity_lab.errors import SparsityLabError
from sparsity_lab.fitting.density.lm_eval.identity import MAIN, PACKED, Identity, normal_path
from sparsity_lab.fitting.density.notes import Notes, listed
from sparsity_lab.fitting.density.scores.targets import Target, family_of
from sparsity_lab.registry import unknown

# Nominal sizes are rounded (a "7B" has 6.7e9 to 8.5e9 parameters); more apart than this is another count.
NOMINAL_GAP = 1.5
STATED_GAP = 1.1
_NOMINAL = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([bBmM])(?![A-Za-z0-9])")


def describe(
    labels: Mapping[Identity, str], counted: Mapping[Identity, float | None], *,
    table_rows: Mapping[str, Target], table: Path | None, notes: Notes,
) -> dict[Identity, Target]:  # fmt: skip
    """A target for each identity: from its row of the table, its size from lm-eval's count otherwise.

    Raises:
        SparsityLabError: the table has no row for a model, several, or one for several models.
    """
    rows = (
        {} if table is None else {i: _row(i, labels[i], _by_path(table_rows, table), table) for i in labels}
    )
    _refuse_shared(rows, table)
    _note_rows(rows, labels, table, notes)
    targets = {}
    for identity, label in labels.items():
        row = rows.get(identity)
        target = row or Target(label, family_of(_base(identity)), None, {}, family_stated=False)
        params = _params(identity, label, counted.get(identity), row, table, notes)
        tokens = _tokens(identity, label, row, labels, notes)
        targets[identity] = replace(target, model=label, params=params, tokens=tokens, identity=identity.text)
    return targets


def _by_path(table_rows: Mapping[str, Target], table: Path) -> dict[str, Target]:
    """Rows by their names as identities have them: `./a/m/` is `a/m`.

    Raises:
        SparsityLabError: two rows have one name.
    """
    rows: dict[str, Target] = {}
    for name, row in table_rows.items():
        other = rows.setdefault(normal_path(name), row)
        if other is not row:
            raise SparsityLabError(
                f"{table} has two rows for one model: {other.model!r} and {name!r}", fix="Keep one of them"
            )
    return rows


def _note_rows(
    rows: Mapping[Identity, Target], labels: Mapping[Identity, str], table: Path | None, notes: Notes
) -> None:
    """Say which models have a row that is not of their own name and setting."""
    for row in {row.model: row for row in rows.values()}.values():
        others = [
            labels[identity]
            for identity, its in rows.items()
            if its is row and row.model != labels[identity]
            and not {labels[identity], normal_path(row.model)} <= {identity.name, *_endings(identity.name)}
        ]  # fmt: skip
        if others:
            notes.add(f"the row {row.model!r} of {table} is taken for {listed(others)}")


def _row(identity: Identity, label: str, table_rows: Mapping[str, Target], table: Path) -> Target:
    """The row about a model: of the names that fit, the most specific kind decides."""
    paths = _endings(identity.name)
    revision = identity.get("revision") or MAIN
    kinds = (
        [label] if label not in paths else [],
        [f"{path}@{revision}" for path in paths],
        [identity.name],
        paths[:-1],
        paths[-1:],
        [name for name in table_rows if name.rsplit("/", 1)[-1] == _base(identity)],
    )
    for names in kinds:
        fitting = [name for name in dict.fromkeys(names) if name in table_rows]
        if len(fitting) > 1:
            raise SparsityLabError(
                f"{table} has several rows for the model {identity.name}: {', '.join(map(repr, fitting))}",
                fix=f"Keep one of them, or call it {identity.name}",
            )
        if fitting:
            return table_rows[fitting[0]]
    what = f"{table} has no row for the model {label} ({identity.name})"
    raise unknown(label, kind="model", known=sorted(table_rows), what=what)


def _endings(name: str) -> list[str]:
    """A path and what it ends with, the longest first."""
    folders = name.strip("/").split("/")
    return ["/".join(folders[n:]) for n in range(len(folders))]


def _base(identity: Identity) -> str:
    return identity.name.rstrip("/").rsplit("/", 1)[-1]


def _refuse_shared(rows: Mapping[Identity, Target], table: Path | None) -> None:
    used: dict[str, str] = {}
    for identity, row in rows.items():
        other = used.setdefault(row.model, identity.name)
        if other != identity.name:
            raise SparsityLabError(
                f"The row {row.model!r} of {table} fits two models: {other} and {identity.name}",
                fix="Give each its own row, under its full name",
            )


def _params(
    identity: Identity,
    label: str,
    counted: float | None,
    row: Target | None,
    table: Path | None,
    notes: Notes,
) -> float | None:
    # A row of the base model does not count an adapter's parameters; lm-eval does.
    of_the_base = row is not None and row.model != label and bool(identity.adapters) and counted is not None
    if row is not None and row.params is not None and not of_the_base:
        if counted and not 1 / STATED_GAP < row.params / counted < STATED_GAP:
            notes.add(
                f"{label} has {row.params:.4g} parameters in {table} and {counted:.4g} by lm-eval's count; "
                "the table's are used"
            )
        return row.params
    if counted is None:
        return None
    if packed := [key for key in identity.quantised if key in PACKED]:
        notes.add(
            f"{label}: lm-eval's count of {counted:.4g} parameters is not to be trusted under {packed[0]}, whose "
            "packed weights it may leave out; give params_b in a table with --models"
        )
    elif identity.adapters:
        notes.add(f"{label}: the {counted:.4g} parameters include those of {' and '.join(identity.adapters)}")
    nominal = nominal_size(_base(identity))
    if nominal and not 1 / NOMINAL_GAP < counted / nominal < NOMINAL_GAP:
        notes.add(
            f"{label}: lm-eval counted {counted:.4g} parameters, its name says {nominal:.4g}; "
            "the count is used, params_b in a table with --models replaces it"
        )
    return counted


def _tokens(
    identity: Identity, label: str, row: Target | None, labels: Sequence[Identity] | Mapping[Identity, str],
    notes: Notes,
) -> float | None:  # fmt: skip
    """A row's training tokens; not those of a whole run for one of several revisions of it."""
    revision = identity.get("revision")
    several = len({other.get("revision") for other in labels if other.name == identity.name}) > 1
    if row is None or row.tokens is None or not (revision and several) or row.model.endswith(f"@{revision}"):
        return None if row is None else row.tokens
    notes.add(
        f"{label}: the training tokens of {row.model!r} are not taken for one of its revisions; "
        f"a row {row.model}@{revision} gives them"
    )
    return None


def nominal_size(name: str) -> float | None:
    """The parameters that a model's name states, as 7e9 of `Llama-2-7b-hf`; None where it states none or several."""
    sizes = {float(number) * {"b": 1e9, "m": 1e6}[unit.lower()] for number, unit in _NOMINAL.findall(name)}
    return sizes.pop() if len(sizes) == 1 else None
