"""Columns of what `density` and its commands write."""

from sparsity_lab.store.columns import described

TABLE = described("density", "table")
PER_TASK = described("density", "per_task")
SENSITIVITY = described("density", "sensitivity")
HINDCAST = described("density", "hindcast")
HINDCAST_SCORES = described("density", "hindcast_scores")
BY_SIZE = described("density", "by_size")
RULERS = described("density", "rulers")
RULER_PAIRS = described("density", "ruler_pairs")
LOSSES = described("density", "losses")
PREDICTIONS = described("density", "predictions")
PAIRS = described("density", "pairs")
NEEDED = described("density", "needed")
PRICES = described("density", "prices")
PREDICTABLE = described("density", "predictable")
