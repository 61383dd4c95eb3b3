"""The Triton kernels, one file for each kernel of `kernels/`; imported on use, so that torch alone suffices.

`gated_threshold.py`, `score_histogram.py`, `sparse_down.py`, `tail_norms.py` and `topk_threshold.py` each hold the
kernels behind the file of the same name; `activations.py` holds the activation functions they share.

All offsets into tensors are int64: a layer's activations on a long text can have more than 2^31 elements.
"""
