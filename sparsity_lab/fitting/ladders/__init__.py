"""Laws of several inputs over a ladder of runs, such as L(N, D) = E + a N^-alpha + b D^-beta.

In: a CSV with one row for each trained model or checkpoint, and the names of its columns. Out: `fits.json`,
`fits.csv`, `fits.md`, and a lock on request. It is the way of `fitting` for a point with several x:

    runs.py           reads the points, fits the law, and runs the whole way (`fit_ladder_table`)
    runs_profile.py   profile intervals of the limit and the exponents, and the verdict
    runs_table.py     the files
    runs_locks.py     the lock, with probe points in the plane of the inputs
    runs_check.py     refits a lock's input and compares; called by `locks/check.py`

What to know: here parameters and tokens are counts, not tokens/1e9; a column in another unit is converted on reading.
The fit is least squares on y, or a sum of Huber losses on ln y. Points of one run share their luck, so the bootstrap
draws whole runs and the profiles count runs, not points (`--group` names the column; without it each row is a run).
There are no rivals here: the verdict rests on the profiles, the conditioning and the edges of the search.
"""
