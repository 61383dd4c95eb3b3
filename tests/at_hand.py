"""Trained models, texts and golden numbers: those of the repository, and larger ones beside the checkout."""

from pathlib import Path

import pytest

PLACES = (Path(__file__).parent / "data", Path(__file__).parents[2] / "shared")


def at_hand(path):
    """Where it is, by its path within `tests/data` or `../shared`; the test is skipped where it is in neither."""
    for place in PLACES:
        if (place / path).exists():
            return place / path
    pytest.skip(f"{path} is not beside the checkout")
