"""Which cells there are, who measures each, and how an interrupted run goes on.

A cell is one checkpoint on one text in one setting. Its content key is a hash of everything that determines its
numbers; its record is the file `records/KEY.json`. Records are all that a run remembers. To resume it, run the same
command: cells with a record are read, the others measured (`--again` measures all).

There are two mechanisms. `sparsity-lab measure`, the series rule included, hands cells to a crew of workers:

    cells.py      `Bench`: prepares checkpoints (config, tokens, device, dtype, hash; no weights), computes a cell's
                  key, reads its record, or measures and writes it
    run_cells.py  `gather`: the records of many cells, in order. Open cells are grouped by checkpoint and handed to a
                  crew, again and again until each cell has a record or a reason why not
    dispatch.py   the unit handed out: the open cells of one checkpoint, so that its model loads once. It travels as
                  paths and settings; another process prepares the checkpoint again and refuses if its keys differ
    launchers/    the crews: this process, processes of this machine, a Ray cluster, SLURM jobs
    claims.py     a small file next to where the record will be says that somebody is measuring the cell; it is touched
                  every few seconds. Two commands on one output share the work; a dead one's claims run out
    shards.py     one cell in parts, for long texts (`--text-shards`): parts are counted apart and added
    record.py     a measurement as the keys of a record, and the model's shape
    failures.py   a checkpoint that fails becomes a row that says why; the run goes on, unless `--fail-fast`
    text_length.py  more and more text until the error is small enough (`--tokens auto`)

`neurons`, `structure` and `predict` work cell by cell in their own process, without claims:

    places.py     every checkpoint on every text under a record's thresholds, and the model of such a place
    cellwise.py   `CellWork`: reads the record of a cell or makes and writes it, with its arrays

`compare_criteria` and `transfer` ask a `Bench` for one row after another, also in this process.

What to know: a claim saves work, it does not protect numbers. Records are written whole or not at all, and whoever
measures a cell finds the same numbers. Failures leave no record, so the same command tries them again. Batch size,
launcher and number of jobs are not part of a key. A cell that runs out of memory begins again at half the batch.
"""
