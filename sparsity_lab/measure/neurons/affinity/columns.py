"""What each column of the tables means, which of them have an error, and what readers see."""

from __future__ import annotations

IDENTITY = ("name", "text")
TRAFFIC = {
    "convention": "which weights are not read; see `assumption`",
    "tokens": "L, decoded by one pass; bytes are those of the pass",
    "rank": "of a trained predictor",
    "budget": "neurons it names, over the mean number of active ones",
    "recall": "active neurons it names, over all active ones",
    "ffn_dense_bytes": "of all neurons' weights",
    "ffn_bytes": "of neurons' weights read, a predictor's own among them",
    "ffn_share": "ffn_bytes / ffn_dense_bytes",
    "ffn_speedup": "ffn_dense_bytes / ffn_bytes: ideal, an upper bound; empty where nothing is read",
    "kv_bytes": "of the KV cache of the stated context, in both model columns",
    "model_dense_bytes": "of everything a dense pass reads",
    "model_bytes": "of everything this pass reads",
    "model_share": "model_bytes / model_dense_bytes",
    "model_speedup": "model_dense_bytes / model_bytes: ideal, an upper bound",
    "assumption": "in words",
}
PRODUCTS = {
    "what": "model: activations and weights of the model; planted: random ones of a stated activation ratio; calls: "
    "planted 8 x 8, nothing but the cost of calling",
    "F": "neurons",
    "d": "hidden size",
    "activation_ratio": "active neurons over all, of the tokens timed",
    "weights_bytes": "of all W_d in turn, in one layout; what fits into a cache is not read from memory",
    "products": "of one timed run",
    "dense_seconds": "of one dense product, median over pairs",
    "sparse_seconds": "of one product by sparse_down, median over pairs",
    "dense_bytes_per_second": "F d weights over dense_seconds",
    "ratio": "dense over sparse time, pair by pair, median: the measured speed-up of the product",
    "ratio_low": "lower end of its 95 % interval, from order statistics",
    "ratio_high": "upper end",
    "ideal": "1 / activation_ratio: bytes of W_d over those of the columns needed",
    "efficiency": "ratio / ideal",
    "efficiency_low": "ratio_low / ideal",
    "efficiency_high": "ratio_high / ideal",
}
BREAK_EVEN = {
    "F": "neurons",
    "d": "hidden size",
    "break_even": "planted activation ratio below which sparse_down was faster; empty where none or all of them were",
    "break_even_low": "the same by the lower ends of the intervals",
    "break_even_high": "the same by the upper ends",
    "verdict": "in words",
}
DECODE = {
    "prompt_tokens": "in the KV cache before the timed tokens",
    "timed_tokens": "decoded one at a time, in each run",
    "dense_seconds": "a token, the model as it is, median over pairs",
    "sparse_seconds": "a token, masked by the thresholds and sparse_down in place of every down projection",
    "ratio": "dense over sparse time, pair by pair, median: the measured decode speed-up",
    "ratio_low": "lower end of its 95 % interval, from order statistics",
    "ratio_high": "upper end",
    "ideal": "model speed-up of output-side at this context, in the dtype timed",
    "ideal_se": "its standard error",
    "efficiency": "ratio / ideal",
    "efficiency_low": "ratio_low / ideal",
    "efficiency_high": "ratio_high / ideal",
}
WITH_ERROR = {
    "recall", "ffn_bytes", "ffn_share", "ffn_speedup", "model_bytes", "model_share", "model_speedup",
}  # fmt: skip
READER = {
    "affinity": {
        "name": "checkpoint", "text": "text", "convention": "convention", "tokens": "L", "rank": "rank",
        "budget": "budget", "recall": "recall", "recall_se": "± se", "ffn_share": "of FFN bytes",
        "ffn_share_se": "± se ", "ffn_speedup": "FFN speed-up", "ffn_speedup_se": " ± se",
        "model_share": "of model bytes", "model_speedup": "model speed-up", "model_speedup_se": " ± se ",
    },
    "affinity_products": {
        "name": "checkpoint", "text": "text", "what": "weights", "F": "F", "d": "d",
        "activation_ratio": "activation ratio", "dense_seconds": "dense, s", "sparse_seconds": "sparse, s",
        "dense_bytes_per_second": "dense, bytes/s",
        "ratio": "speed-up", "ratio_low": "from", "ratio_high": "to", "ideal": "ideal",
        "efficiency": "of the ideal",
    },
    "affinity_break_even": {
        "name": "checkpoint", "text": "text", "F": "F", "d": "d", "break_even": "break-even activation ratio",
        "break_even_low": "from", "break_even_high": "to", "verdict": "in words",
    },
    "affinity_decode": {
        "name": "checkpoint", "text": "text", "prompt_tokens": "prompt", "timed_tokens": "tokens",
        "dense_seconds": "dense, s a token", "sparse_seconds": "sparse, s a token", "ratio": "speed-up",
        "ratio_low": "from", "ratio_high": "to", "ideal": "ideal", "ideal_se": "± se", "efficiency": "of the ideal",
    },
}  # fmt: skip


def columns(documented: dict[str, str]) -> tuple[str, ...]:
    """Columns of a CSV: the names, each measured number's error behind it."""
    named = (*IDENTITY, *documented)
    return tuple(c for name in named for c in ((name, f"{name}_se") if name in WITH_ERROR else (name,)))
