"""Tables that are data frames in memory, read as the CSV that pandas writes of them, by the same checks as files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsity_lab.errors import SparsityLabError

if TYPE_CHECKING:
    import pandas as pd


class FramePath(type(Path())):  # type: ignore[misc]
    """A path whose file is a data frame: what reads a table reads it, and errors call it by its name.

    Row 1 of an error is the header, as in files, so that the first row of the frame is row 2.
    """

    content: bytes
    header: list[str]

    @classmethod
    def of(cls, frame: pd.DataFrame, name: str = "DataFrame") -> FramePath:
        """The table of a frame; index levels that have names become columns.

        Raises:
            SparsityLabError: columns in several levels.
        """
        if frame.columns.nlevels > 1:
            raise SparsityLabError(
                "The columns of the data frame have several levels",
                fix="Join their names: frame.columns = ['_'.join(names) for names in frame.columns]",
            )
        path = cls(name)
        named = [level for level in frame.index.names if level is not None]
        whole = frame.reset_index(level=named) if named else frame
        path.header = [str(column) for column in whole.columns]
        path.content = whole.to_csv(index=False).encode("utf-8", "surrogatepass")
        return path

    def read_bytes(self) -> bytes:
        """The CSV."""
        return self.content

    def is_file(self) -> bool:
        """Whether there is something to read."""
        return True

    def is_dir(self) -> bool:
        """A frame holds no files, whatever lies at a path of its name."""
        return False


def named_table(value: Any, name: str = "DataFrame") -> Path | str:
    """A table as the readers take it: a frame under a name, or the path or word that it is named by.

    Raises:
        SparsityLabError: it is neither.
    """
    if is_frame(value):
        return FramePath.of(value, name)
    if not isinstance(value, (str, Path)):
        raise SparsityLabError(
            f"A table cannot be made of a {type(value).__name__}",
            why="It is a data frame of pandas, a path, or the name of a bundled table",
            fix="Make a frame of it: pandas.DataFrame(...)",
        )
    return value


def is_frame(value: Any) -> bool:
    """Whether a value is a data frame of pandas, which is not imported for the question."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)
