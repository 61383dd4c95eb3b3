"""Which cells there are, who measures each, and how an interrupted run goes on.

A cell is one checkpoint on one text in one setting. Its content key is a hash of everything that determines its
numbers; its record is the file `records/KEY.json`. Records are all that a run remembers. To resume it, run the same
command: cells with a record are read, the others measured (`--again` measures all).

All commands that load checkpoints work so: `measure` with its series rule, `--criterion all` and `--transfer`,
`neurons`, `structure`, `predict`, and, for one model, `heat` and `eval`. They differ in their recipes alone:

    preparing.py  `Preparer`: a checkpoint and a text before any weights: config, tokens, device, dtype, hash;
                  `ModelPreparer`: a checkpoint whose recipe brings its own texts
    cells.py      `Recipe`: how one kind of record is found and made, small enough to travel; a `Cell` is a recipe with
                  the prepared checkpoint it is for; a `Desk` is where a process makes cells, the loaded model at hand
    measuring.py  the recipes of `measure`, and the rows of its tables
    places.py     a checkpoint on a text under given thresholds: what `neurons`, `structure` and `predict` are asked of;
                  their recipes are in `neurons/`
    run_cells.py  `CellRun`: the records of many cells, in order. Open cells are grouped by checkpoint (unless a
                  recipe is `APART`) and handed to a crew, again and again until each cell has a record or a reason
                  why not
    dispatch.py   the unit handed out: the open cells of one checkpoint, so that its model loads once. It travels as
                  recipes and paths; another process prepares the checkpoint again and refuses if its keys differ
    launchers/    the crews: this process, processes of this machine, a Ray cluster, SLURM jobs
    claims.py     a small file next to where the record will be says that somebody is making the cell; it is touched
                  every few seconds. Two commands on one output share the work; a dead one's claims run out
    shards.py     one cell in parts, for long texts (`--text-shards`): parts are counted apart and added
    record.py     a measurement as the keys of a record, and the model's shape
    failures.py   a checkpoint (for `eval`, a setting) that fails becomes a row that says why; the run goes on, unless
                  `--fail-fast`
    text_length.py  more and more text until the error is small enough (`--tokens auto`)

What to know: a claim saves work, it does not protect numbers. Records are written whole or not at all, and whoever
measures a cell finds the same numbers. Failures leave no record, so the same command tries them again. Batch size,
launcher and number of jobs are not part of a key. A cell that runs out of memory begins again at half the batch.
"""
