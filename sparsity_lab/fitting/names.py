"""Names of series as names of files; apart from the fits, so that a report finds them without loading any."""

from __future__ import annotations


def file_stem(series: str) -> str:
    """A series' name as a file name."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in series).strip(".") or "series"
