"""Where a search starts: a seeded grid over the box of the search coordinates."""

from __future__ import annotations

import itertools

import numpy as np

from sparsity_lab.laws._law import Array

GRID_POINTS = {0: 1, 1: 60, 2: 20, 3: 9, 4: 6}
MOST_AXES = 4  # with more, each has so few places that a random draw serves as well
DRAWS = 1500


def seeded_grid(box: Array, generator: np.random.Generator) -> Array:
    """A grid over the box (q, 2), each point moved at random within its cell; shape (m, q)."""
    axes = len(box)
    if axes > MOST_AXES:
        return box[:, 0] + generator.uniform(size=(DRAWS, axes)) * (box[:, 1] - box[:, 0])
    per_axis = GRID_POINTS[axes]
    cells = np.array(list(itertools.product(range(per_axis), repeat=axes)), dtype=float)
    places = (cells + generator.uniform(size=cells.shape)) / per_axis
    return np.asarray(box[:, 0] + places * (box[:, 1] - box[:, 0]))
