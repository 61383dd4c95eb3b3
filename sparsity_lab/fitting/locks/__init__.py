"""Locks: what a fit said when somebody agreed to it, and `sparsity-lab check`, which guards it.

In: a finished fit and a reason, then later the same table. Out: `locks/SERIES.toml`, then one finding per lock: pass,
drift, stale (other points), missing (no table), unidentified, or unsearched (a folder that could not be read).

    lock_file.py      the lock of a fit to a series: made, written, read
    toml.py           what locks of every kind share: tolerances, TOML values, the table a lock is about, finding locks
    check.py          refits the input of each lock and compares; also `--since` (newer points) and `--update`
    check_report.py   findings as a table, JSON, Markdown or GitHub annotations

A lock holds predictions at fixed probe points, along the data and, unless the law is not identified, beyond them.
These are compared first, because coefficients can trade against each other without moving the curve; coefficients come
second, and then the numbers in the `fits.json` next to the locks. A difference may be as large as the largest of an
absolute, a relative and a standard-error part of the tolerance. Locks of laws with several inputs are made and
compared in `ladders/`, and `check.py` calls that.
"""
