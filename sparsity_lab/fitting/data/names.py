"""Names of the figures of series; apart from the fits, so that a report finds them without loading any."""

from __future__ import annotations

from sparsity_lab.store.file_names import file_name

_OF_ALL = r"all|limits(-.*)?"  # the figures of all series, and of the limits of each quantity


def figure_name(series: str) -> str:
    """The name of the figure of a series among a table's plots."""
    return file_name(series, taken=_OF_ALL)


def limits_name(quantity: str) -> str:
    """The name of the figure of the limits of a quantity; an empty one where there is one quantity."""
    return f"limits-{file_name(quantity)}" if quantity else "limits"
