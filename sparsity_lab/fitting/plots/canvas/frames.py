"""Tables of our own as pandas frames: only an empty cell is a missing value, and names stay words."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

# A run may be called NA, nan, 1 or 01.
NAMES = ("series", "model", "checkpoint", "criterion", "text", "calibrated_on_text")


def read_frame(path: Path) -> pd.DataFrame:
    """A CSV that one of our commands wrote."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(NAMES, str))


def measured_rows(path: Path) -> pd.DataFrame:
    """The rows of a table of `sparsity-lab measure` that hold numbers."""
    frame = read_frame(path)
    return frame[frame["failed"].isna()].reset_index(drop=True) if "failed" in frame else frame
