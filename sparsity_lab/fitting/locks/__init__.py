"""Locks: what a fit said when somebody agreed to it, and `sparsity-lab check`, which guards it.

In: a finished fit and a reason, then later the same table. Out: `locks/SERIES.toml`, then one finding per lock: pass,
drift, stale (other points), missing (no table, or no lock), unidentified, or unsearched (a folder that could not be
read).

    lock.py           the lock of a fit, with the places where its predictions are recorded
    lock_file.py      written as TOML and read, those of earlier versions too
    toml.py           tolerances, TOML values, the table a lock is about, finding locks, the manifest of a folder's
    check.py          refits the input of each lock and compares; also `--update`
    written.py        whether fits.json, fits.csv and fits.md still say what was locked
    since.py          `--since`: whether newer points lie in the locked law's band
    check_report.py   findings as a table, JSON, Markdown or GitHub annotations

A lock holds predictions at fixed probe points, along the data and, unless the law is not identified, beyond them.
These are compared first, because coefficients can trade against each other without moving the curve; coefficients come
second, then intervals and bounds, and then what the files next to the locks say. A difference may be as large as the
largest of an absolute, a relative and a standard-error part of the tolerance. The ends of intervals that a lock says
are confirmed rather than walked to (`uncertainty.known_ends`); those of a fit that is not identified are not compared.
The tolerance of a lock that pins its points leaves room for rounding alone; that of one that follows its table
(`--follow`) leaves room for noise.
"""
