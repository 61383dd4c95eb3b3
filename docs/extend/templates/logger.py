"""Template: points as rows of `OUTPUT/points/SERIES.csv`, one column for the name and one for the value."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from sparsity_lab.loggers import Job
from sparsity_lab.store.file_names import file_name

LIBRARY = "csv"


def start(job: Job, *, say: Callable[[str], None]) -> Points:
    """Files under the run's output."""
    return Points(job, say=say)


class Points:
    """Writes each point as it comes."""

    def __init__(self, job: Job, *, say: Callable[[str], None]) -> None:
        self.folder = job.folder / "points"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.files: dict[str, TextIO] = {}
        say(f"points go to {self.folder}")

    def begin(self, series: str, config: Mapping[str, Any]) -> None:
        """A new file: a resumed run sends all its points again."""
        path = self.folder / f"{file_name(series)}.csv"
        self.files[series] = path.open("w", newline="", encoding="utf-8")
        csv.writer(self.files[series]).writerow(("step", "name", "value"))

    def point(self, series: str, values: Mapping[str, float], *, step: int) -> None:
        """One row for each value."""
        csv.writer(self.files[series]).writerows((step, name, value) for name, value in values.items())
        self.files[series].flush()

    def close(self, *, finished: bool) -> None:
        """Close all files."""
        for file in self.files.values():
            file.close()
