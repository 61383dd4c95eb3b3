"""Columns of what a study writes into `compare/`; readers see their keys."""

from sparsity_lab.store.columns import described

DIRECTIONS = described("study", "directions")
SEGMENTS = described("study", "segments")
EQUAL_LOSS = described("study", "equal_loss")
VERSUS = described("study", "versus")
SHAPES = described("study", "shapes")
SIZES = described("study", "sizes")
AGAINST_SIZE = described("study", "against_size")
LOSS_POINTS = described("study", "losses", markdown=False)
