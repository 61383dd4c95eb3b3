"""The tables of a run, each as CSV with every number and, for readers, as Markdown.

coactivation, pairs, clusters, routing   model, text, layer          specialised   model, all texts
drift, settled                           checkpoints of one run
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsity_lab.measure.neurons.rows import ALL
from sparsity_lab.measure.neurons.structure import columns as c
from sparsity_lab.measure.neurons.structure.roles.compare import drift_rows, specialised_rows
from sparsity_lab.store import records, tables
from sparsity_lab.store.arrays import Sealed

Row = Mapping[str, Any]


def write_tables(
    output: Path, found: Sequence[Sealed], *, permutations: int, draws: int, seed: int
) -> dict[str, list[dict[str, Any]]]:
    """Write every table of a run that has rows.

    Args:
        output: the folder.
        found: records, model by model and text by text.
        permutations, draws, seed: of the comparisons made across records.

    Returns:
        Rows of the comparisons across records: specialised, drift, settled.
    """
    for name, key, documented in (
        ("coactivation", "coactivation_rows", c.COACTIVATION), ("pairs", "pair_rows", c.PAIRS),
        ("clusters", "quality_rows", c.CLUSTERS), ("routing", "routing_rows", c.ROUTING),
    ):  # fmt: skip
        rows = [
            {**{name: one.body[name] for name in c.IDENTITY}, **row} for one in found for row in one.body[key]
        ]
        _write(output, name, rows, c.columns(documented))
    drift, settled = drift_rows(found)
    across = {
        "specialised": specialised_rows(found, permutations=permutations, draws=draws, seed=seed),
        "drift": drift,
        "settled": settled,
    }
    _write(output, "specialised", across["specialised"], c.columns(c.SPECIALISED, identity=("name",)))
    _write(output, "drift", drift, c.columns(c.DRIFT))
    _write(output, "settled", settled, tuple(c.SETTLED))
    return across


def _write(output: Path, name: str, rows: Sequence[Row], columns: tuple[str, ...]) -> None:
    if not rows:
        return
    records.write_text(output / f"{name}.csv", tables.to_csv(rows, columns))
    if name == "pairs":
        return
    whole = [row for row in rows if row.get("layer", ALL) == ALL] or rows
    reader = c.READER.get(name) or {column: column.replace("_", " ") for column in columns}
    records.write_text(output / f"{name}.md", tables.to_markdown(whole, reader))
