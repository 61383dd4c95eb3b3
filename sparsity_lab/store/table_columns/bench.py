"""Columns of what `bench`, `density planted` and the study of coverage write."""

from sparsity_lab.store.columns import described

TRAIN = described("bench", "bench-train")
AGAINST = described("bench", "against")
KERNELS = described("bench", "kernels")
COVERAGE = described("bench", "coverage")
PLANTED = described("bench", "planted")
INTERVAL_COVERAGE = described("bench", "interval-coverage")
SAMPLE_ERRORS = described("bench", "sample-errors")
SEARCH_FLAGS = described("bench", "search-flags")
