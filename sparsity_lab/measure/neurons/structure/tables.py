"""The tables of a run.

coactivation, pairs, clusters, routing   model, text, layer          specialised   model, all texts
drift, settled                           checkpoints of one run
"""

from __future__ import annotations

from pathlib import Path

from sparsity_lab.measure.neurons.rows import Row
from sparsity_lab.measure.neurons.structure.roles.compare import drift_rows, specialised_rows
from sparsity_lab.measure.neurons.tables import write_records, write_rows
from sparsity_lab.measure.neurons.watching import Watched
from sparsity_lab.store.table_columns import structure as columns

OF_RECORDS = {
    "coactivation_rows": columns.COACTIVATION,
    "pair_rows": columns.PAIRS,
    "quality_rows": columns.CLUSTERS,
    "routing_rows": columns.ROUTING,
}


def write_tables(
    output: Path, watched: Watched, *, permutations: int, draws: int, seed: int
) -> dict[str, list[Row]]:
    """Write every table of a run that has rows.

    Args:
        output: the folder.
        watched: records, model by model and text by text, and what failed.
        permutations, draws, seed: of the comparisons made across records.

    Returns:
        Rows of the comparisons across records: specialised, drift, settled.
    """
    sealed = watched.records
    write_records(output, watched, OF_RECORDS, main=columns.CLUSTERS)
    drift, settled = drift_rows(sealed)
    across = {
        "specialised": specialised_rows(sealed, permutations=permutations, draws=draws, seed=seed),
        "drift": drift,
        "settled": settled,
    }
    for table in (columns.SPECIALISED, columns.DRIFT, columns.SETTLED):
        write_rows(output, table, across[table.name])
    return across
