"""Threshold and count primitives: a torch reference and a Triton kernel with the same signature each.

    gated_threshold.py    activation, product, threshold, counts and mask in one read: the sparse run on a GPU
    score_histogram.py    how large the scores are, in log-spaced bins: quantile thresholds
    tail_norms.py         norms of truncated outputs at many thresholds at once: the numerator of CETT
    topk_threshold.py     the k-th largest score of each token: per-token criteria
    sparse_down.py        y = W_d a reading only the columns of active neurons: decoding
    _activations.py       the activation functions, with the same bits on every device
    _dispatch.py          torch or Triton, decided in the same way for all
    _triton/              the Triton kernels, imported on use

Shapes are [tokens, F]. Counts are exact and equal in both implementations, bit for bit; sums agree within the bound of
fp32 summation. NaN is never dropped, so that a broken run is not hidden.
"""

from sparsity_lab import extras

extras.require("torch", who=__name__)
